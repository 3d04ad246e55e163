"""Rules of edits: what becomes of the values of the chosen units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.edits.values import PerUnit, as_tensor, reference_rows

if TYPE_CHECKING:
    from nissl.network.edits.edit import Rule
    from nissl.network.edits.selection import Chosen
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.batch import Batch

__all__ = ["Added", "Bounded", "Mean", "Partly", "Projected", "Resample", "Scaled", "SetTo"]


@dataclass(frozen=True)
class SetTo:
    """The values become given numbers."""

    values: PerUnit

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> SetTo:
        """Look the numbers up."""
        return SetTo(self.values.bind(net, chosen))

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return the numbers."""
        return self.values.of(site, x).expand(x.shape)


@dataclass(frozen=True)
class Bounded:
    """The values are kept between bounds."""

    low: PerUnit | None
    high: PerUnit | None

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> Bounded:
        """Look the bounds up."""
        low = self.low.bind(net, chosen) if self.low else None
        return Bounded(low, self.high.bind(net, chosen) if self.high else None)

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return the values within their bounds."""
        low = self.low.of(site, x).expand(x.shape) if self.low else None
        high = self.high.of(site, x).expand(x.shape) if self.high else None
        return torch.clamp(x, low, high)


@dataclass(frozen=True)
class Scaled:
    """The values are multiplied."""

    by: PerUnit

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> Scaled:
        """Look the factors up."""
        return Scaled(self.by.bind(net, chosen))

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return the multiples."""
        return x * self.by.of(site, x)


@dataclass(frozen=True)
class Added:
    """Numbers are added to the values."""

    by: PerUnit

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> Added:
        """Look the numbers up."""
        return Added(self.by.bind(net, chosen))

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return the sums."""
        return x + self.by.of(site, x)


@dataclass(frozen=True)
class Mean:
    """The values become their mean over the samples of a reference."""

    reference: Any

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> SetTo:
        """Take the means."""
        rows = reference_rows(net, self.reference, chosen)
        # Not a number marks experts that were not called: they are no samples of their neurons.
        at = {site: x.double().nanmean(0).nan_to_num().to(x.dtype) for site, x in rows.items()}
        return SetTo(PerUnit(at, at))

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Refuse: the means are not taken yet."""
        raise NisslError("the edit is not bound to a network", do="with net.edit(...):")


@dataclass(frozen=True)
class Resample:
    """The values become those of random samples of a reference, the same sample at every site.

    Which one is decided by the seed, the item and the position alone, so that generation with a
    cache and without draws the same.
    """

    reference: Any
    seed: int
    rows: dict[str, Tensor] = field(default_factory=dict)
    n_each: int = 1  # rows of one item: beams, samples

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> Resample:
        """Take the reference's activity."""
        return replace(self, rows=reference_rows(net, self.reference, chosen))

    def begin(self, batch: Batch) -> Resample:
        """Note how many rows each item has."""
        size, n = batch.size, batch.n_prompts
        return replace(self, n_each=1 if size is None or n is None else size // n)

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return activity of random samples."""
        rows = self.rows[site].to(x)
        place: Tensor | None = positions
        if place is None:
            n = x[0, ..., 0].numel()
            place = torch.arange(n, device=x.device).expand(len(x), n).reshape(x.shape[:-1])
        item = torch.arange(len(x), device=x.device) // self.n_each
        item = item.reshape(-1, *[1] * (x.ndim - 2))
        return rows[_mixed(place + item * 1_000_003 + self.seed * 7_919_777) % len(rows)]


@dataclass(frozen=True)
class Projected:
    """The part of the values in a subspace is taken out, or kept alone."""

    directions: Tensor
    onto: bool
    bases: dict[str, Tensor] = field(default_factory=dict)

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> Projected:
        """Make the directions orthonormal."""
        return replace(self, bases={site: self._basis(c, site) for site, c in chosen.items()})

    def _basis(self, chosen: Chosen, site: str) -> Tensor:
        matrix = torch.atleast_2d(as_tensor(self.directions)).double()
        if chosen.order is not None and len(chosen.order.unique()) == len(chosen.order):
            if matrix.shape[1] != chosen.n_named:
                raise NisslError(
                    f"directions of shape {tuple(matrix.shape)} do not fit {chosen.n_named} units",
                    where=site,
                )
            matrix = matrix[:, chosen.order.to(matrix.device)]
        _, size, rows = torch.linalg.svd(matrix, full_matrices=False)
        rank = int((size > size.max() * 1e-10).sum()) if float(size.max().detach()) > 0 else 0
        if not rank:
            raise NisslError("the directions to project are zero")
        basis: Tensor = rows[:rank]
        return basis

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return what is left."""
        if self.bases[site].shape[1] != x.shape[-1]:
            shape = tuple(torch.atleast_2d(as_tensor(self.directions)).shape)
            raise NisslError(
                f"directions of shape {shape} do not fit {x.shape[-1]} units", where=site
            )
        basis = self.bases[site].to(x)
        inside = (x @ basis.T) @ basis
        return inside if self.onto else x - inside


@dataclass(frozen=True)
class Partly:
    """The values are changed by a multiple of what another rule changes them by."""

    rule: Rule
    strength: float

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> Partly:
        """Look the other rule's numbers up."""
        return replace(self, rule=self.rule.bind(net, chosen))

    def begin(self, batch: Batch) -> Partly:
        """Let the other rule begin a prompt."""
        begin = getattr(self.rule, "begin", None)
        return self if begin is None else replace(self, rule=begin(batch))

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return the values, so much further on."""
        return x + self.strength * (self.rule(site, x, positions).to(x) - x)


def _mixed(x: Tensor) -> Tensor:
    """Scatter whole numbers over the non-negative integers (the finaliser of MurmurHash3)."""
    x = x.long() & 0xFFFFFFFF
    for multiplier in (0x45D9F3B, 0x45D9F3B):
        x = ((x ^ (x >> 16)) * multiplier) & 0xFFFFFFFF
    return x ^ (x >> 16)
