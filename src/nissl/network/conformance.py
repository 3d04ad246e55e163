"""Conformance: what this library promises of a network, proved on that network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nissl.errors import NisslError
from nissl.network.edits.batched import edit_batch
from nissl.network.edits.editing import editing
from nissl.network.edits.fixed import scale
from nissl.network.record.recorder import record
from nissl.network.run.calls import Call, sequence_call, tensor_call
from nissl.network.run.forward import run
from nissl.network.run.inputs import read_inputs
from nissl.network.run.unembed import unembed
from nissl.network.run.windows import single_windows
from nissl.network.sites.arguments import names_of
from nissl.network.sites.batch import CACHES, encoder_path
from nissl.network.sites.modes import evaluated
from nissl.network.sites.site import sides_of
from nissl.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network.sites.architectures.architecture import Architecture
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.site import Site

__all__ = ["conformance"]

LENGTH, N_ITEMS, N_SITES = 32, 3, 8
TEXTS = (
    "The capital of France is Paris, and that of Italy is Rome.",
    "When it rains,",
    "Two and three make five; five and eight make thirteen.",
)
# How far numbers may lie apart, as a share of a site's root mean square: rounding, and no more.
TOLERANCES = {torch.float64: 1e-6, torch.float32: 2e-3, torch.float16: 0.05, torch.bfloat16: 0.2}
NAMED = (
    "resid_post",
    "attn.z",
    "mlp.neurons",
    "attn.out",
    "mlp.out",
    "mixer.neurons",
    "mixer.out",
    "final_norm",
)


class NotApplicable(Exception):
    """A check that this network cannot be put to, and why."""


def conformance(net: BaseNetwork, inputs: Any = None, *, progress: bool = True) -> pd.DataFrame:
    """Prove on a network what this library promises of every network.

    Parameters
    ----------
    net : Network
        The network; no edit is in force.
    inputs : texts, token ids, images, tensor, or mapping of arguments, optional
        What it reads: three items of it, texts of 32 tokens at most. By default sentences, random
        tokens, or noise in the place of images.
    progress : bool
        Show a bar.

    Returns
    -------
    DataFrame
        A row for each check: ``check``; ``result`` ("holds", "fails", "refused" or "not
        applicable"); ``worst``, the largest deviation as a share of the site's root mean square;
        ``where`` it was, and a ``note``.

    Raises
    ------
    NisslError
        Edits are in force, or it is not known what the network reads.

    Notes
    -----
    Checked are: recorded values are those of plain hooks on single items; a batch says what its
    items say alone; padding on the left and on the right say the same; the identities of
    ``docs/sites.md`` hold, up to the logits; what changes nothing changes no bit; an edit acts
    where it is told; when it is over nothing is left of it; many in one batch say what each says;
    two runs are the same; a run that is cut short says what a whole one does; a cache says what
    the whole text says, under an edit too.

    Examples
    --------
    >>> from nissl.network import Network
    >>> net = Network(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))
    >>> table = conformance(net, torch.ones(3, 4), progress=False)
    >>> bool(table["result"].isin(["holds", "not applicable"]).all())
    True
    """
    import pandas as pd

    if net.edit_blocks:
        raise NisslError("edits are in force", do="leave their `with` block first")
    rows = []
    with (
        evaluated(net.model),
        torch.no_grad(),
        progress_bar(
            f"Checking {net.name}", total=len(CHECKS), unit="checks", progress=progress
        ) as advance,
    ):
        subject = _subject(net, inputs)
        for name, check in CHECKS.items():
            rows.append(_row(name, check, subject))
            advance(1)
    return pd.DataFrame(rows, columns=["check", "result", "worst", "where", "note"])


@dataclass
class Subject:
    """A network, what it reads, and the sites that are looked at.

    Parameters
    ----------
    net : Network
        The network.
    inputs : Any
        All items, for `run` and `record`.
    items : list
        The same, one by one.
    calls : list of Call
        A plain call of the model for each item.
    sites : list of Site
        Where.
    text : bool
        Whether items are token ids.
    """

    net: BaseNetwork
    inputs: Any
    items: list[Any]
    calls: list[Call]
    sites: list[Site]
    text: bool

    @property
    def names(self) -> list[str]:
        """Names of the sites."""
        return [site.name for site in self.sites]

    @property
    def tolerance(self) -> float:
        """How far numbers may lie apart."""
        return TOLERANCES.get(self.net.dtype, 2e-3)


class Worst:
    """The largest deviation that was seen, and where."""

    def __init__(self) -> None:
        self.value, self.where = 0.0, ""

    def see(self, found: Any, expected: Any, where: str) -> None:
        """Compare two tensors; another shape, or NaN in one alone, is an infinite deviation."""
        found, expected = (torch.as_tensor(x).detach().double().cpu() for x in (found, expected))
        value = float("inf")
        if found.shape == expected.shape and torch.equal(found.isnan(), expected.isnan()):
            both = expected.nan_to_num()
            size = float(both.square().mean().sqrt()) if both.numel() else 0.0
            apart = float((found.nan_to_num() - both).abs().max()) if both.numel() else 0.0
            value = apart / size if size else apart
        if value > self.value or not self.where:
            self.value, self.where = max(value, self.value), where


Check = Callable[[Subject, Worst], None]


def _row(name: str, check: Check, subject: Subject) -> tuple[str, str, float, str, str]:
    worst = Worst()
    try:
        check(subject, worst)
    except NotApplicable as reason:
        return name, "not applicable", float("nan"), "", str(reason)
    except NisslError as error:
        return name, "refused", float("nan"), error.where or "", error.what
    exact = name in EXACT
    limit = 0.0 if exact else subject.tolerance
    held = worst.value <= limit
    return name, "holds" if held else "fails", worst.value, worst.where, ""


# What is put to a network


def _subject(net: BaseNetwork, inputs: Any) -> Subject:
    given = read_inputs(net, _default(net) if inputs is None else inputs)
    if given.documents:
        ids = [row[:LENGTH] for row in single_windows(net, given).ids[:N_ITEMS]]
        # Two of one length would show nothing of padding.
        ids = [row[: len(row) - n] if len(row) > 4 + n else row for n, row in enumerate(ids)]
        encoder = encoder_path(net.model) is not None
        calls = [sequence_call(net, [row], encoder=encoder) for row in ids]
        short = min(ids, key=len)
        probe = sequence_call(net, [short] * len(ids), encoder=encoder)
        return Subject(net, ids, ids, calls, _sites(net, probe, len(ids)), True)
    arguments = given.arguments
    if isinstance(arguments, dict):
        items = [{k: v[n : n + 1] for k, v in arguments.items()} for n in range(N_ITEMS)]
        whole: Any = {k: v[:N_ITEMS] for k, v in arguments.items()}
    else:
        items, whole = [arguments[n : n + 1] for n in range(N_ITEMS)], arguments[:N_ITEMS]
    items = [
        item for item in items if len(next(iter(item.values())) if isinstance(item, dict) else item)
    ]
    calls = [tensor_call(net, item) for item in items]
    sites = _sites(net, tensor_call(net, whole), len(items))
    return Subject(net, whole, items, calls, sites, False)


def _default(net: BaseNetwork) -> Any:
    """Return something that a network reads."""
    config: Any = getattr(net.model, "config", None)
    if "input_features" in names_of(net.model) and hasattr(config, "max_source_positions"):
        generator = torch.Generator().manual_seed(0)
        shape = (N_ITEMS, config.num_mel_bins, 2 * config.max_source_positions)  # Whisper halves it
        ids = torch.randint(3, config.vocab_size, (N_ITEMS, 5), generator=generator)
        features = torch.randn(shape, generator=generator).to(net.dtype)
        return {"input_features": features, "decoder_input_ids": ids}
    if net.tokenizer is not None:
        return list(TEXTS)
    generator = torch.Generator().manual_seed(0)
    if net.vocabulary_size is not None:
        low = min(3, net.vocabulary_size - 1)
        lengths = (12, 5, 9)
        return [
            torch.randint(low, net.vocabulary_size, (n,), generator=generator).tolist()
            for n in lengths
        ]
    first = next((m for m in net.model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None:
        raise NisslError("it is not known what this network reads", do="give inputs")
    size = getattr(config, "image_size", None) or 64
    height, width = size if isinstance(size, Sequence) else (size, size)
    return torch.randn(N_ITEMS, first.in_channels, height, width, generator=generator)


def _sites(net: BaseNetwork, call: Call, n: int) -> list[Site]:
    """Return sites to look at: named ones of a few blocks, or modules that give one tensor."""
    sides, wanted = encoder_path(net.model) is not None, list[str]()
    for stack, paths in net.block_paths.items():
        if sides and stack != "encoder":
            continue
        prefix, layers = f"{stack}." if stack else "", {0, len(paths) // 2, len(paths) - 1}
        wanted += [f"{prefix}blocks.{n}.{name}" for n in sorted(layers) for name in NAMED]
        wanted.append(f"{prefix}final_norm")
    named = [net.named_sites[name] for name in wanted if name in net.named_sites]
    if named:
        return named
    seen: dict[str, list[Any]] = {}

    def hook(path: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            first = output[0] if isinstance(output, (tuple, list)) and output else output
            seen.setdefault(path, []).append(first)

        return note

    with _hooked([(m, hook(path)) for path, m in net.model.named_modules() if path]):
        net.model(*call.args, **call.kwargs)
    once = [
        path
        for path, given in seen.items()
        if len(given) == 1 and isinstance(given[0], Tensor) and _is_activity(given[0], call, n)
    ]
    if encoder_path(net.model) is not None:
        once = [p for p in once if sides_of(net.model, net.find(p)) == {"encoder"}]
    if not once:
        raise NisslError("no module of this network gives one tensor for each item")
    chosen = np.unique(np.linspace(0, len(once) - 1, N_SITES).astype(int))
    return net.find([once[i] for i in chosen])


def _is_activity(x: Tensor, call: Call, n: int) -> bool:
    """Tell whether a tensor has numbers for each of n items, or for each token of a text."""
    if x.ndim < 2 or len(x) != n or not x.is_floating_point():
        return False
    return call.mask is None or x.ndim == 2 or x.shape[:-1] == call.mask.shape


# The checks


def _recorded(subject: Subject, worst: Worst) -> None:
    """Recorded values are those of plain hooks, one item after the other."""
    found = _records(subject, batch_size=1)
    for site in subject.sites:
        expected = [_by_hand(subject.net, site, call) for call in subject.calls]
        rows = torch.as_tensor(np.asarray(found[site.name]))
        # A plain hook does not know which axis counts units: one does.
        axes = range(1, expected[0].ndim)
        width = rows.shape[1]
        fitting = [a for a in axes if all(x.shape[a] == width for x in expected)]
        seen = []
        for axis in fitting or [expected[0].ndim - 1]:
            one = Worst()
            flat = [x.movedim(axis, -1).reshape(-1, x.shape[axis]) for x in expected]
            one.see(rows, torch.cat(flat), site.name)
            seen.append(one.value)
        value = min(seen)
        if value > worst.value or not worst.where:
            worst.value, worst.where = max(value, worst.value), site.name


def _batched(subject: Subject, worst: Worst) -> None:
    """A batch says what its items say alone."""
    if len(subject.items) < 2:
        raise NotApplicable("there is one item")
    single, together = _records(subject, batch_size=1), _records(subject, batch_size=N_ITEMS)
    for name in subject.names:
        worst.see(together[name], single[name], name)


def _sided(subject: Subject, worst: Worst) -> None:
    """Padding on the left says what padding on the right says."""
    if not subject.text or len({len(row) for row in subject.items}) < 2:
        raise NotApplicable("nothing is padded")
    left, right = (_records(subject, padding=side) for side in ("left", "right"))
    n_tokens = sum(map(len, subject.items))
    # What is one for a text (a pooled first token) is that of the padding, by the model's making.
    for name in (name for name in subject.names if len(right[name]) == n_tokens):
        worst.see(left[name], right[name], name)


def _identities(subject: Subject, worst: Worst) -> None:
    """The identities of the named sites."""
    net = subject.net
    if not net.n_layers or net.architecture is None:
        raise NotApplicable("sites have no names")
    for stack in net.architecture.stacks:
        if stack.stack in net.block_paths:
            _identities_of(subject, stack, worst)


def _identities_of(subject: Subject, stack: Architecture, worst: Worst) -> None:
    """The identities of one stack; a decoder is given the tokens of its encoder."""
    net, item = subject.net, subject.items[0]
    read: Any = [item] if subject.text else item
    if subject.text and encoder_path(net.model) is not None:
        ids = torch.as_tensor(np.asarray(item))[None]
        read = {"input_ids": ids, "decoder_input_ids": ids}
    for layer in sorted({0, len(net.block_paths[stack.stack]) - 1}):
        at = f"{stack.prefix}blocks.{layer}."
        names = [n for n in net.named_sites if n.startswith(at) and ".moe." not in n]
        found = run(net, read, sites=names)
        x = {name.removeprefix(at): value for name, value in found.items()}
        if not stack.post_norm:
            if "resid_mid" in x:
                mid = x["resid_mid"]
                worst.see(x["resid_pre"] + x["attn.out"], mid, f"{at}resid_mid")
                if "resid_cross" in x:
                    worst.see(mid + x["cross.out"], x["resid_cross"], f"{at}resid_cross")
                    mid = x["resid_cross"]
                worst.see(mid + x["mlp.out"], x["resid_post"], f"{at}resid_post")
            else:
                added = [x[n] for n in ("attn.out", "mlp.out", "mixer.out") if n in x]
                worst.see(sum(added, x["resid_pre"]), x["resid_post"], f"{at}resid_post")
        if "attn.heads" in x and net.named_sites[f"{at}attn.heads"].heads:
            n = net.named_sites[f"{at}attn.heads"].heads or 1
            rest = x["attn.out"] - x["attn.heads"].unflatten(-1, (n, -1)).sum(-2)
            point: Any = net.named_sites[f"{at}attn.heads"].hook_point
            biased = getattr(net.model.get_submodule(point.path), "bias", None) is not None
            # What the heads leave over is a bias, the same at every position but where a norm
            # scales it.
            if not (biased and stack.norms[0]):
                worst.see(rest + x["attn.out"] - rest[:1, :1], x["attn.out"], f"{at}attn.heads")
        if "attn.pattern" in x and "attn.v" in x:
            clip = getattr(net.model.config, "clip_qkv", None)
            value = x["attn.v"] if clip is None else x["attn.v"].clamp(-clip, clip)
            _pattern({**x, "attn.v": value}, worst, f"{at}attn.pattern")
        if "mlp.neurons" in x and stack.norms[1] is None:
            made = x["mlp.neurons"] @ net.output_weights(f"{at}mlp.neurons").to(x["mlp.neurons"])
            rest = x["mlp.out"] - made
            worst.see(rest + x["mlp.out"] - rest[:1, :1], x["mlp.out"], f"{at}mlp.out")


def _pattern(x: dict[str, Tensor], worst: Worst, where: str) -> None:
    pattern = x["attn.pattern"].transpose(1, 2)
    d = x["attn.z"].shape[-1] // pattern.shape[1]
    value = x["attn.v"].unflatten(-1, (-1, d)).transpose(1, 2)
    value = value.repeat_interleave(pattern.shape[1] // value.shape[1], 1)
    z = (pattern.to(value) @ value).transpose(1, 2).flatten(-2)
    worst.see(z, x["attn.z"], where)


def _nothing(subject: Subject, worst: Worst) -> None:
    """What changes nothing changes no bit of what the model says."""
    net, call = subject.net, subject.calls[0]
    plain = _said(net, call)
    with editing(net, scale(sites=subject.names, by=1.0)):
        worst.see(_said(net, call), plain, "scaled by one")
    run(net, subject.inputs, sites=subject.names)
    worst.see(_said(net, call), plain, "read")


def _acts(subject: Subject, worst: Worst) -> None:
    """An edit acts at the item and position it is told, and nowhere else."""
    net = subject.net
    site = subject.sites[len(subject.sites) // 2]
    plain = run(net, subject.inputs, sites=site.name)[site.name]
    if len(plain) < 2:
        raise NotApplicable("there is one item")
    where: dict[str, Any] = {"positions": 1} if subject.text and plain.ndim == 3 else {}
    with editing(net, scale(sites=site.name, by=-2.0, items=1, **where)):
        found = run(net, subject.inputs, sites=site.name)[site.name]
    expected = plain.clone()
    if where:
        expected[1, 1] *= -2.0
    else:
        expected[1] *= -2.0
    worst.see(found, expected, site.name)


def _undone(subject: Subject, worst: Worst) -> None:
    """When an edit is over, nothing is left of it: neither values nor hooks."""
    net, call = subject.net, subject.calls[0]
    plain, hooks = _said(net, call), _n_hooks(net.model)
    with editing(net, scale(sites=subject.names, by=-2.0)):
        _said(net, call)
    worst.see(_said(net, call), plain, "values")
    worst.see(_n_hooks(net.model), hooks, "hooks")


def _many(subject: Subject, worst: Worst) -> None:
    """Many edits in one batch say what each says alone."""
    net, call = subject.net, subject.calls[0]
    edits = [scale(sites=name, by=-2.0) for name in subject.names[:3]]
    with edit_batch(net, [None, *edits]):
        together = _said(net, call).chunk(1 + len(edits))
    for edit, found in zip([None, *edits], together, strict=True):
        with editing(net, *([] if edit is None else [edit])):
            worst.see(found, _said(net, call), repr(edit))


def _unembedded(subject: Subject, worst: Worst) -> None:
    """The last residual stream, through the final norm and the unembedding, is the logits."""
    net = subject.net
    last = f"blocks.{net.n_layers - 1}.resid_post"
    if not subject.text or not {last, "logits"} <= set(net.named_sites):
        raise NotApplicable("it has no residual stream that ends in logits")
    found = run(net, [subject.items[0]], sites=[last, "logits"])
    worst.see(unembed(net)(found[last]), found["logits"], "logits")


def _repeated(subject: Subject, worst: Worst) -> None:
    """Two runs are the same."""
    first, second = (run(subject.net, subject.inputs, sites=subject.names) for _ in range(2))
    for name in subject.names:
        worst.see(second[name], first[name], name)


def _cut(subject: Subject, worst: Worst) -> None:
    """A run that ends at a site says what a whole one does."""
    whole = run(subject.net, subject.inputs, sites=subject.names)
    for name in subject.names:
        worst.see(run(subject.net, subject.inputs, sites=name)[name], whole[name], name)


def _cached(subject: Subject, worst: Worst) -> None:
    """A cache, or a state, says what the whole text says; under an edit too."""
    net = subject.net
    if not subject.text or not hasattr(net.model, "generate") or encoder_path(net.model):
        raise NotApplicable("it does not go on from a text")
    ids = torch.as_tensor(np.asarray(subject.items[0]))[None].to(net.device)
    edit = scale(sites=subject.names[len(subject.names) // 2], by=-2.0, positions=slice(2, None))
    for edits, where in (((), "no edit"), ((edit,), repr(edit))):
        with editing(net, *edits):
            whole = net.model(input_ids=ids, use_cache=False).logits[0, -1]
        with editing(net, *edits):
            state: dict[str, Any] = {}
            for part in ids.split([ids.shape[1] - 2, 1, 1], dim=1):
                out = net.model(input_ids=part, use_cache=True, **state)
                state = {k: getattr(out, k) for k in CACHES if getattr(out, k, None) is not None}
                if not state:
                    raise NotApplicable("it keeps no cache")
        worst.see(out.logits[0, -1], whole, where)


CHECKS: dict[str, Check] = {
    "recorded equals hooks": _recorded,
    "batch equals single": _batched,
    "left equals right padding": _sided,
    "identities hold": _identities,
    "unembedded stream equals logits": _unembedded,
    "doing nothing changes nothing": _nothing,
    "an edit acts where it is told": _acts,
    "edits are undone": _undone,
    "many edits equal one by one": _many,
    "two runs are the same": _repeated,
    "a run cut short equals a whole one": _cut,
    "cached equals whole": _cached,
}
# To the bit.
EXACT = ("doing nothing changes nothing", "edits are undone", "two runs are the same")


def _records(subject: Subject, **options: Any) -> dict[str, Any]:
    """Return recorded values by site."""
    options = {"batch_size": N_ITEMS, "progress": False, **options}
    found = record(subject.net, subject.inputs, sites=subject.names, **options)
    if isinstance(found, dict):
        return {name: rec.values for name, rec in found.items()}
    return {name: found.values[:, found["site"].values == name] for name in subject.names}


def _by_hand(net: BaseNetwork, site: Site, call: Call) -> Tensor:
    """Return what a plain hook sees in one call, in float as a recording keeps it."""
    point: Any = site.hook_point
    seen: list[Tensor] = []

    def of_output(module: nn.Module, args: Any, output: Any) -> None:
        item = getattr(point, "item", None)
        found = output if item is None else output[item]
        # A copy: what follows may change it in place.
        found = found[0] if isinstance(found, (tuple, list)) else found
        seen.append(found * getattr(point, "scale", 1.0))

    def of_input(module: nn.Module, args: Any, kwargs: Any) -> None:
        seen.append(next(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)).clone())

    module = net.model.get_submodule(point.path)
    if hasattr(point, "item"):
        handle = module.register_forward_hook(of_output)
    else:
        handle = module.register_forward_pre_hook(of_input, with_kwargs=True)
    try:
        net.model(*call.args, **call.kwargs)
    finally:
        handle.remove()
    found = seen[0]
    if found.ndim == 2 and call.mask is not None and len(found) == call.mask.numel():
        return found[None]  # all tokens in one row
    return found


def _said(net: BaseNetwork, call: Call) -> Tensor:
    """Return what the model says: its logits, or the first tensor that it returns."""
    out = net.model(*call.args, **call.kwargs)
    found = getattr(out, "logits", out)
    while not isinstance(found, Tensor):
        values = list(found.values()) if hasattr(found, "values") else list(found)
        found = next(x for x in values if isinstance(x, (Tensor, tuple, list)))
    return found.clone()


def _n_hooks(model: nn.Module) -> float:
    return float(
        sum(
            len(module._forward_hooks)
            + len(module._forward_pre_hooks)
            + ("forward" in module.__dict__)
            for module in model.modules()
        )
    )


@contextmanager
def _hooked(hooks: list[tuple[nn.Module, Callable[..., None]]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
