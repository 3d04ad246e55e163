"""Nulls that keep size: random directions of equal norm, units matched by layer and weight.

They answer "does this matter more than others of its kind?", which permuted labels cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, UnknownName

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MatchedUnits", "RandomDirections", "output_weight"]

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class RandomDirections:
    """Directions drawn evenly from the sphere, each as long as the one it stands for.

    Examples
    --------
    >>> drawn = RandomDirections().draw([[3.0, 4.0]], 10, seed=0)
    >>> drawn.shape, np.allclose(np.linalg.norm(drawn, axis=-1), 5.0)
    ((10, 1, 2), True)
    """

    question: ClassVar[str] = "does this direction matter more than any other of its norm?"

    @property
    def name(self) -> str:
        """How the null is called in a Finding."""
        return "RandomDirections()"

    def draw(self, directions: ArrayLike, n: int, *, seed: int = 0) -> Array:
        """Draw directions.

        Parameters
        ----------
        directions : array, shape (n_directions, width)
            Those to be matched.
        n : int
            How many draws of all.
        seed : int
            The seed.

        Returns
        -------
        array of float64, shape (n, n_directions, width)
            Random directions of equal norms.

        Raises
        ------
        NisslError
            The directions are no matrix.
        """
        given = np.asarray(directions, dtype=float)
        if given.ndim != 2:
            raise NisslError(
                f"directions have shape {given.shape}", do="give (n_directions, width)"
            )
        norms = np.linalg.norm(given, axis=1, keepdims=True)
        drawn = np.random.default_rng(seed).standard_normal((n, *given.shape))
        return np.asarray(drawn * (norms / np.linalg.norm(drawn, axis=2, keepdims=True)))


@dataclass(frozen=True)
class MatchedUnits:
    """Units of the same layer and about the same weight, each itself among them.

    Parameters
    ----------
    match_on : tuple of str
        Columns of the units' table. Strings and integers must be equal; floating columns must be
        near: the `n_nearest` units of nearest rank are candidates.
    n_nearest : int
        Candidates for each unit, which is one of them.

    Notes
    -----
    Were a unit never drawn in its own place, it would be held against others only, and the largest
    of twenty would stand out in more than one test of twenty. The other units of its group are not
    drawn in its place, so that what is planted in all of them is seen: a group that is a large
    share of its layer still stands out too often, by up to that share.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unit": list("abcd"), "layer": [0, 0, 1, 1],
    ...                       "weight": [1.0, 2.0, 3.0, 4.0]})
    >>> MatchedUnits().draw(table, ["a"], 4, seed=1)[:, 0].tolist()
    [1, 0, 0, 1]
    """

    match_on: tuple[str, ...] = ("layer", "weight")
    n_nearest: int = 20
    question: ClassVar[str] = "do these units matter more than others of their layer and weight?"

    @property
    def name(self) -> str:
        """How the null is called in a Finding."""
        return f"MatchedUnits(match_on={self.match_on!r}, n_nearest={self.n_nearest})"

    def draw(
        self, table: pd.DataFrame, units: Sequence[str], n: int, *, seed: int = 0
    ) -> NDArray[np.int64]:
        """Draw matched units.

        Parameters
        ----------
        table : DataFrame
            All units: ``unit`` and the columns of `match_on`. ``weight`` is what `output_weight`
            returns.
        units : sequence of str
            The units to be matched; each is drawn in its own place only.
        n : int
            How many draws of all.
        seed : int
            The seed.

        Returns
        -------
        array of int64, shape (n, n_units)
            Rows of the table; no unit twice in a draw.

        Raises
        ------
        UnknownName
            A unit or a column is not in the table.
        NisslError
            A layer has too few other units.
        """
        for column in ("unit", *self.match_on):
            if column not in table:
                raise UnknownName("column", column, [str(c) for c in table.columns])
        names = np.asarray(table["unit"]).astype(str)
        row = {name: i for i, name in enumerate(names)}
        for unit in units:
            if unit not in row:
                raise UnknownName("unit", unit, names)
        chosen = np.array([row[u] for u in units])
        candidates = self._candidates(table, chosen)
        nearest = [near[: self.n_nearest - 1].tolist() for near in candidates]
        drawn = np.empty((n, len(chosen)), dtype=np.int64)
        for d in range(n):
            rng = np.random.default_rng([seed, d])
            taken: set[int] = set()
            for at in rng.permutation(len(chosen)):
                free = [c for c in nearest[at] if c not in taken]
                # Where neighbours took them all, the next nearest that is free.
                free = free or [next(int(c) for c in candidates[at] if c not in taken)]
                free.append(int(chosen[at]))
                pick = free[int(rng.integers(len(free)))]
                taken.add(pick)
                drawn[d, at] = pick
        return drawn

    def _candidates(
        self, table: pd.DataFrame, chosen: NDArray[np.int64]
    ) -> list[NDArray[np.int64]]:
        """Return for each chosen row others of its kind that are not chosen, nearest first."""
        kind = np.zeros(len(table), dtype=np.int64)
        near = []
        for name in self.match_on:
            column = np.asarray(table[name])
            if column.dtype.kind == "f":
                near.append(np.argsort(np.argsort(column, kind="stable")))
            else:
                code = np.unique(column.astype(str), return_inverse=True)[1]
                kind = kind * (code.max() + 1) + code
        other = np.ones(len(table), dtype=bool)
        other[chosen] = False
        out = []
        for row in chosen:
            rows = np.flatnonzero(other & (kind == kind[row]))
            if len(rows) < (kind[chosen] == kind[row]).sum():
                raise NisslError(
                    f"'{table['unit'].iloc[row]}' has no other unit left to match it",
                    do="match on fewer columns, or test fewer units at once",
                )
            far = np.sum([np.abs(r[rows] - r[row]) for r in near], axis=0) if near else None
            out.append(rows if far is None else rows[np.argsort(far, kind="stable")])
        return out


def output_weight(mean_activity: ArrayLike, output_weights: ArrayLike) -> Array:
    """Return how much each unit writes on average: mean |activity| x norm of its output weights.

    Parameters
    ----------
    mean_activity : array, shape (n_units,)
        The mean of each unit's absolute activity.
    output_weights : array, shape (n_units, d_model)
        What each unit writes into the residual when its activity is one.

    Returns
    -------
    array of float64, shape (n_units,)
        The weight by which `MatchedUnits` matches.

    Raises
    ------
    NisslError
        Shapes do not fit.

    Examples
    --------
    >>> output_weight([2.0], [[3.0, 4.0]]).tolist()
    [10.0]
    """
    mean, weights = np.asarray(mean_activity, dtype=float), np.asarray(output_weights, dtype=float)
    if weights.ndim != 2 or mean.shape != weights.shape[:1]:
        raise NisslError(
            f"activity {mean.shape} and output weights {weights.shape} do not fit",
            do="give (n_units,) and (n_units, d_model)",
        )
    return np.asarray(np.abs(mean) * np.linalg.norm(weights, axis=1))
