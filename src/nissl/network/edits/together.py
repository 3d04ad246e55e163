"""Groups of units silenced or scaled in one call, each in its own copy of the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.edits.editing import editing
from nissl.network.edits.selection import Units

if TYPE_CHECKING:
    from torch import nn

    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.batch import Batch, Phase

__all__ = ["ablated_together", "scaled_together"]


@contextmanager
def ablated_together(net: BaseNetwork, groups: Sequence[Sequence[str]]) -> Iterator[None]:
    """Set groups of units to zero, each group in its own copy of the batch.

    A call of the model inside the block answers for every group: its logits have ``n_groups *
    batch`` rows, all rows of the first group first. The copies are made at the first block that
    any group touches, so that what lies before it is computed once for all, and matrices are
    multiplied together. A cache of keys and values has one copy before that block, and one for each
    group from there on; one that was filled before is copied from there on.

    Parameters
    ----------
    net : Network
        The network. Where other edits are in force, give one group.
    groups : sequence of sequence of str
        Addresses of the units of each; a group of none is the network as it is.

    Yields
    ------
    None
        The ablations are in force.

    Raises
    ------
    NisslError
        There is no group, a unit is not in the network, or there are several groups under other
        edits, whose positions and items would no longer be those of the batch.

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network
    >>> net = Network(nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU()))
    >>> with ablated_together(net, [["0[0]"], ["0[1]"], []]):
    ...     (net.model(torch.ones(1, 2)) != 0).any(-1).shape
    torch.Size([3])
    """
    with scaled_together(net, groups, [0.0] * len(groups)):
        yield


@contextmanager
def scaled_together(
    net: BaseNetwork, groups: Sequence[Sequence[str]], by: Sequence[float]
) -> Iterator[None]:
    """Multiply groups of units by a number, each group in its own copy of the batch.

    Parameters
    ----------
    net : Network
        The network.
    groups : sequence of sequence of str
        As in `ablated_together`.
    by : sequence of float
        What the activity of each is multiplied by.

    Yields
    ------
    None
        The edits are in force.

    Raises
    ------
    NisslError
        There is not one number for each group; or as in `ablated_together`.

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network
    >>> net = Network(nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU()))
    >>> _ = nn.init.ones_(net.model[0].weight)
    >>> with scaled_together(net, [["0[0]"], ["0[0]"]], [0.0, 3.0]):
    ...     net.model(torch.ones(1, 1)).flatten().tolist()
    [0.0, 3.0]
    """
    if len(by) != len(groups):
        raise NisslError(f"{len(by)} numbers for {len(groups)} groups", do="give one for each")
    if not groups:
        raise NisslError("there is no group to edit", do="give at least one; it may be empty")
    if net.editing and len(groups) > 1:
        raise NisslError(
            f"{len(groups)} groups together, and other edits are in force", do="give one group"
        )
    edit = Together(net, groups, by)
    with editing(net, edit), _copying(*edit.begins_in(net), len(groups)):
        yield


class Together:
    """An edit that multiplies other units in each copy of the batch.

    Parameters
    ----------
    net : Network
        The network.
    groups : sequence of sequence of str
        The units of each copy.
    by : sequence of float
        What they are multiplied by.
    """

    reads: tuple[str, ...] = ()

    def __init__(
        self, net: BaseNetwork, groups: Sequence[Sequence[str]], by: Sequence[float]
    ) -> None:
        self.n_groups, self.by = len(groups), list(by)
        self.at: dict[str, list[tuple[int, Tensor]]] = {}
        self.factors: dict[str, Tensor] = {}
        for number, group in enumerate(groups):
            if len(group):
                for site, chosen in Units(list(group)).resolve(net).items():
                    assert chosen.index is not None
                    self.at.setdefault(site, []).append((number, chosen.index))

    def __repr__(self) -> str:
        return f"{self.n_groups} groups together"

    @property
    def writes(self) -> tuple[str, ...]:
        """Sites it changes."""
        return tuple(self.at)

    def begins_in(self, net: BaseNetwork) -> tuple[list[nn.Module], list[nn.Module]]:
        """Return the first block it touches, and those after it; or the model and its body."""
        layers = [site.layer for name in self.at for site in net.find(name)]
        known = [layer for layer in layers if layer is not None]
        if net.architecture is None or not known or len(known) < len(layers):
            return [net.model, net.body], []
        first, *rest = (net.block(layer) for layer in range(min(known), net.n_layers))
        return [first], rest

    def begin(self, batch: Batch) -> None:
        """Begin a prompt: see `Edit`."""

    def apply(self, site: str, x: Tensor, positions: Tensor | None, phase: Phase) -> Tensor:
        """Return the site's tensor with each copy's units multiplied: see `Edit`."""
        if site not in self.factors:
            factors = torch.ones(self.n_groups, x.shape[-1], dtype=x.dtype)
            for number, index in self.at[site]:
                factors[number, index] = self.by[number]
            self.factors[site] = factors.to(x.device)
        rows = self.factors[site].repeat_interleave(len(x) // self.n_groups, dim=0)
        rows = rows.reshape(len(x), *[1] * (x.ndim - 2), -1)
        # What is silenced is zero even where it was not finite.
        x = x.masked_fill(rows == 0, 0)
        return x * rows if any(self.by) else x


@contextmanager
def _copying(starts: list[nn.Module], rest: list[nn.Module], n: int) -> Iterator[None]:
    """Make n copies of the batch in the first module of starts that is called.

    Later modules are given masks and positions of one copy.
    """
    inside: list[nn.Module] = []
    batch = 0

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal batch
        if module in starts and not inside:
            batch = next(len(x) for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
            if n > 1 and len(starts) == 1:
                _copy_filled((*args, *kwargs.values()), 1 + len(rest), n, batch)
        inside.append(module)
        return None if n == 1 else (_copies(args, n, batch), _copies(kwargs, n, batch))

    def after(module: nn.Module, args: Any, output: Any) -> None:
        inside.pop()

    handles: list[Any] = []
    try:
        for module in dict.fromkeys((*starts, *rest)):
            handles += [
                # Before the edits look at what it is given.
                module.register_forward_pre_hook(before, with_kwargs=True, prepend=True),
                module.register_forward_hook(after, always_call=True),
            ]
        yield
    finally:
        for handle in handles:
            handle.remove()


def _copy_filled(given: tuple[Any, ...], blocks: int, n: int, batch: int) -> None:
    """Repeat the keys and values that a cache holds of the batch for the last so many blocks."""
    for cache in (x for x in given if hasattr(x, "get_seq_length")):
        for layer in cache.layers[-blocks:]:
            if layer.get_seq_length() and len(layer.keys) == batch:
                layer.keys, layer.values = (
                    x.repeat(n, 1, 1, 1) for x in (layer.keys, layer.values)
                )


def _copies(given: Any, n: int, batch: int) -> Any:
    """Repeat every tensor that has the batch as its first dimension: activity, masks, positions."""
    if isinstance(given, Tensor):
        of_batch = given.ndim > 1 and len(given) == batch
        return given.repeat(n, *[1] * (given.ndim - 1)) if of_batch else given
    if isinstance(given, dict):
        return {name: _copies(x, n, batch) for name, x in given.items()}
    if type(given) in (tuple, list):
        return type(given)(_copies(x, n, batch) for x in given)
    return given
