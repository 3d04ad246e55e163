"""Sites: the named places of a network at which activity is recorded and changed.

A site is asked for by the field's name, once for all blocks (``mlp.neurons``), for one
(``blocks.3.mlp.neurons``) or with a glob (``blocks.*.attn.out``); by the path of any module, with
``:in`` for what it is given and ``:0`` or ``:key`` for an item of what it returns; or by the name
that TransformerLens has for it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nissl.errors import NisslError, UnknownName
from nissl.network.sites.hook_points import Input, Output

if TYPE_CHECKING:
    from torch import nn

    from nissl.network.sites.architectures import Architecture
    from nissl.network.sites.hook_points import HookPoint

__all__ = ["Site", "find_sites", "site_of_unit", "sites_of"]

# TransformerLens' name of a hook to ours; `mlp.hook_pre` is the gate where there is one.
ALIASES = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "attn.hook_q": "attn.q",
    "attn.hook_k": "attn.k",
    "attn.hook_v": "attn.v",
    "attn.hook_rot_q": "attn.q_rot",
    "attn.hook_rot_k": "attn.k_rot",
    "attn.hook_z": "attn.z",
    "attn.hook_result": "attn.heads",
    "attn.hook_pattern": "attn.pattern",
    "hook_attn_out": "attn.out",
    "mlp.hook_pre": "mlp.gate",
    "mlp.hook_pre_linear": "mlp.up",
    "mlp.hook_post": "mlp.neurons",
    "hook_mlp_out": "mlp.out",
    "hook_embed": "embed",
    "ln_final.hook_normalized": "final_norm",
}
UNIT = re.compile(r"^(?P<site>.+)\[(?P<index>\d+)\]$")


@dataclass(frozen=True)
class Site:
    """One named place of a network.

    Parameters
    ----------
    name : str
        Its full name: ``blocks.3.mlp.neurons``.
    hook_point : HookPoint
        How its tensor is reached.
    layer : int or None
        The block it is in.
    width : int or None
        How many units it has, where that is known before a run.
    heads : int or None
        Into how many heads its units fall.
    """

    name: str
    hook_point: HookPoint
    layer: int | None = None
    width: int | None = None
    heads: int | None = None


def sites_of(model: nn.Module, architecture: Architecture | None) -> dict[str, Site]:
    """Return every site that has one of the field's names, in the order of computation.

    Parameters
    ----------
    model : nn.Module
        The whole model.
    architecture : Architecture or None
        Where the names lie; None gives no names.

    Returns
    -------
    dict of str to Site
        By full name.
    """
    if architecture is None:
        return {}
    prefix = body_path(model)
    join = f"{prefix}." if prefix else ""
    config: Any = model.config
    blocks: Any = model.get_submodule(join + architecture.blocks)
    widths = _widths(config, architecture, model)
    named = {"embed": Site("embed", Output(join + architecture.embed), None, widths("embed"))}
    for layer in range(len(blocks)):
        path = f"{join}{architecture.blocks}.{layer}"
        for name, point in sorted(architecture.block(path, config).items(), key=_order):
            full = f"blocks.{layer}.{name}"
            named[full] = Site(full, point, layer, widths(name), _heads(name, config))
    if architecture.final_norm and _has(model, join + architecture.final_norm):
        point = Output(join + architecture.final_norm)
        named["final_norm"] = Site("final_norm", point, None, widths("final_norm"))
    if prefix:
        named["logits"] = Site("logits", Output("", "logits"), None, widths("logits"))
    return named


def find_sites(
    asked: str | Iterable[str], named: Mapping[str, Site], model: nn.Module
) -> list[Site]:
    """Return the sites that are meant, in the order asked, each once.

    Parameters
    ----------
    asked : str or iterable of str
        Names, globs, module paths or aliases.
    named : mapping of str to Site
        The sites with names (`sites_of`).
    model : nn.Module
        The model, for module paths.

    Returns
    -------
    list of Site
        At least one for each that was asked.

    Raises
    ------
    UnknownName
        A name means no site; the nearest names are given.

    Examples
    --------
    >>> from torch import nn
    >>> [s.name for s in find_sites(["0", "1:in"], {}, nn.Sequential(nn.Linear(2, 3), nn.ReLU()))]
    ['0', '1:in']
    """
    found: dict[str, Site] = {}
    for name in [asked] if isinstance(asked, str) else asked:
        for site in _find(str(name), named, model):
            found.setdefault(site.name, site)
    if not found:
        raise NisslError("no site was asked for", do="net.sites() lists them")
    return list(found.values())


def site_of_unit(address: str) -> tuple[str, int]:
    """Split the address of a unit into its site and its index there.

    Parameters
    ----------
    address : str
        Such as ``blocks.3.mlp.neurons[812]``.

    Returns
    -------
    tuple of (str, int)
        Site and index.

    Raises
    ------
    NisslError
        It is not an address.

    Examples
    --------
    >>> site_of_unit("blocks.3.mlp.neurons[812]")
    ('blocks.3.mlp.neurons', 812)
    """
    match = UNIT.match(address)
    if match is None:
        raise NisslError(
            f"'{address}' is not the address of a unit",
            do="write site[index], as in blocks.3.mlp.neurons[812]",
        )
    return match["site"], int(match["index"])


def body_path(model: nn.Module) -> str:
    """Return the path of the module that computes all but the head; "" where there is none."""
    prefix = getattr(model, "base_model_prefix", "")
    return prefix if prefix and hasattr(model, prefix) else ""


def _find(name: str, named: Mapping[str, Site], model: nn.Module) -> list[Site]:
    name = _unalias(name, named)
    if name in named:
        return [named[name]]
    pattern = name if name.startswith("blocks.") else f"blocks.*.{name}"
    # Brackets of `experts[3]` are part of a name, not a set of characters.
    regex = re.compile(fnmatch.translate(pattern.replace("[", "\0")).replace("\0", r"\["))
    several = [site for full, site in named.items() if regex.match(full)]
    if several:
        return several
    return [_module_site(name, named, model)]


def _module_site(name: str, named: Mapping[str, Site], model: nn.Module) -> Site:
    path, _, point = name.partition(":")
    modules = {path for path, _ in model.named_modules()}
    if path not in modules:
        short = {full.split(".", 2)[-1] for full in named if full.startswith("blocks.")}
        known = [*named, *short, *(m for m in modules if m)]
        raise UnknownName("site", name, known, do="net.sites() lists them")
    if point == "in":
        return Site(name, Input(path))
    item: int | str | None = int(point) if point.isdigit() else point or None
    return Site(name, Output(path, item))


def _unalias(name: str, named: Mapping[str, Site]) -> str:
    head, tail = "", name
    match = re.match(r"^(blocks\.(?:\d+|\*)\.)(.+)$", name)
    if match:
        head, tail = match[1], match[2]
    if tail not in ALIASES:
        return name
    ours = ALIASES[tail]
    gated = any(full.endswith(".mlp.gate") for full in named)
    if ours == "mlp.gate" and not gated:
        ours = "mlp.up"
    return head + ours


def _has(model: nn.Module, path: str) -> bool:
    """OPT that norms after each addition has no final norm."""
    return path in dict(model.named_modules())


ORDER = (
    "resid_pre",
    "attn.q",
    "attn.k",
    "attn.v",
    "attn.q_rot",
    "attn.k_rot",
    "attn.pattern",
    "attn.z",
    "attn.heads",
    "attn.out",
    "resid_mid",
    "moe.router",
    "mlp.gate",
    "mlp.up",
    "mlp.neurons",
    "mlp.out",
    "resid_post",
)


def _order(item: tuple[str, HookPoint]) -> int:
    name = item[0]
    return ORDER.index(name) if name in ORDER else ORDER.index("mlp.neurons")


def _heads(name: str, config: Any) -> int | None:
    if name in ("attn.k", "attn.v", "attn.k_rot"):
        return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    if name in ("attn.q", "attn.q_rot", "attn.z", "attn.heads"):
        return int(config.num_attention_heads)
    return None


def _widths(config: Any, architecture: Architecture, model: nn.Module) -> Any:
    d_model = int(config.hidden_size)
    d_head = int(getattr(config, "head_dim", None) or d_model // config.num_attention_heads)
    d_mlp = next(
        int(getattr(config, key))
        for key in ("intermediate_size", "ffn_dim", "n_inner", "hidden_size")
        if getattr(config, key, None)
    )
    if architecture.name == "GPT-2" and not config.n_inner:
        d_mlp = 4 * d_model
    embedding = getattr(model, "get_output_embeddings", lambda: None)()
    vocabulary = getattr(embedding, "out_features", None)

    def width(name: str) -> int | None:
        heads = _heads(name, config)
        if name == "attn.heads":
            return (heads or 1) * d_model
        if heads:
            return heads * d_head
        if name == "logits":
            return vocabulary or getattr(config, "num_labels", None)
        if name == "moe.router":
            return int(config.num_local_experts)
        if name == "attn.pattern":
            return None
        return d_mlp if name.startswith(("mlp.gate", "mlp.up", "mlp.neurons", "moe.")) else d_model

    return width
