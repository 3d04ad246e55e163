"""Which units, positions and batch items an edit changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from nissl.address import Address, parse
from nissl.errors import NisslError
from nissl.network.sites.attention import Pattern
from nissl.network.sites.site import Piece, Site, locate

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.batch import Batch, Phase

__all__ = ["Chosen", "HasUnits", "Items", "Places", "PositionsLike", "Units", "UnitsLike"]


class HasUnits(Protocol):
    """Anything that names units, heads, layers or sites: a Finding."""

    @property
    def units(self) -> list[str]:
        """Addresses: ``blocks.3.mlp.neurons[812]``, ``blocks.3.attn.z[head 5]``, ``blocks.3``."""


UnitsLike: TypeAlias = "HasUnits | str | Iterable[str] | None"
Numbers: TypeAlias = "Sequence[int] | Tensor | np.ndarray[Any, Any]"
PositionsLike: TypeAlias = "int | slice | Numbers | Callable[[Tensor], Tensor] | None"
Items: TypeAlias = "int | slice | Numbers | None"


@dataclass(frozen=True)
class Chosen:
    """The units chosen at one site.

    Parameters
    ----------
    index : Tensor or None, shape (n_chosen,), int64
        Their indices; None is every unit.
    order : Tensor or None, shape (n_chosen,), int64
        Their places in the list that the user gave, which values per unit follow.
    n_named : int
        How many addresses the user gave, those of other sites among them.
    width : int or None
        How many units the site has, where that is known.
    heads : Tensor or None, shape (n_heads,), int64
        Heads of an attention pattern, which has an axis of them; None is every one.
    twice : bool
        Whether a unit is named by several addresses, by its own and by its head's for example.
    """

    index: Tensor | None = None
    order: Tensor | None = None
    n_named: int = 0
    width: int | None = None
    heads: Tensor | None = None
    twice: bool = False

    def of(self, x: Tensor, site: str) -> Tensor:
        """Return the chosen units of a site's tensor, shape (batch, place..., n_chosen)."""
        if self.heads is not None:
            _check_index(self.heads, x.shape[-2], site, "head")
            return x.index_select(-2, self.heads.to(x.device))
        if self.index is None:
            return x
        _check_index(self.index, x.shape[-1], site)
        return x.index_select(-1, self.index.to(x.device))

    def into(self, x: Tensor, new: Tensor) -> Tensor:
        """Return a site's tensor with the chosen units replaced, out of place."""
        if self.heads is not None:
            return x.index_copy(-2, self.heads.to(x.device), new)
        if self.index is None:
            return new
        return x.index_copy(-1, self.index.to(x.device), new)


@dataclass(frozen=True)
class Units:
    """Units as the user names them: by address, or by site with indices or heads.

    Parameters
    ----------
    units : Finding, address, or iterable of addresses, optional
        Anything with ``.units``, or addresses of units, features, heads, layers and sites, mixed.
        A head is all of its units; a layer is what its attention and its MLP add to the stream.
    sites : str or iterable of str, optional
        Whole sites instead.
    indices : sequence of int or boolean mask, optional
        Which units of each of `sites`; by default all.
    heads : int or sequence of int, optional
        Which heads of each of `sites`.
    """

    units: UnitsLike = None
    sites: str | Iterable[str] | None = None
    indices: Any = None
    heads: int | Sequence[int] | None = None

    def names(self) -> tuple[str, ...]:
        """Return the sites, as the user wrote them, each once."""
        if self.units is not None:
            return tuple(dict.fromkeys(address.site for address in self._addresses))
        return (self.sites,) if isinstance(self.sites, str) else tuple(self.sites or ())

    def named(self) -> list[str] | None:
        """Return the addresses, or None where sites are given."""
        given: Any = getattr(self.units, "units", self.units)
        if given is None:
            return None
        return [str(a) for a in ([given] if isinstance(given, str) else given)]

    def check(self) -> Units:
        """Return itself, or say what is missing or given twice."""
        if (self.units is None) == (self.sites is None):
            raise NisslError(
                "an edit is given either units or sites",
                do="ablate(['blocks.3.mlp.neurons[812]']), or ablate(sites='blocks.3.mlp.neurons')",
            )
        if self.units is not None and (self.indices is not None or self.heads is not None):
            raise NisslError("indices and heads go with sites, not with units")
        if self.indices is not None and self.heads is not None:
            raise NisslError("give either indices or heads", do="a head is all of its units")
        empty = [x for x in (self.indices, self.heads) if x is not None and not np.size(x)]
        if not self.names() or empty:
            raise NisslError("no unit was given", do="a Finding without rows names none")
        return self

    def resolve(self, net: BaseNetwork) -> dict[str, Chosen]:
        """Return what is chosen at each site, by full name.

        Raises
        ------
        NisslError
            A site has no such unit or head, or an edge is given.
        UnknownName
            A site is not known.
        """
        if self.units is None:
            found = net.find(self.names())
            return {site.name: self._of_site(site) for site in found}
        grouped: dict[str, list[tuple[Piece, int]]] = {}
        for order, pieces in enumerate(locate(self._addresses, net.named_sites, net.model)):
            for piece in pieces:
                grouped.setdefault(piece.site.name, []).append((piece, order))
        return {name: _together(pieces, len(self._addresses)) for name, pieces in grouped.items()}

    @cached_property
    def _addresses(self) -> list[Address]:
        addresses = [parse(text) for text in self.named() or []]
        for address in addresses:
            if address.target is not None:
                raise NisslError(
                    "an edge cannot be edited: what passes along it is not a tensor of its own",
                    where=str(address),
                    do="edit where it begins, which changes all that reads from there",
                )
        return addresses

    def _of_site(self, site: Site) -> Chosen:
        if self.heads is not None and isinstance(site.hook_point, Pattern):
            return Chosen(heads=_whole_numbers(self.heads, None, site.name, "heads"))
        return Chosen(self._index(site), width=site.width)

    def _index(self, site: Site) -> Tensor | None:
        if self.heads is not None:
            if not site.heads or not site.width:
                raise NisslError(f"the units of '{site.name}' do not fall into heads")
            wanted = _whole_numbers(self.heads, site.heads, site.name, "heads")
            if int(wanted.min()) < 0 or int(wanted.max()) >= site.heads:
                raise NisslError(f"'{site.name}' has {site.heads} heads, not {wanted.tolist()}")
            size = site.width // site.heads
            return (wanted[:, None] * size + torch.arange(size)).flatten()
        if self.indices is None:
            return None
        index = _whole_numbers(self.indices, site.width, site.name, "units")
        _check_index(index, site.width, site.name)
        return index


class Places:
    """Where an edit acts: positions of a sequence (or places of a map), and items of the batch.

    Parameters
    ----------
    positions : optional
        ``None``: everywhere. An int or ints: positions without padding, counted from the beginning
        of the prompt, also while decoding; negative ones from the end of the prompt. A slice of
        such; with an open end it goes on while decoding. A boolean mask, of shape (position,) over
        positions or (batch, place...) as the prompt's tensors lie, padding counted. A callable
        that is given positions, shape (batch, position), -1 at padding, and returns a mask.
    items : int, slice, ints or boolean mask, optional
        Items of the batch; by default all.
    """

    def __init__(self, positions: PositionsLike = None, items: Items = None) -> None:
        self.positions = _as_tensor(positions)
        self.items = _as_tensor(items)
        self.lengths: Tensor | None = None
        self.width: int | None = None
        self.generated = 0
        self.n_rows: int | None = None
        self.n_items: int | None = None
        self.hit = self.everywhere

    @property
    def everywhere(self) -> bool:
        """Whether it chooses every position of every item."""
        return self.positions is None and self.items is None

    def fresh(self) -> Places:
        """Return a copy that has met no prompt."""
        return Places(self.positions, self.items)

    def begin(self, batch: Batch) -> None:
        """Note where the prompt of each item ends, and how many rows the items have."""
        self.lengths = batch.prompt_lengths
        self.n_rows, self.n_items = batch.size, batch.n_prompts or batch.size
        if self.lengths is not None and batch.positions is not None:
            beyond = batch.positions.amax(1) + 1 - self.lengths.to(batch.positions.device)
            self.generated = int(beyond.max())
            self.width = batch.positions.shape[1] - self.generated

    def mask(self, x: Tensor, positions: Tensor | None, phase: Phase, site: str) -> Tensor | None:
        """Return where to act, bool, broadcast to (batch, place...); None is everywhere."""
        if self.everywhere:
            return None
        mask = torch.ones((), dtype=torch.bool, device=x.device)
        if self.positions is not None:
            mask = self._of_positions(x, positions, phase, site).to(x.device)
            mask = mask.reshape(*mask.shape, *[1] * (x.ndim - 1 - mask.ndim))
        if self.items is not None:
            mask = mask & self._of_items(x, site).reshape(-1, *[1] * (x.ndim - 2))
        self.hit = self.hit or bool(mask.any())
        return mask

    def _of_items(self, x: Tensor, site: str) -> Tensor:
        """Return the rows of the chosen items, shape (batch,); a prompt has a row for each beam."""
        n = len(x) if self.n_items is None else self.n_items
        if self.n_rows not in (None, len(x)):
            raise NisslError(
                f"a tensor of shape {tuple(x.shape)} has not one row for each of {self.n_rows} "
                "items, so that none can be chosen",
                where=site,
                do="leave items out, or choose another site",
            )
        chosen = torch.zeros(n, dtype=torch.bool, device=x.device)
        try:
            chosen[self.items] = True
        except IndexError as error:
            raise NisslError(f"the batch has {n} items: {error}", where=site) from None
        return self.rows(chosen, len(x))

    def rows(self, of_items: Tensor, n_rows: int) -> Tensor:
        """Return what is given for each item for each row of a batch, n_rows of them."""
        several = self.n_items is not None and len(of_items) == self.n_items
        if not several or n_rows % len(of_items):
            return of_items
        return of_items.repeat_interleave(n_rows // len(of_items), 0)

    def _of_positions(self, x: Tensor, positions: Tensor | None, phase: Phase, site: str) -> Tensor:
        wanted: Any = self.positions
        lengths = self.lengths
        if isinstance(wanted, Tensor) and wanted.dtype == torch.bool and wanted.ndim > 1:
            return self._of_map(wanted, x, positions, phase, site)
        if positions is None:
            if x.ndim != 3:
                raise NisslError(
                    f"a tensor of shape {tuple(x.shape)} has no positions",
                    where=site,
                    do="give a boolean mask of shape (batch, place...), or leave positions out",
                )
            # Time steps of a recurrent net and patches of an image are counted like tokens.
            positions = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
            lengths = torch.full((len(x),), x.shape[1], device=x.device)
        real = positions >= 0
        if callable(wanted):
            called = wanted(positions)
            if not isinstance(called, Tensor) or called.shape != positions.shape:
                shape = getattr(called, "shape", type(called).__name__)
                raise NisslError(
                    f"the function of positions gave {shape} for positions {positions.shape}",
                    where=site,
                    do="return a boolean tensor of the shape of what it is given",
                )
            return called.bool() & real
        if isinstance(wanted, slice):
            return _in_slice(positions, wanted, _need(lengths, wanted, site)) & real
        at = self.resolved(positions, lengths, site)
        return (positions[:, :, None] == at[:, None, :]).any(-1) & real

    def resolved(self, positions: Tensor, lengths: Tensor | None, site: str) -> Tensor:
        """Return the positions that ints mean in each item, shape (batch, n_positions)."""
        wanted: Tensor = self.positions
        if wanted.dtype == torch.bool:
            wanted = wanted.nonzero().flatten()
        at = wanted.to(positions.device).expand(len(positions), -1)
        if bool((at < 0).any()):
            ends = _need(lengths, wanted.tolist(), site).to(at.device)[:, None]
            at = torch.where(at < 0, at + ends, at)
            if bool((at < 0).any()):
                raise NisslError(
                    f"position {int(wanted.min())} lies before the beginning of a prompt of "
                    f"{int(ends.min())} tokens",
                    where=site,
                )
        return at

    def _of_map(
        self, wanted: Tensor, x: Tensor, positions: Tensor | None, phase: Phase, site: str
    ) -> Tensor:
        if phase == "decode":
            return torch.zeros((), dtype=torch.bool)
        wanted = self.rows(wanted, len(x))
        fits = self.width is None or positions is None or wanted.shape[1] in (1, self.width)
        if fits and positions is not None and self.lengths is not None:
            # The mask is of the prompt. Generation without a cache gives what follows it too, and
            # asks for the last logits alone.
            wanted = wanted.expand(-1, self.width or -1)
            wanted = torch.nn.functional.pad(wanted, (0, self.generated))[:, -x.shape[1] :]
        wanted = wanted.reshape(*wanted.shape, *[1] * (x.ndim - 1 - wanted.ndim))
        same = all(a in (1, b) for a, b in zip(wanted.shape, x.shape[:-1], strict=False))
        if not fits or not same or wanted.ndim >= x.ndim:
            raise NisslError(
                f"a mask of shape {tuple(self.positions.shape)} does not fit (batch, place...) = "
                f"{tuple(x.shape[:-1])}",
                where=site,
            )
        return wanted


def _together(pieces: list[tuple[Piece, int]], n_named: int) -> Chosen:
    """Return pieces of one site, each with its place in the user's list, as one choice."""
    site = pieces[0][0].site
    if isinstance(site.hook_point, Pattern) and all(p.head is not None for p, _ in pieces):
        first = {p.head: k for p, k in reversed(pieces)}
        of_list, heads = torch.tensor(list(first.values())), torch.tensor(list(first))
        return Chosen(None, of_list, n_named, heads=heads, twice=len(first) < len(pieces))
    if all(p.units is None and p.head is None for p, _ in pieces):
        # Alone it is as in sites=: values are one for each of its units.
        first_named = torch.tensor([pieces[0][1]]) if n_named > 1 else None
        return Chosen(None, first_named, n_named, site.width, twice=len(pieces) > 1)
    places: dict[int, int] = {}
    n = 0
    for piece, k in pieces:
        if piece.units is None and site.width is None:
            raise NisslError("a site and a part of it are given", where=site.name, do="give one")
        units = range(site.width or 0) if piece.units is None else piece.units
        n += len(units)
        for index in units:
            places.setdefault(index, k)
    at, order = torch.tensor(list(places)), torch.tensor(list(places.values()))
    return Chosen(at, order, n_named, site.width, twice=len(places) < n)


def _whole_numbers(given: Any, n: int | None, site: str, what: str) -> Tensor:
    """Return the indices that numbers or a boolean mask mean."""
    index = _tensor(given, what).flatten()
    if index.dtype == torch.bool:
        if n is not None and len(index) != n:
            raise NisslError(f"the mask has {len(index)} places, but '{site}' has {n} {what}")
        index = index.nonzero().flatten()
    if index.is_floating_point() or len(index.unique()) < len(index) or not len(index):
        raise NisslError(
            f"{what} are named once, by whole numbers or a mask", where=f"{site}: {given}"
        )
    return index.long()


def _check_index(index: Tensor, width: int | None, site: str, what: str = "unit") -> None:
    if width is None or not len(index):
        return
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= width:
        bad = low if low < 0 else high
        raise NisslError(
            f"there is no {what} {bad}",
            where=site,
            do=f"the site has {width} {what}s, 0 to {width - 1}",
        )


def _need(lengths: Tensor | None, wanted: Any, site: str) -> Tensor:
    if lengths is None:
        raise NisslError(
            f"positions {wanted} are counted from the end of a prompt, but none was read here",
            where=site,
            do="read the prompt inside the same `with` block",
        )
    return lengths


def _in_slice(positions: Tensor, wanted: slice, lengths: Tensor) -> Tensor:
    ends = lengths.to(positions.device)[:, None]

    def bound(value: int | None) -> Tensor | None:
        if value is None:
            return None
        return (ends + value).clamp_min(0) if value < 0 else torch.full_like(ends, value)

    start = bound(wanted.start)
    start = torch.zeros_like(ends) if start is None else start
    stop, step = bound(wanted.stop), wanted.step or 1
    if step < 1:
        raise NisslError(f"a slice of positions has a positive step, not {step}")
    inside = (positions >= start) & ((positions - start) % step == 0)
    return inside if stop is None else inside & (positions < stop)


def _as_tensor(given: Any) -> Any:
    if given is None or isinstance(given, slice) or callable(given):
        return given
    tensor = _tensor(given, "positions and items")
    if tensor.is_floating_point():
        raise NisslError("positions and items are whole numbers or a boolean mask")
    return tensor.reshape(1) if tensor.ndim == 0 else tensor


def _tensor(given: Any, what: str) -> Tensor:
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise NisslError(f"{what} are whole numbers or a boolean mask, not {given!r:.60}") from None
