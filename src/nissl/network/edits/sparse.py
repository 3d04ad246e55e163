"""Sparse activity: edits that keep what is large at each place and set the rest to zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nissl.errors import NisslError
from nissl.network.edits.edit import Change
from nissl.network.edits.selection import Items, Places, PositionsLike, Units, UnitsLike
from nissl.network.edits.values import PerUnit, ValuesLike

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network.edits.selection import Chosen
    from nissl.network.sites.base import BaseNetwork

__all__ = ["threshold", "top_k"]


def threshold(
    units: UnitsLike = None,
    *,
    above: ValuesLike,
    sites: str | Iterable[str] | None = None,
    indices: Any = None,
    heads: int | Sequence[int] | None = None,
    positions: PositionsLike = None,
    items: Items = None,
) -> Change:
    """Keep values whose size is above a threshold, and set the others to zero.

    Parameters
    ----------
    units : Finding, address, or iterable of addresses, optional
        Which units.
    above : number, tensor of shape (n_units,), or mapping of site to either
        The thresholds: a value is kept where its absolute value is larger.
    sites : str or iterable of str, optional
        Whole sites instead of `units`.
    indices, heads, positions, items
        As in `ablate`.

    Returns
    -------
    Change
        An edit for ``net.edit``.

    Raises
    ------
    NisslError
        Neither or both of units and sites are given.

    Examples
    --------
    >>> from nissl.network import Network
    >>> net = Network(torch.nn.Sequential(torch.nn.Identity()))
    >>> with net.edit(threshold(sites="0", above=0.5)):
    ...     net.model(torch.tensor([[0.2, -3.0, 1.0]])).tolist()
    [[0.0, -3.0, 1.0]]
    """
    rule = Above(PerUnit(above))
    return Change(Units(units, sites, indices, heads), Places(positions, items), rule, "threshold")


def top_k(
    units: UnitsLike = None,
    *,
    k: int,
    sites: str | Iterable[str] | None = None,
    indices: Any = None,
    heads: int | Sequence[int] | None = None,
    positions: PositionsLike = None,
    items: Items = None,
) -> Change:
    """Keep the k largest values at each place, and set the others to zero.

    Parameters
    ----------
    units : Finding, address, or iterable of addresses, optional
        Which units; those of a site compete with each other.
    k : int
        How many are kept at each site, by absolute value.
    sites : str or iterable of str, optional
        Whole sites instead of `units`.
    indices, heads, positions, items
        As in `ablate`.

    Returns
    -------
    Change
        An edit for ``net.edit``.

    Raises
    ------
    NisslError
        `k` is below one, or larger than the number of units of a site.

    Examples
    --------
    >>> from nissl.network import Network
    >>> net = Network(torch.nn.Sequential(torch.nn.Identity()))
    >>> with net.edit(top_k(sites="0", k=1)):
    ...     net.model(torch.tensor([[0.2, -3.0, 1.0]])).tolist()
    [[0.0, -3.0, 0.0]]
    """
    if k < 1:
        raise NisslError(f"k={k} keeps nothing", do="give k=1 or more, or `ablate`")
    rule = Largest(k)
    return Change(Units(units, sites, indices, heads), Places(positions, items), rule, "top_k")


@dataclass(frozen=True)
class Above:
    """Values that are no larger than their thresholds become zero."""

    values: PerUnit

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> Above:
        """Look the thresholds up."""
        return Above(self.values.bind(net, chosen))

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return the values that are left."""
        # Half floats would round a threshold, and with it everything that lies near.
        above = self.values.of(site, x.float())
        return torch.where(x.abs() > above, x, torch.zeros_like(x))


@dataclass(frozen=True)
class Largest:
    """All values but the k largest of a site become zero."""

    k: int

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> Largest:
        """Nothing needs to be looked up."""
        return self

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return the values that are left."""
        if self.k > x.shape[-1]:
            raise NisslError(f"k={self.k}, but there are {x.shape[-1]} units", where=site)
        place = x.abs().topk(self.k, dim=-1).indices
        return torch.zeros_like(x).scatter(-1, place, x.gather(-1, place))
