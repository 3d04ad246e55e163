"""Sites: the named places of a network at which activity is recorded and changed.

A site is asked for by the field's name, once for all blocks (``mlp.neurons``), for one
(``blocks.3.mlp.neurons``) or with a glob (``blocks.*.attn.out``); by the path of any module, with
``:in`` for what it is given and ``:0`` or ``:key`` for an item of what it returns; or by the name
that TransformerLens has for it. `find_sites` takes the address of a part of the network too: units,
heads, layers and edges (`nissl.address`).
"""

from __future__ import annotations

import copy
import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from nissl.address import LAYER, Address, parse
from nissl.errors import NisslError, UnknownName
from nissl.network.sites.architectures.points import expert_width, n_experts, n_key_heads
from nissl.network.sites.arguments import inner_model
from nissl.network.sites.attention import Pattern
from nissl.network.sites.batch import encoder_path
from nissl.network.sites.hook_points import Input, Output

if TYPE_CHECKING:
    from torch import nn

    from nissl.network.sites.architectures.architecture import Architecture
    from nissl.network.sites.batch import Batch
    from nissl.network.sites.hook_points import Handle, HookPoint, Visit

__all__ = ["Part", "Piece", "Site", "find_sites", "locate", "sides_of", "site_of_unit", "sites_of"]
__all__ += ["block_paths", "side_of"]

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
STACK = re.compile(r"((?:encoder|decoder)\.)?(.*)", re.DOTALL)
# What a block adds to the residual stream.
ADDED = ("attn.out", "cross.out", "mlp.out", "mixer.out")
# What a decoder projects of its encoder's tokens.
ENCODED = (".cross.k", ".cross.v")


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


class Piece(NamedTuple):
    """What of one site an address names.

    Parameters
    ----------
    site : Site
        The site.
    units : range or None
        Which of its units; None is all of them.
    head : int or None
        Which head: the units are its own, or it lies on the head axis of an attention pattern.
    """

    site: Site
    units: range | None = None
    head: int | None = None


@dataclass(frozen=True)
class Part(Site):
    """A unit, head, layer or edge, as an address names it. Its name is the address.

    It can be edited, not run or recorded: that is done with sites.

    Parameters
    ----------
    kind : {"unit", "head", "layer", "edge"}
        What it is. A feature is a unit of its dictionary's site.
    pieces : tuple of Piece
        Where it lies: at one site; of a layer, what attention and MLP add to the residual stream;
        of an edge, where it begins and where it ends.
    """

    kind: str = "unit"
    pieces: tuple[Piece, ...] = ()


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
    prefix, outer = body_path(model), inner_model(model)[0]
    named: dict[str, Site] = {}
    paths = block_paths(model, architecture)
    for stack in architecture.stacks:
        if stack.stack in paths:
            named |= _sites_of_stack(model, stack, paths[stack.stack])
    if prefix != outer:
        embedding = getattr(model, "get_output_embeddings", lambda: None)()
        width = getattr(embedding, "out_features", None) or getattr(
            model.config, "num_labels", None
        )
        named["logits"] = Site("logits", Output("", "logits", axis=-1), None, width)
    return named


def block_paths(model: nn.Module, architecture: Architecture) -> dict[str, list[str]]:
    """Return the paths of the blocks of each stack, by its name, in the order of computation.

    Parameters
    ----------
    model : nn.Module
        The whole model; of an encoder-decoder it may be the encoder alone.
    architecture : Architecture
        Where its blocks lie.

    Returns
    -------
    dict of str to list of str
        Of the stacks that the model has.
    """
    body, found = body_path(model), dict[str, list[str]]()
    for stack in architecture.stacks:
        outer, stages, inner = _joined(body, stack.blocks).partition(".*.")
        if architecture.then is not None and not _has(model, outer):
            continue
        every = [outer]
        if stages:
            every = [f"{outer}.{i}.{inner}" for i in range(_length(model, outer))]
        found[stack.stack] = [f"{p}.{i}" for p in every for i in range(_length(model, p))]
    return found


def _length(model: nn.Module, path: str) -> int:
    modules: Any = model.get_submodule(path)
    return len(modules)


def _sites_of_stack(
    model: nn.Module, architecture: Architecture, paths: list[str]
) -> dict[str, Site]:
    """Return the sites of one stack, whose blocks lie at paths, by full name."""
    named: dict[str, Site] = {}
    body = body_path(model)
    config: Any = model.config
    if "encoder_attention_heads" in getattr(config, "attribute_map", {}).values():
        config = copy.copy(config)
        config.num_attention_heads = getattr(config, f"{architecture.stack}_attention_heads")
    blocks = [model.get_submodule(path) for path in paths]
    staged = "*" in architecture.blocks  # whose stages have widths of their own
    widths = _widths(config, architecture, blocks[:1] if staged else blocks)

    def add(name: str, point: HookPoint, layer: int | None = None) -> None:
        full = f"{architecture.prefix}{'' if layer is None else f'blocks.{layer}.'}{name}"
        if isinstance(point, (Output, Input)) and point.axis is None:
            point = replace(point, axis=-1)
        named[full] = Site(full, point, layer, widths(name), _heads(name, config))

    if architecture.embed:
        add("embed", Output(_joined(body, architecture.embed), axis=architecture.axis))
    for layer, (path, block) in enumerate(zip(paths, blocks, strict=True)):
        widths = _widths(config, architecture, [block]) if staged else widths
        for name, point in sorted(architecture.block(path, config).items(), key=_order):
            add(name, point, layer)
    if architecture.final_norm and _has(model, _joined(body, architecture.final_norm)):
        add("final_norm", Output(_joined(body, architecture.final_norm), axis=architecture.axis))
    return named


def find_sites(
    asked: str | Iterable[str], named: Mapping[str, Site], model: nn.Module
) -> list[Site]:
    """Return the sites, or parts of the network, that are meant, in the order asked, each once.

    Parameters
    ----------
    asked : str or iterable of str
        Names, globs, module paths or aliases of sites; addresses.
    named : mapping of str to Site
        The sites with names (`sites_of`).
    model : nn.Module
        The model, for module paths.

    Returns
    -------
    list of Site
        At least one for each that was asked; a `Part` for a unit, head, layer or edge.

    Raises
    ------
    UnknownName
        A name means no site; the nearest names are given.
    NisslError
        The site has no such unit or head.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> [s.name for s in find_sites(["0", "1:in", "0[2]"], {}, model)]
    ['0', '1:in', '0[2]']
    """
    lookup, found = _Lookup(named, model), dict[str, Site]()
    if not isinstance(asked, (str, Iterable)):
        raise NisslError(f"{asked!r} is no name of a site", do="net.sites() lists them")
    for name in [asked] if isinstance(asked, str) else asked:
        for site in lookup.found(str(name)):
            found.setdefault(site.name, site)
    if not found:
        raise NisslError("no site was asked for", do="net.sites() lists them")
    return list(found.values())


def locate(
    addresses: Iterable[Address], named: Mapping[str, Site], model: nn.Module
) -> list[list[Piece]]:
    """Return what of which sites each address means.

    Parameters
    ----------
    addresses : iterable of Address
        Of units, heads, layers, sites and edges; a glob means several.
    named : mapping of str to Site
        The sites with names.
    model : nn.Module
        The model.

    Returns
    -------
    list of list of Piece
        At least one for each.

    Raises
    ------
    NisslError
        As `find_sites`.
    """
    lookup = _Lookup(named, model)
    return [lookup.pieces(address) for address in addresses]


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
        It is not the address of a unit.

    Examples
    --------
    >>> site_of_unit("blocks.3.mlp.neurons[812]")
    ('blocks.3.mlp.neurons', 812)
    """
    found = parse(address)
    if found.index is None or found.target is not None:
        raise NisslError(
            f"'{address}' is not the address of a unit",
            do="write site[index], as in blocks.3.mlp.neurons[812]",
        )
    return found.site, found.index


@dataclass(frozen=True)
class _NoHook:
    """The hook point of a part, which has none of its own."""

    address: str

    @property
    def path(self) -> str:
        raise self._refused()

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        raise self._refused()

    def _refused(self) -> NisslError:
        return NisslError(
            "a site is wanted here, not a part of the network",
            where=self.address,
            do="run or record whole sites and choose from them; parts can be edited",
        )


class _Lookup:
    """Finds sites and parts of one model; each site is looked up once."""

    def __init__(self, named: Mapping[str, Site], model: nn.Module) -> None:
        self.named = named
        self.sites = cache(lambda name: _find(name, named, model))

    def found(self, text: str) -> list[Site]:
        """Return the sites or parts that a name or an address means."""
        try:
            address = parse(text)
        except NisslError:
            return self.sites(text)  # which says what is near
        if address.target is not None:
            return [_part(text, "edge", self.pieces(address), address.layer)]
        if self._is_layer(address):
            return [_part(text, "layer", self.pieces(address), address.layer)]
        if address.index is None and address.head is None:
            return self.sites(text)
        kind = "unit" if address.head is None else "head"
        return [
            _part(str(replace(address, site=p.site.name)), kind, [p], p.site.layer)
            for p in self.pieces(address)
        ]

    def pieces(self, address: Address) -> list[Piece]:
        """Return what of which sites an address means."""
        if address.target is not None:
            ends = [self.pieces(end) for end in (replace(address, target=None), address.target)]
            if any(len(end) != 1 for end in ends):
                raise NisslError("an edge has one beginning and one end", where=str(address))
            return [end[0] for end in ends]
        if address.index is not None or address.head is not None:
            return [_inside(site, address) for site in self.sites(address.site)]
        names = [address.site]
        if self._is_layer(address):
            names = [f"{address.site}.{name}" for name in ADDED]
            names = [name for name in names if name in self.named]
        return [Piece(site) for name in names for site in self.sites(name)]

    def _is_layer(self, address: Address) -> bool:
        names = (f"{address.site}.{name}" for name in ADDED)
        return address.is_layer and any(name in self.named for name in names)


def _part(name: str, kind: str, pieces: list[Piece], layer: int | None) -> Part:
    units = pieces[0].units
    width = len(units) if len(pieces) == 1 and units is not None else None
    return Part(name, _NoHook(name), layer, width, None, kind, tuple(pieces))


def _inside(site: Site, address: Address) -> Piece:
    """Return a unit or a head of a site."""
    index, head = address.index, address.head
    if index is not None:
        if site.width is not None and index >= site.width:
            raise NisslError(
                f"there is no unit {index}",
                where=site.name,
                do=f"the site has {site.width} units, 0 to {site.width - 1}",
            )
        return Piece(site, range(index, index + 1))
    if isinstance(site.hook_point, Pattern):
        return Piece(site, None, head)
    if not site.heads or not site.width or head is None:
        raise NisslError(f"the units of '{site.name}' do not fall into heads")
    if head >= site.heads:
        raise NisslError(
            f"there is no head {head}",
            where=site.name,
            do=f"the site has {site.heads} heads, 0 to {site.heads - 1}",
        )
    size = site.width // site.heads
    return Piece(site, range(head * size, (head + 1) * size), head)


def body_path(model: nn.Module) -> str:
    """Return the path of the module that computes all but the head; "" where there is none."""
    path, inner = inner_model(model)
    prefix = getattr(type(inner), "base_model_prefix", "")
    return _joined(path, prefix) if prefix and prefix in inner._modules else path


def sides_of(model: nn.Module, sites: Iterable[Site]) -> set[str]:
    """Return at which tokens of an encoder-decoder sites are read: "encoder", "decoder"."""
    path = encoder_path(model)
    return {side_of(site, path) for site in sites}


def side_of(site: Site, encoder: str | None) -> str:
    """Return at which tokens a site is read, given the path of the encoder."""
    inside = f"{site.hook_point.path}.".startswith(f"{encoder}.")
    return "encoder" if inside or site.name.endswith(ENCODED) else "decoder"


def _joined(*names: str) -> str:
    return ".".join(name for name in names if name)


def _find(name: str, named: Mapping[str, Site], model: nn.Module) -> list[Site]:
    name = _unalias(name, named)
    if name in named:
        return [named[name]]
    # Of all blocks, or of those of one stack, where no block is named.
    stack, rest = STACK.fullmatch(name).groups()  # type: ignore[union-attr]
    pattern = name if "blocks." in rest else f"{stack or '*'}blocks.*.{rest}"
    # Brackets of `experts[3]` are part of a name, not a set of characters.
    regex = re.compile(fnmatch.translate(pattern.replace("[", "\0")).replace("\0", r"\["))
    ends = (f"encoder.{name}", f"decoder.{name}") if name in ("embed", "final_norm") else ()
    several = [site for full, site in named.items() if regex.match(full) or full in ends]
    if several:
        return several
    return [_module_site(name, named, model)]


def _module_site(name: str, named: Mapping[str, Site], model: nn.Module) -> Site:
    path, _, point = name.partition(":")
    modules = {path for path, _ in model.named_modules(remove_duplicate=False)}
    if path not in modules:
        layers = {found[0] for full in named if (found := LAYER.match(full))}
        short = {LAYER.sub("", full).lstrip(".") for full in named}
        known = [*named, *short, *layers, *(m for m in modules if m)]
        raise UnknownName("site", name, known, do="net.sites() lists them")
    if point == "in":
        return Site(name, Input(path))
    item: int | str | None = int(point) if point.isdigit() else point or None
    return Site(name, Output(path, item))


def _unalias(name: str, named: Mapping[str, Site]) -> str:
    head, tail = "", name
    match = re.match(r"^((?:encoder\.|decoder\.)?blocks\.(?:\d+|\*)\.)(.+)$", name)
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
    *(f"cross.{name}" for name in ("q", "k", "v", "pattern", "z", "heads", "out")),
    "resid_cross",
    "moe.router",
    "mlp.gate",
    "mlp.up",
    "mlp.neurons",
    "mlp.out",
    "mixer.neurons",
    "mixer.out",
    "resid_post",
)


def _order(item: tuple[str, HookPoint]) -> int:
    name = item[0]
    return ORDER.index(name) if name in ORDER else ORDER.index("mlp.neurons")


def _heads(name: str, config: Any) -> int | None:
    name = name.replace("cross.", "attn.")
    if name in ("attn.k", "attn.v", "attn.k_rot"):
        return n_key_heads(config)
    if name in ("attn.q", "attn.q_rot", "attn.z", "attn.heads"):
        return int(config.num_attention_heads)
    return None


def _widths(config: Any, architecture: Architecture, blocks: list[nn.Module]) -> Any:
    writer: Any = None
    if architecture.matrices is not None:
        writers = (dict(block.named_modules()).get(architecture.matrices.write) for block in blocks)
        writer = next(filter(None, writers), None)
    if "*" in architecture.blocks:
        return _widths_of_stage(writer.in_features, writer.out_features)
    d_model = int(config.hidden_size)
    n_heads = getattr(config, "num_attention_heads", None) or 1  # state spaces have none
    d_head = int(getattr(config, "head_dim", None) or d_model // n_heads)
    d_mlp = next(
        int(getattr(config, key))
        for key in ("intermediate_size", "ffn_dim", "n_inner", "hidden_size")
        if getattr(config, key, None)
    )
    if architecture.name == "GPT-2" and not config.n_inner:
        d_mlp = 4 * d_model
    # Some configurations say it in other words (DINOv2).
    d_mlp = getattr(writer, "in_features", d_mlp)
    # Embeddings narrower than the stream (OPT-350m, ELECTRA).
    narrow = getattr(config, "word_embed_proj_dim", None)
    if getattr(config, "model_type", None) == "electra":
        narrow = config.embedding_size
    # Latent attention (DeepSeek) has wider queries and keys than values.
    wide = sum(getattr(config, f"qk_{part}_head_dim", 0) for part in ("nope", "rope"))
    value = getattr(config, "v_head_dim", None)
    latent = dict.fromkeys(("attn.q", "attn.q_rot", "attn.k_rot"), wide)
    latent |= dict.fromkeys(("attn.v", "attn.z"), value)

    def width(name: str) -> int | None:
        heads = _heads(name, config)
        if name == "embed" and narrow:
            return int(narrow)
        if name in ("attn.heads", "cross.heads"):
            return (heads or 1) * d_model
        if heads:
            return heads * int(latent.get(name) or d_head)
        if name == "moe.router":
            return n_experts(config)
        if name.startswith("moe."):
            return expert_width(config, shared=name.startswith("moe.shared"))
        if name in ("attn.pattern", "cross.pattern"):
            return None
        if name == "mixer.neurons":
            return int(config.expand * d_model)
        return d_mlp if name in ("mlp.gate", "mlp.up", "mlp.neurons") else d_model

    return width


def _widths_of_stage(d_mlp: int, d_model: int) -> Callable[[str], int | None]:
    """Widths where stages have their own, and attention, in windows, has no names."""
    return lambda name: d_mlp if name in ("mlp.up", "mlp.neurons") else d_model
