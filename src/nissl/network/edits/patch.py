"""Patch: activity of one run put into another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.edits.options import known_options
from nissl.network.edits.rules import Projected
from nissl.network.edits.selection import Chosen, Items, Places, PositionsLike, Units, UnitsLike

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.batch import Batch, Phase

__all__ = ["Patch", "patch"]


@known_options
def patch(
    to: Mapping[str, Tensor] | Any,
    *,
    units: UnitsLike = None,
    sites: str | Iterable[str] | None = None,
    indices: Any = None,
    heads: int | Sequence[int] | None = None,
    positions: PositionsLike = None,
    from_positions: int | Sequence[int] | None = None,
    items: Items = None,
    directions: Tensor | None = None,
) -> Patch:
    """Put activity of another run in the place of this one's.

    It has nine parameters since what is put in, of which units, and where are three questions.

    Parameters
    ----------
    to : mapping of site to Tensor (batch, place..., unit), or Recording
        What ``net.run`` returned, its inputs padded on the right; one item serves the whole batch,
        several go item by item. In a Recording the documents are the items. Where there is no
        number (an expert that was not called, the end of a shorter document) nothing is changed.
    units : Finding, address, or iterable of addresses, optional
        Which units; by default every unit of every site in `to`.
    sites, indices, heads
        As in `ablate`.
    positions : int, ints, slice, boolean mask or callable, optional
        Where to put them. By default at every position of the prompt, which must then be as long as
        the other run's; what is generated after it is not changed.
    from_positions : int or ints, optional
        Where in `to` to take them, one for each of `positions`; negative ones count from the
        end. By default from the same positions.
    items : int, ints, slice or boolean mask, optional
        Which items of the batch.
    directions : Tensor, shape (n_units,) or (n_directions, n_units), optional
        The subspace they span alone is patched; what lies outside stays as it is. Their graph is
        kept, so that they can be trained (as in distributed alignment search). As in `project`.

    Returns
    -------
    Patch
        An edit for ``net.edit``.

    Raises
    ------
    NisslError
        The runs do not align: say which positions correspond.

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network
    >>> net = Network(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
    >>> other = net.run(torch.ones(1, 2), sites="0")
    >>> with net.edit(patch(other)):
    ...     bool((net.run(torch.zeros(1, 2), sites="0")["0"] == other["0"]).all())
    True
    """
    if not isinstance(to, Mapping) and not hasattr(to, "dims"):
        raise NisslError(
            f"a patch takes what another run gave, not {type(to).__name__}",
            do="give what net.run returned, or a Recording",
        )
    if units is None and sites is None:
        sites = list(to) if isinstance(to, Mapping) else _sites(to)
    if isinstance(from_positions, int):
        from_positions = [from_positions]
    if from_positions is not None:
        wanted = [positions] if isinstance(positions, int) else positions
        if not isinstance(wanted, (list, tuple, range)) or len(wanted) != len(from_positions):
            raise NisslError(
                "from_positions says for each of positions where its values come from",
                do="give as many positions as from_positions, both as lists of whole numbers",
            )
        positions = list(wanted)
    units_of = Units(units, sites, indices, heads)
    return Patch(to, units_of, Places(positions, items), from_positions, directions)


class Patch:
    """An edit that puts activity of another run at chosen units and places: see `patch`.

    Parameters
    ----------
    values : mapping of site to Tensor, or Recording
        The other run.
    units : Units
        Which units.
    places : Places
        Where.
    source : sequence of int, optional
        Positions in `values`, one for each of those of `places`.
    directions : Tensor, optional
        What spans the subspace that is patched.
    """

    reads: tuple[str, ...] = ()

    def __init__(
        self,
        values: Any,
        units: Units,
        places: Places,
        source: Sequence[int] | None,
        directions: Tensor | None = None,
    ) -> None:
        self.values, self.units, self.places, self.source = values, units.check(), places, source
        self.directions = directions
        self.subspace: Projected | None = None
        self.chosen: dict[str, Chosen] = {}
        self.at: dict[str, Tensor] = {}

    def __repr__(self) -> str:
        return f"patch({', '.join(self.writes[:3])}{', ...' * (len(self.writes) > 3)})"

    @property
    def writes(self) -> tuple[str, ...]:
        """Sites it changes."""
        return tuple(self.chosen) or self.units.names()

    @property
    def missed(self) -> bool:
        """True until a chosen position of a chosen item has come by."""
        return not self.places.hit

    def bind(self, net: BaseNetwork) -> Patch:
        """Return the edit with its sites looked up in a network and the values by full name.

        Parameters
        ----------
        net : Network
            The network.

        Returns
        -------
        Patch
            Another, that has met no prompt.

        Raises
        ------
        NisslError
            There are no values for a site.
        """
        bound = Patch(self.values, self.units, self.places.fresh(), self.source, self.directions)
        bound.chosen = self.units.resolve(net)
        if self.directions is not None:
            bound.subspace = Projected(self.directions, True).bind(net, bound.chosen)
        if isinstance(self.values, Mapping):
            by_name = {s.name: x for name, x in self.values.items() for s in net.find(name)}
            missing = [name for name in bound.chosen if name not in by_name]
            if missing:
                raise NisslError("the other run has no values for a site", where=missing[0])
            bound.at = {name: c.of(by_name[name], name) for name, c in bound.chosen.items()}
        else:
            bound.at = {name: _tensor(self.values, c, name) for name, c in bound.chosen.items()}
        return bound

    def begin(self, batch: Batch) -> None:
        """Begin a prompt: see `Edit`."""
        self.places.begin(batch)

    def apply(self, site: str, x: Tensor, positions: Tensor | None, phase: Phase) -> Tensor | None:
        """Return the site's tensor with the other run's values in it: see `Edit`."""
        mask = self.places.mask(x, positions, phase, site)
        if mask is not None and not bool(mask.any()):
            return None
        chosen = self.chosen[site]
        old, source = chosen.of(x, site), self.places.rows(self.at[site].to(x), len(x))
        if len(source) not in (1, len(x)) or source.ndim != x.ndim:
            raise _misfit(source, old, site)
        if positions is None or source.ndim != 3:
            if mask is None and phase == "decode":
                return None  # of the prompt alone
            if self.source is not None:
                raise NisslError(
                    f"values of shape {tuple(source.shape)} are not taken from other positions",
                    where=site,
                    do="leave from_positions out",
                )
            if source.shape[1:] != old.shape[1:]:
                raise _misfit(source, old, site)
            new = source.expand(old.shape)
        else:
            new, there = self._aligned(source, old, positions, phase, site, mask)
            mask = there if mask is None else mask & there
        if self.subspace is not None:
            new = old + self.subspace(site, new - old, positions)
        here = ~new.isnan()
        here = here if mask is None else here & mask[..., None]
        return chosen.into(x, torch.where(here, new, old))

    def _aligned(
        self,
        source: Tensor,
        old: Tensor,
        positions: Tensor,
        phase: Phase,
        site: str,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the source's values for each position, and where there are any."""
        n, lengths = source.shape[1], self.places.lengths
        column = positions
        if self.source is not None:
            wanted = self.places.resolved(positions, lengths, site)
            column = torch.full_like(positions, -1)
            for j, origin in enumerate(self.source):
                if not -n <= origin < n:
                    raise NisslError(f"the other run has no position {origin} of {n}", where=site)
                column = column.masked_fill(positions == wanted[:, j : j + 1], origin % n)
        elif phase == "prefill":
            longest = int(positions.max() if lengths is None else lengths.max())
            beyond = mask is not None and bool(((column >= n) & mask).any())
            if beyond or (mask is None and longest != n):
                raise NisslError(
                    f"the other run has {n} positions, this prompt {longest}",
                    where=site,
                    do="say which correspond: patch(..., positions=[...], from_positions=[...])",
                )
        index = column.clamp(0, n - 1)[..., None].expand(*column.shape, source.shape[-1])
        new = source.expand(len(old), -1, -1).gather(1, index)
        return new, (column >= 0) & (column < n)


def _misfit(source: Tensor, old: Tensor, site: str) -> NisslError:
    return NisslError(
        f"values of shape {tuple(source.shape)} do not fit activity of {tuple(old.shape)}",
        where=site,
        do="give (batch, place..., unit) with one item, or as many as this batch has",
    )


def _sites(rec: Any) -> list[str]:
    return list(dict.fromkeys(str(unit).rpartition("[")[0] for unit in rec["unit"].values))


def _tensor(rec: Any, chosen: Chosen, site: str) -> Tensor:
    """Return a site of a Recording as (document, position, unit), NaN where there is no sample."""
    from nissl.network.edits.values import recorded

    rows = recorded(rec, chosen, site)
    if "document" not in rec.coords or "position" not in rec.coords:
        if set(rec.coords) & {"row", "column", "position"}:
            raise NisslError(
                "places in images are patched from raw tensors", do="give what net.run returns"
            )
        return rows
    document = np.unique(np.asarray(rec["document"].values), return_inverse=True)[1]
    position = np.asarray(rec["position"].values)
    if len(np.unique(np.stack([document, position]), axis=1).T) < len(position):
        raise NisslError(
            "the recording read a document in several windows, so that positions repeat",
            do="record it with a window as long as the document",
        )
    shape = (document.max() + 1, position.max() + 1, rows.shape[1])
    whole = rows.new_full(tuple(map(int, shape)), torch.nan)
    whole[torch.from_numpy(document), torch.from_numpy(position).long()] = rows
    return whole
