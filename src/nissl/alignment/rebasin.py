"""Git Re-Basin: the units of one network in the order of another's, by three algorithms."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from nissl.errors import NisslError, UnknownName
from nissl.methods import method
from nissl.network.symmetries.matching import TensorPair, matched
from nissl.network.symmetries.one_architecture import (
    require_same_operations,
    require_same_weights,
)
from nissl.network.symmetries.reorder import permuted
from nissl.network.symmetries.symmetries import Symmetries, found_in
from nissl.network.symmetries.trace import Trace, weights_of
from nissl.progress import tracked

__all__ = ["Rebasin", "StraightThrough", "rebasin"]

METHODS = ("weights", "activations")


@dataclass(frozen=True)
class StraightThrough:
    """The permutations whose midpoint has the least loss, by straight-through gradients.

    Parameters
    ----------
    loss : callable
        ``loss(model, batch)``, as in `nissl.training.train`.
    batches : callable
        ``batches(step)``, as there. Of the permutations met, those are taken whose midpoint has
        the least loss on the batch of step 0.
    steps : int
        Updates.
    learning_rate : float
        Of Adam.
    """

    loss: Callable[[Any, Any], Tensor]
    batches: Callable[[int], Any]
    steps: int = 100
    learning_rate: float = 1e-3


@dataclass(frozen=True, repr=False)
class Rebasin:
    """A network in the order of another.

    Parameters
    ----------
    model : nn.Module
        The permuted copy of the second network, which computes what it computed.
    permutations : dict of str to array, shape (n_units,)
        Of each group, which unit of the second network stands at the place of each of the first.
    symmetries : Symmetries
        The groups.
    """

    model: nn.Module
    permutations: dict[str, NDArray[np.intp]]
    symmetries: Symmetries

    def __repr__(self) -> str:
        moved = sum(int((p != np.arange(len(p))).sum()) for p in self.permutations.values())
        units = sum(self.symmetries.sizes.values())
        return f"Rebasin of {len(self.permutations)} groups: {moved} of {units} units moved"


@method(system=324)
def rebasin(
    a: nn.Module,
    b: nn.Module,
    example: Any,
    *,
    method: Literal["weights", "activations"] | StraightThrough = "weights",
    fixed: str | Iterable[str] = (),
    seed: int = 0,
    progress: bool = True,
) -> Rebasin:
    """Permute the units of a network so that it comes as near to another as it can.

    Groups are solved one by one, the others held, until none improves; once from the order as it
    is, once from units matched by their sorted weights (or activations): the better is kept.

    Parameters
    ----------
    a, b : nn.Module
        Of one architecture; neither is changed.
    example : Tensor, tuple or dict
        What they are called on: for ``"activations"``, the samples by which units are matched.
    method : {"weights", "activations"} or StraightThrough
        Whether inner products of weights or of activations become largest (of each operation's
        output, all weighed alike), or the loss midway smallest.
    fixed : str or iterable of str
        As in `symmetries`.
    seed : int
        Of the order of groups and the proof of them.
    progress : bool
        Show a bar.

    Returns
    -------
    Rebasin
        The permuted copy of `b`, and the permutations.

    Raises
    ------
    NisslError
        The networks differ in shapes or in what they compute, hold weights that are not finite, or
        have no units that can be permuted.

    Notes
    -----
    Source: Ainsworth et al. 2023, algorithms 1 and 3 and section 3.1; the second start, and the
    weighing of activations, are ours.

    Examples
    --------
    >>> a = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> found = rebasin(a, a, torch.zeros(5, 3), progress=False)
    >>> found
    Rebasin of 1 groups: 0 of 8 units moved
    """
    if not isinstance(method, StraightThrough) and method not in METHODS:
        raise UnknownName("method", str(method), METHODS, do="or give a StraightThrough(...)")
    require_same_weights(a, b)
    one, two = Trace(a, example), Trace(b, example)
    require_same_operations(one, two)
    groups = found_in(one, a, example, fixed, seed)
    if not groups.sizes:
        raise NisslError("no units of the networks can be permuted", do="see symmetries(model, x)")
    rng = np.random.default_rng(seed)
    if isinstance(method, StraightThrough):
        found = _straight_through(a, b, groups, method, rng, progress)
    elif method == "activations":
        found = matched(_activations(one, two), groups, rng, progress=progress)
    else:
        pairs = _parameters(dict(a.named_parameters()), b, groups)
        found = matched(pairs, groups, rng, progress=progress)
    return Rebasin(groups.permute(b, found), found, groups)


def _parameters(mine: Mapping[str, Tensor], b: nn.Module, groups: Symmetries) -> list[TensorPair]:
    """Return parameters beside those of the second network; buffers are statistics, and follow."""
    other = weights_of(b)
    return [
        (mine[name].detach().float(), other[name].detach().float(), axes)
        for name, axes in groups.axes.items()
        if name in mine
    ]


def _activations(one: Trace, two: Trace) -> list[TensorPair]:
    """Return what operations gave in both runs, each scaled to norm one."""
    found = []
    for (x, axes), (y, _) in zip(one.made, two.made, strict=True):
        if any(leaf.name for axis in axes for leaf in axis.leaves()):
            scaled = [z.float() / z.float().norm().clamp(min=1e-30) for z in (x, y)]
            found.append((scaled[0], scaled[1], tuple(axes)))
    return found


def _straight_through(
    a: nn.Module,
    b: nn.Module,
    groups: Symmetries,
    how: StraightThrough,
    rng: np.random.Generator,
    progress: bool,
) -> dict[str, NDArray[np.intp]]:
    """Move weights that only choose the permutations, by the gradient of the loss midway."""
    mine, other = ({k: v.detach() for k, v in weights_of(x).items()} for x in (a, b))
    wrapped = _Loss(copy.deepcopy(a).eval(), how.loss)
    for module in wrapped.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()  # statistics midway are those of the batch
    learned = {name: mine[name].clone().requires_grad_() for name, _ in a.named_parameters()}
    optimiser = torch.optim.Adam(list(learned.values()), lr=how.learning_rate)
    losses: dict[bytes, float] = {}
    best, now = groups.identity(), dict[str, NDArray[np.intp]]()

    def midway(batch: Any) -> Tensor:
        moved = permuted(other, groups.axes, now)
        at = {}
        for name, x in mine.items():
            y = moved[name]
            if name in learned:
                y = y + (learned[name] - learned[name].detach())
            at[f"model.{name}"] = (x + y) / 2 if x.is_floating_point() else x.clone()
        value: Tensor = functional_call(wrapped, at, (batch,))
        return value

    for step in tracked(range(how.steps), "Re-Basin", unit="steps", progress=progress):
        now = matched(_parameters(learned, b, groups), groups, rng, start=now or None)
        key = b"".join(p.tobytes() for p in now.values())
        if key not in losses:
            with torch.no_grad():
                losses[key] = float(midway(how.batches(0)))
            if losses[key] <= min(losses.values()):
                best = now
        optimiser.zero_grad()
        midway(how.batches(step)).backward()
        optimiser.step()
    return best


class _Loss(nn.Module):
    """The loss of a model as a module, so that its weights can be given in a call."""

    def __init__(self, model: nn.Module, loss: Callable[[Any, Any], Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> Tensor:
        """Return the loss of a batch."""
        return self.loss(self.model, batch)
