"""The order of one network's units in which its tensors are most like another's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from nissl.network.symmetries.axis import Axis
from nissl.network.symmetries.reorder import Permutations, reordered
from nissl.network.symmetries.symmetries import Symmetries
from nissl.progress import progress_bar

__all__ = ["TensorPair", "matched"]

TensorPair = tuple[Tensor, Tensor, tuple[Axis, ...]]  # of both networks, with equal axes
SWEEPS = 100  # over the groups; few are needed


def matched(
    pairs: Sequence[TensorPair],
    groups: Symmetries,
    rng: np.random.Generator,
    *,
    start: Permutations | None = None,
    progress: bool = False,
) -> dict[str, NDArray[np.intp]]:
    """Return the permutations under which the inner products of two networks are largest.

    Groups are taken in random order, each solved exactly as a linear assignment with the others
    held, until none improves.

    Parameters
    ----------
    pairs : sequence of (Tensor, Tensor, tuple of Axis)
        A tensor of the first network, that of the second, and what their axes are made of.
    groups : Symmetries
        The groups.
    rng : Generator
        Of their order.
    start : mapping of str to array, optional
        Permutations to begin from. By default the order as it is, and that of units matched by
        their sorted entries, which no order of other axes changes: the better is kept.
    progress : bool
        Show a bar.

    Returns
    -------
    dict of str to array, shape (n_units,)
        Of each group, which unit of the second stands at the place of each of the first.
    """
    members: dict[str, list[TensorPair]] = {group: [] for group in groups.sizes}
    for pair in pairs:
        for group in {leaf.name for axis in pair[2] for leaf in axis.leaves() if leaf.name}:
            members[group].append(pair)
    starts = [start or groups.identity()]
    if start is None:
        similar = {g: _similarity(of, g, starts[0], ordered=True) for g, of in members.items()}
        starts.append({g: linear_sum_assignment(x, maximize=True)[1] for g, x in similar.items()})
    with progress_bar("Matching units", total=None, unit="groups", progress=progress) as advance:
        found = [_descend(members, dict(one), rng, advance) for one in starts]
    return max(found, key=lambda permutations: _inner(pairs, permutations))


def _descend(
    members: dict[str, list[TensorPair]],
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
            rows, new = linear_sum_assignment(similar, maximize=True)
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


def _places(axes: Iterable[Axis], group: str) -> list[tuple[int, NDArray[np.intp]]]:
    return [(d, at) for d, axis in enumerate(axes) for at in axis.places(group)]


def _similarity(
    pairs: Iterable[TensorPair], group: str, permutations: Permutations, *, ordered: bool = False
) -> NDArray[np.float64]:
    """Return inner products of each unit of a with each of b, the other axes permuted as now."""
    n = len(permutations[group])
    found = np.zeros((n, n))
    for x, y, axes in pairs:
        for d, at in _places(axes, group):
            moved = reordered(y, axes, permutations, keep=(d, group))
            index = torch.from_numpy(at.reshape(-1)).to(x.device)
            one, other = (z.index_select(d, index).movedim(d, 0).reshape(n, -1) for z in (x, moved))
            if ordered:
                one, other = one.sort(1).values, other.sort(1).values
            found += (one @ other.T).double().cpu().numpy()
    return found


def _inner(pairs: Iterable[TensorPair], permutations: Permutations) -> float:
    return sum(float((x * reordered(y, axes, permutations)).sum()) for x, y, axes in pairs)
