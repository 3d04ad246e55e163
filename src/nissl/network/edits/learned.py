"""Learned edits: what is put at units is a module of their values, to be trained."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nissl.errors import NisslError
from nissl.network.edits.edit import Change
from nissl.network.edits.selection import Items, Places, PositionsLike, Units, UnitsLike

if TYPE_CHECKING:
    from nissl.network.edits.selection import Chosen
    from nissl.network.sites.base import BaseNetwork

__all__ = ["LearnedEdit", "LowRank", "SteeringVector", "UnitScale", "frozen"]


class LearnedEdit(nn.Module):
    """An edit with parameters, which training adapts while the network stays as it is.

    It is a module, so that `nissl.training.train` trains it: the loss runs the network under it.

    Parameters
    ----------
    change : nn.Module
        Given the values of the chosen units, shape (batch, place..., n_units), returns what takes
        their place. `UnitScale`, `SteeringVector` and `LowRank` are such; their numbers are kept as
        they are and used in the type of the values.
    units : Finding, address, or iterable of addresses, optional
        Which units.
    sites : str or iterable of str, optional
        Whole sites instead; several share `change`.
    indices, heads, positions, items
        As in `ablate`.

    Examples
    --------
    >>> from nissl.network import Network
    >>> from nissl.training import train
    >>> net = Network(nn.Sequential(nn.Identity(), nn.Linear(2, 1, bias=False)))
    >>> edit = LearnedEdit(SteeringVector(2), sites="0")
    >>> def loss(edit, batch):
    ...     with frozen(net), net.edit(edit):
    ...         return (net.model(batch) - 3).square().mean()
    >>> done = train(edit, lambda step: torch.zeros(1, 2), loss=loss, steps=200,
    ...              learning_rate=0.1, progress=False)
    >>> with net.edit(edit):
    ...     round(net.model(torch.zeros(1, 2)).item(), 2)
    3.0
    """

    def __init__(
        self,
        change: nn.Module,
        units: UnitsLike = None,
        *,
        sites: str | Iterable[str] | None = None,
        indices: Any = None,
        heads: int | Sequence[int] | None = None,
        positions: PositionsLike = None,
        items: Items = None,
    ) -> None:
        super().__init__()
        self.change = change
        self.units = Units(units, sites, indices, heads).check()
        self.places = Places(positions, items)

    def extra_repr(self) -> str:
        """Return where it acts in full, of which the cache of training keeps a hash."""
        units = self.units
        where = [units.named() or units.names(), units.indices, units.heads, self.places.positions]
        return ", ".join(map(_said, [*where, self.places.items]))

    @property
    def reads(self) -> tuple[str, ...]:
        """Sites it is shown, beside those it changes: none."""
        return ()

    @property
    def writes(self) -> tuple[str, ...]:
        """Sites it changes."""
        return self.units.names()

    def bind(self, net: BaseNetwork) -> Change:
        """Return the edit with its sites and units looked up in a network.

        Parameters
        ----------
        net : Network
            The network.

        Returns
        -------
        Change
            It has the same parameters, so that what is learned afterwards holds in it.

        Raises
        ------
        NisslError
            A site or unit is not in the network.
        """
        return Change(self.units, self.places, Learned(self.change), "learned").bind(net)


@dataclass(frozen=True)
class Learned:
    """The values become what a module makes of them."""

    module: nn.Module

    def bind(self, net: BaseNetwork, chosen: Mapping[str, Chosen]) -> Learned:
        """Nothing needs to be looked up."""
        return self

    def __call__(self, site: str, x: Tensor, positions: Tensor | None) -> Tensor:
        """Return what the module makes of the values."""
        new: Tensor = self.module(x)
        if new.shape != x.shape:
            raise NisslError(
                f"a learned edit made {tuple(new.shape)} of {tuple(x.shape)}",
                where=site,
                do="its module returns what it is given, changed",
            )
        return new


class UnitScale(nn.Module):
    """A factor for each unit, one before it is trained.

    Parameters
    ----------
    n_units : int
        How many units.

    Examples
    --------
    >>> UnitScale(2)(torch.ones(1, 2)).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, n_units: int) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.ones(n_units))

    def forward(self, x: Tensor) -> Tensor:
        """Return the multiples."""
        return x * _fit(self.factors, x)


class SteeringVector(nn.Module):
    """A number added to each unit, zero before it is trained.

    Parameters
    ----------
    n_units : int
        How many units.

    Examples
    --------
    >>> SteeringVector(2)(torch.ones(1, 2)).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, n_units: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(n_units))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sums."""
        return x + _fit(self.vector, x)


class LowRank(nn.Module):
    """What a few directions read of the values, written into others; nothing before training.

    Parameters
    ----------
    n_units : int
        How many units.
    rank : int
        How many directions.
    seed : int
        Of the directions that are read at the beginning; they are orthonormal.

    Examples
    --------
    >>> LowRank(3, 1)(torch.ones(1, 3)).tolist()
    [[1.0, 1.0, 1.0]]
    """

    def __init__(self, n_units: int, rank: int, *, seed: int = 0) -> None:
        super().__init__()
        if not 0 < rank <= n_units:
            raise NisslError(f"a map of {n_units} units has no rank {rank}")
        drawn = torch.randn(n_units, rank, generator=torch.Generator().manual_seed(seed))
        self.read = nn.Parameter(torch.linalg.qr(drawn)[0].T.contiguous())
        self.write = nn.Parameter(torch.zeros(rank, n_units))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sums."""
        return x + x @ _fit(self.read, x).T @ _fit(self.write, x)


@contextmanager
def frozen(net: BaseNetwork) -> Iterator[None]:
    """Keep a network's weights out of gradients inside a ``with`` block.

    Parameters
    ----------
    net : Network
        The network.

    Yields
    ------
    None
        Gradients go through it, and not to its weights.

    Examples
    --------
    >>> from nissl.network import Network
    >>> net = Network(nn.Linear(2, 1))
    >>> with frozen(net):
    ...     net.model(torch.ones(1, 2)).requires_grad
    False
    """
    wanted = [p for p in net.model.parameters() if p.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


def _fit(numbers: Tensor, x: Tensor) -> Tensor:
    """Return numbers of units in the type of their values."""
    if numbers.shape[-1] != x.shape[-1]:
        raise NisslError(
            f"a learned edit of {numbers.shape[-1]} units is put at {x.shape[-1]}",
            do="make its module for as many units as are chosen at each site",
        )
    return numbers.to(x)


def _said(value: Any) -> str:
    if isinstance(value, (Tensor, np.ndarray)):
        return repr(value.tolist())
    if not callable(value):
        return repr(value)
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):  # built in, partial, or typed at a prompt
        return str(getattr(value, "__qualname__", type(value).__qualname__))
