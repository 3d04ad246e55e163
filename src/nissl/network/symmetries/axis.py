"""An axis as sums and products of index sets, two of which can be made the same.

Heads of attention are a product (head x place in it), channels that were concatenated a sum.
What cannot be written so is held fixed, which is always right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axis", "joined", "regroup", "unify"]

Kind = Literal["product", "sum"]


class Axis:
    """An index set: free, fixed, or made of others; of two made the same one points to the other.

    Parameters
    ----------
    size : int
        How many indices.
    fixed : bool
        Whether each stays in its place.
    kind : {"product", "sum"}, optional
        Of `parts`: laid out as a view of several axes is, outermost first, or as `torch.cat` does.
    parts : sequence of Axis
        What it is made of.
    """

    def __init__(
        self,
        size: int,
        *,
        fixed: bool = False,
        kind: Kind | None = None,
        parts: Sequence[Axis] = (),
    ) -> None:
        self.size = size
        self.fixed = fixed
        self.loose = False  # of a tensor that is the same along it: each use is by itself
        self.name = ""  # of the group, where it is free and parameters have it
        self._same: Axis | None = None
        self.kind = kind
        self._parts = list(parts)

    def root(self) -> Axis:
        """Return the axis that stands for all that are the same."""
        axis = self
        while axis._same is not None:
            axis = axis._same
        return axis

    def parts(self, kind: Kind) -> list[Axis]:
        """Return what it is a product or sum of, outermost first: itself, where it is neither."""
        axis = self.root()
        if axis.kind != kind:
            return [axis] if axis.size > 1 or kind == "sum" else []
        return [inner for part in axis._parts for inner in part.parts(kind)]

    def leaves(self) -> list[Axis]:
        """Return the axes that it is made of, those of several indices."""
        axis = self.root()
        if axis.kind is None:
            return [axis] if axis.size > 1 else []
        return [leaf for part in axis._parts for leaf in part.leaves()]

    def fix(self) -> None:
        """Hold every index in its place."""
        for leaf in self.leaves():
            leaf.fixed = True

    def split(self, kind: Kind, *sizes: int) -> list[Axis]:
        """Make a free or fixed axis a product or sum of new ones."""
        self.kind, self._parts = kind, [Axis(size, fixed=self.fixed) for size in sizes]
        return self._parts

    def order(
        self, permutations: Mapping[str, NDArray[np.intp]], without: str = ""
    ) -> NDArray[np.intp]:
        """Return which index comes to each place, shape (size,); group `without` stays in order."""
        axis = self.root()
        if axis.kind is None:
            moved = bool(axis.name) and axis.name != without
            return permutations[axis.name] if moved else np.arange(axis.size)
        orders = [part.order(permutations, without) for part in axis._parts]
        if axis.kind == "sum":
            starts = np.cumsum([0, *(len(one) for one in orders)])
            return np.concatenate([one + at for one, at in zip(orders, starts, strict=False)])
        found = np.zeros(1, np.intp)
        for one in orders:
            found = (found[:, None] * len(one) + one).ravel()
        return found

    def places(self, group: str) -> list[NDArray[np.intp]]:
        """Return for each time a group is in it where its indices are, shape (n_group, n_rest)."""
        axis = self.root()
        if axis.kind is None:
            return [np.arange(axis.size)[:, None]] if group and axis.name == group else []
        found, at = [], 0
        sizes = [part.size for part in axis._parts]
        for i, part in enumerate(axis._parts):
            for inner in part.places(group):
                if axis.kind == "sum":
                    found.append(inner + at)
                else:
                    outer, within = prod(sizes[:i]), prod(sizes[i + 1 :])
                    index = (np.arange(outer)[:, None, None, None] * part.size) + inner[..., None]
                    index = index * within + np.arange(within)
                    found.append(index.transpose(1, 0, 2, 3).reshape(len(inner), -1))
            at += part.size
        return found


def joined(kind: Kind, parts: Iterable[Axis]) -> Axis:
    """Return the product or sum of axes.

    Parameters
    ----------
    kind : {"product", "sum"}
        As of an `Axis`.
    parts : iterable of Axis
        Outermost or first comes first.

    Returns
    -------
    Axis
        A new one, or the only one that counts.
    """
    parts = [part for part in parts if part.size > (kind == "product")]
    sizes = [part.size for part in parts]
    if len(parts) == 1:
        return parts[0]
    size = prod(sizes) if kind == "product" else sum(sizes)
    return Axis(size, kind=kind if parts else None, parts=parts)


def unify(x: Axis, y: Axis) -> None:
    """Make two axes the same; what of them cannot be is fixed.

    Parameters
    ----------
    x, y : Axis
        Of equal size.
    """
    x, y = x.root(), y.root()
    if x is y or x.size == 1 or x.loose or y.loose:
        return
    for one, other in ((x, y), (y, x)):
        if one.kind is None:
            one._same = other
            if one.fixed:
                other.fix()
            return
    if x.kind != y.kind or not _walk(x.parts(x.kind), y.parts(x.kind), x.kind):  # type: ignore[arg-type]
        x.fix()
        y.fix()


def _walk(xs: list[Axis], ys: list[Axis], kind: Kind) -> bool:
    """Unify two lists of parts, splitting free ones where their bounds differ."""
    xs, ys = xs[::-1], ys[::-1]
    while xs and ys:
        x, y = xs.pop().root(), ys.pop().root()
        for one, other, rest in ((x, y, ys), (y, x, xs)):
            if one.size < other.size:
                cut = _cut(other, one.size, kind)
                if cut is None:
                    return False
                unify(one, cut[0])
                rest.append(cut[1])
        if x.size == y.size:
            unify(x, y)
    return True


def _cut(axis: Axis, size: int, kind: Kind) -> tuple[Axis, Axis] | None:
    """Cut the first part of `size` off an axis, or return None where it has none."""
    axis = axis.root()
    if axis.kind is None:
        if kind == "product" and axis.size % size:
            return None
        rest = axis.size // size if kind == "product" else axis.size - size
        first, second = axis.split(kind, size, rest)
        return first, second
    if axis.kind != kind:
        return None
    parts = axis.parts(kind)
    if parts[0].size == size:
        return parts[0], joined(kind, parts[1:])
    return None


def regroup(axes: Sequence[Axis], sizes: Sequence[int], kind: Kind = "product") -> list[Axis]:
    """Return the axes of a view of another shape, or of pieces of an axis.

    Parameters
    ----------
    axes : sequence of Axis
        Those of the tensor.
    sizes : sequence of int
        The shape of the view, or the length of each piece.
    kind : {"product", "sum"}
        A view, or pieces.

    Returns
    -------
    list of Axis
        Of `sizes`; all are fixed where the one does not follow from the other.
    """
    new = [Axis(size) for size in sizes]
    unify(joined(kind, axes), joined(kind, new))
    return new
