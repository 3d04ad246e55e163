"""Git Re-Basin: the units of one network in the order of another's, by three algorithms."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.func import functional_call

from nissl.errors import NisslError, UnknownName
from nissl.methods import method
from nissl.network.symmetries.axis import Axis
from nissl.network.symmetries.symmetries import (
    Permutations,
    Symmetries,
    found_in,
    permuted,
)
from nissl.network.symmetries.trace import Trace, weights_of
from nissl.progress import progress_bar

__all__ = ["Rebasin", "StraightThrough", "rebasin"]

Pairs = list[tuple[Tensor, Tensor, tuple[Axis, ...]]]  # two tensors of equal axes
METHODS = ("weights", "activations")
SWEEPS = 100  # over the groups; few are needed


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

    Groups are taken in random order, each solved exactly as a linear assignment with the others
    held, until none improves; once from the order as it is, once from units matched by their
    sorted weights (or activations), which no order of other axes changes: the better is kept.

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
    comparable(a, b)
    one, two = Trace(a, example), Trace(b, example)
    _same_operations(one, two)
    groups = found_in(one, a, example, fixed, seed)
    if not groups.sizes:
        raise NisslError("no units of the networks can be permuted", do="see symmetries(model, x)")
    mine, other = ({k: v.detach() for k, v in weights_of(x).items()} for x in (a, b))
    rng = np.random.default_rng(seed)
    if isinstance(method, StraightThrough):
        found = _straight_through(a, mine, other, groups, method, rng, progress)
    elif method == "activations":
        found = _match(_activations(one, two), groups, rng, progress=progress)
    else:
        found = _match(_parameters(a, mine, other, groups), groups, rng, progress=progress)
    return Rebasin(groups.permute(b, found), found, groups)


def comparable(a: nn.Module, b: nn.Module) -> None:
    """Refuse networks whose weights have other names, shapes or no finite values.

    Parameters
    ----------
    a, b : nn.Module
        The networks.
    """
    first, second = weights_of(a), weights_of(b)
    for name in [*first, *second]:
        if name not in first or name not in second:
            raise NisslError(
                f"only {'the first' if name in first else 'the second'} network has '{name}'",
                do="give two networks of one architecture",
            )
        x, y = first[name], second[name]
        if x.shape != y.shape:
            raise NisslError(
                f"the networks have '{name}' of shapes {tuple(x.shape)} and {tuple(y.shape)}",
                do="give two networks of one architecture and width",
            )
        if not bool(torch.isfinite(x).all() and torch.isfinite(y).all()):
            raise NisslError("weights are not finite", where=name)


def _same_operations(one: Trace, two: Trace) -> None:
    """Refuse two runs whose operations differ."""
    for x, y in zip([*one.operations, "nothing"], [*two.operations, "nothing"], strict=False):
        if x != y:
            raise NisslError(
                f"the networks compute differently: {x} in the first where {y} is in the second",
                do="give two networks of one architecture",
            )


def _parameters(
    model: nn.Module, mine: dict[str, Tensor], other: dict[str, Tensor], groups: Symmetries
) -> Pairs:
    """Return the parameters; buffers are statistics, and follow."""
    learned = dict(model.named_parameters())
    return [
        (mine[name].float(), other[name].float(), axes)
        for name, axes in groups.axes.items()
        if name in learned
    ]


def _activations(one: Trace, two: Trace) -> Pairs:
    """Return what operations gave in both runs, each scaled to norm one."""
    found = []
    for (x, axes), (y, _) in zip(one.made, two.made, strict=True):
        if any(leaf.name for axis in axes for leaf in axis.leaves()):
            scaled = [z.float() / z.float().norm().clamp(min=1e-30) for z in (x, y)]
            found.append((scaled[0], scaled[1], tuple(axes)))
    return found


def _match(
    pairs: Pairs,
    groups: Symmetries,
    rng: np.random.Generator,
    *,
    start: Permutations | None = None,
    progress: bool = False,
) -> dict[str, NDArray[np.intp]]:
    """Return the permutations of the better of two starts, or those that follow from one."""
    members: dict[str, Pairs] = {group: [] for group in groups.sizes}
    for pair in pairs:
        for group in {leaf.name for axis in pair[2] for leaf in axis.leaves() if leaf.name}:
            members[group].append(pair)
    starts = [start] if start else [groups.identity(), _by_sorted(members, groups)]
    with progress_bar("Matching units", total=None, unit="groups", progress=progress) as advance:
        found = [_descend(members, dict(one), rng, advance) for one in starts]
    return max(found, key=lambda permutations: _inner(pairs, permutations))


def _by_sorted(members: dict[str, Pairs], groups: Symmetries) -> dict[str, NDArray[np.intp]]:
    """Match units by their sorted entries: the most that any order of the others could give."""
    still = groups.identity()
    return {g: _assigned(_similarity(of, g, still, ordered=True)) for g, of in members.items()}


def _descend(
    members: dict[str, Pairs],
    permutations: dict[str, NDArray[np.intp]],
    rng: np.random.Generator,
    advance: Callable[[float], None],
) -> dict[str, NDArray[np.intp]]:
    """Solve one group at a time with the others held, until none improves."""
    names = list(members)
    for _ in range(SWEEPS):
        improved = False
        for group in rng.permutation(names):
            advance(1)
            pairs, before = members[group], permutations[group]
            similar = _similarity(pairs, group, permutations)
            new = _assigned(similar)
            rows = np.arange(len(new))
            gain = float(similar[rows, new].sum() - similar[rows, before].sum())
            # A tensor with the group on both axes is not linear in it: the sum itself decides.
            changed = {**permutations, group: new}
            if any(len(_places(axes, group)) > 1 for _, _, axes in pairs):
                gain = _inner(pairs, changed) - _inner(pairs, permutations)
            if gain > 1e-6 * abs(float(similar[rows, before].sum())) + 1e-12:
                permutations, improved = changed, True
        if not improved:
            break
    return permutations


def _assigned(similar: NDArray[np.float64]) -> NDArray[np.intp]:
    found: NDArray[np.intp] = linear_sum_assignment(similar, maximize=True)[1]
    return found


def _places(axes: Iterable[Axis], group: str) -> list[tuple[int, NDArray[np.intp]]]:
    return [(d, at) for d, axis in enumerate(axes) for at in axis.places(group)]


def _similarity(
    pairs: Pairs, group: str, permutations: Permutations, *, ordered: bool = False
) -> NDArray[np.float64]:
    """Return inner products of each unit of a with each of b, the other axes permuted as now."""
    n = len(permutations[group])
    found = np.zeros((n, n))
    for x, y, axes in pairs:
        for d, at in _places(axes, group):
            moved = _moved(y, axes, permutations, d, group)
            index = torch.from_numpy(at.reshape(-1)).to(x.device)
            one, other = (z.index_select(d, index).movedim(d, 0).reshape(n, -1) for z in (x, moved))
            if ordered:
                one, other = one.sort(1).values, other.sort(1).values
            found += (one @ other.T).double().cpu().numpy()
    return found


def _moved(
    y: Tensor, axes: Iterable[Axis], permutations: Permutations, at: int = -1, group: str = ""
) -> Tensor:
    """Permute every axis of a tensor, along axis `at` all groups but one."""
    for d, axis in enumerate(axes):
        if any(leaf.name and not (d == at and leaf.name == group) for leaf in axis.leaves()):
            order = axis.order(permutations, group if d == at else "")
            y = y.index_select(d, torch.from_numpy(order).to(y.device))
    return y


def _inner(pairs: Pairs, permutations: Permutations) -> float:
    return sum(float((x * _moved(y, axes, permutations)).sum()) for x, y, axes in pairs)


def _straight_through(
    model: nn.Module,
    mine: dict[str, Tensor],
    other: dict[str, Tensor],
    groups: Symmetries,
    how: StraightThrough,
    rng: np.random.Generator,
    progress: bool,
) -> dict[str, NDArray[np.intp]]:
    """Move weights that only choose the permutations, by the gradient of the loss midway."""
    wrapped = _Loss(copy.deepcopy(model).eval(), how.loss)
    for module in wrapped.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()  # statistics midway are those of the batch
    learned = {name: mine[name].clone().requires_grad_() for name, _ in model.named_parameters()}
    optimiser = torch.optim.Adam(list(learned.values()), lr=how.learning_rate)
    losses: dict[bytes, float] = {}
    best, now = groups.identity(), dict[str, NDArray[np.intp]]()

    def midway(batch: Any) -> Tensor:
        moved = permuted(other, groups, now)
        at = {}
        for name, x in mine.items():
            y = moved[name]
            if name in learned:
                y = y + (learned[name] - learned[name].detach())
            at[f"model.{name}"] = (x + y) / 2 if x.is_floating_point() else x.clone()
        value: Tensor = functional_call(wrapped, at, (batch,))
        return value

    with progress_bar("Re-Basin", total=how.steps, unit="steps", progress=progress) as advance:
        for step in range(how.steps):
            pairs = _parameters(model, {k: v.detach() for k, v in learned.items()}, other, groups)
            now = _match(pairs, groups, rng, start=now or None)
            key = b"".join(p.tobytes() for p in now.values())
            if key not in losses:
                with torch.no_grad():
                    losses[key] = float(midway(how.batches(0)))
                if losses[key] <= min(losses.values()):
                    best = now
            optimiser.zero_grad()
            midway(how.batches(step)).backward()
            optimiser.step()
            advance(1)
    return best


class _Loss(nn.Module):
    """The loss of a model as a module, so that its weights can be given in a call."""

    def __init__(self, model: nn.Module, loss: Callable[[Any, Any], Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> Tensor:
        """Return the loss of a batch."""
        return self.loss(self.model, batch)
