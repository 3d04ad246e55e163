"""Sites: the named places of a network at which activity is recorded and changed.

A site is asked for by the field's name, once for all blocks (``mlp.neurons``), for one
(``blocks.3.mlp.neurons``) or with a glob (``blocks.*.attn.out``); by the path of any module, with
``:in`` for what it is given and ``:0`` or ``:key`` for an item of what it returns; or by the name
that TransformerLens has for it. `find_sites` takes the address of a part of the network too: units,
heads, layers and edges (`nissl.address`).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from nissl.address import Address, parse
from nissl.errors import NisslError, UnknownName
from nissl.network.sites.attention import Pattern
from nissl.network.sites.hook_points import Input, Output

if TYPE_CHECKING:
    from torch import nn

    from nissl.network.sites.architectures import Architecture
    from nissl.network.sites.batch import Batch
    from nissl.network.sites.hook_points import Handle, HookPoint, Visit

__all__ = ["Part", "Piece", "Site", "find_sites", "locate", "site_of_unit", "sites_of"]

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
# What a block adds to the residual stream.
ADDED = ("attn.out", "mlp.out")


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


@dataclass(frozen=True)
class Piece:
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
    names = [asked] if isinstance(asked, str) else [str(name) for name in asked]
    found = {site.name: site for sites in locate(names, named, model) for site in sites}
    if not found:
        raise NisslError("no site was asked for", do="net.sites() lists them")
    return list(found.values())


def locate(
    addresses: Iterable[str], named: Mapping[str, Site], model: nn.Module
) -> list[list[Site]]:
    """Return what each address means: several sites or parts, where it is a glob.

    Parameters
    ----------
    addresses : iterable of str
        As of `find_sites`.
    named : mapping of str to Site
        The sites with names.
    model : nn.Module
        The model.

    Returns
    -------
    list of list of Site
        At least one for each.
    """

    @cache
    def sites(name: str) -> list[Site]:
        return _find(name, named, model)

    def parts(text: str) -> list[Site]:
        try:
            address = parse(text)
        except NisslError:
            return sites(text)  # which says what is near
        if address.target is not None:
            ends = [parts(str(Address(a.site, a.index, a.head))) for a in (address, address.target)]
            pieces = tuple(piece for end in ends for one in end for piece in pieces_of(one))
            if len(pieces) != 2:
                raise NisslError("an edge has one beginning and one end", where=text)
            return [_part(text, "edge", pieces, address.layer)]
        if address.is_layer and f"{text}.{ADDED[0]}" in named:
            pieces = tuple(Piece(sites(f"{text}.{name}")[0]) for name in ADDED)
            return [_part(text, "layer", pieces, address.layer)]
        if address.index is None and address.head is None:
            return sites(text)
        return [_inside(site, address) for site in sites(address.site)]

    return [parts(text) for text in addresses]


def pieces_of(site: Site) -> tuple[Piece, ...]:
    """Return what of which sites a part is; a whole site is one piece."""
    return site.pieces if isinstance(site, Part) else (Piece(site),)


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


def _part(name: str, kind: str, pieces: tuple[Piece, ...], layer: int | None) -> Part:
    n = [p.site.width if p.units is None else len(p.units) for p in pieces]
    width = n[0] if len(n) == 1 else None
    return Part(name, _NoHook(name), layer, width, None, kind, pieces)


def _inside(site: Site, address: Address) -> Part:
    """Return a unit or a head of a site."""
    head, units = address.head, None
    if address.index is not None:
        units = range(address.index, address.index + 1)
        if site.width is not None and address.index >= site.width:
            raise NisslError(
                f"there is no unit {address.index}",
                where=site.name,
                do=f"the site has {site.width} units, 0 to {site.width - 1}",
            )
    elif head is not None and not isinstance(site.hook_point, Pattern):
        if not site.heads or not site.width:
            raise NisslError(f"the units of '{site.name}' do not fall into heads")
        if head >= site.heads:
            raise NisslError(
                f"there is no head {head}",
                where=site.name,
                do=f"the site has {site.heads} heads, 0 to {site.heads - 1}",
            )
        size = site.width // site.heads
        units = range(head * size, (head + 1) * size)
    name = str(Address(site.name, address.index, head))
    kind = "unit" if head is None else "head"
    return _part(name, kind, (Piece(site, units, head),), site.layer)


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
        layers = {".".join(full.split(".", 2)[:2]) for full in named if full.startswith("blocks.")}
        known = [*named, *short, *layers, *(m for m in modules if m)]
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
