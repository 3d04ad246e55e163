"""Soft matching: how alike units are when each is paired with units of the other side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import eye_array, kron, vstack

from nissl.alignment.measures.measure import Array, Measure
from nissl.errors import NisslError
from nissl.statistics.coordinates import finite

__all__ = ["SoftMatching"]

MOST = 200_000  # pairs of units, where both sides have not as many


@dataclass(frozen=True)
class SoftMatching(Measure):
    """The mean correlation of paired units, the pairs chosen so that it is largest.

    Where both sides have as many units, each has one partner; else the weights of a unit's partners
    add up to its share.

    Notes
    -----
    Source: Khosla and Williams 2024, Soft matching distance; the correlation is their score.
    """

    name = "soft_matching"
    invariant = ("translation", "scale of units", "permutation")

    def prepare(self, x: Any) -> Array:
        """Return the units."""
        return finite(x)

    def normalise(self, prepared: Array) -> Array:
        """Return units of mean zero and norm one; those that do not vary stay at zero."""
        x = prepared - prepared.mean(0)
        size = np.linalg.norm(x, axis=0)
        varies = size > 1e-12 * np.linalg.norm(prepared, axis=0)
        if not varies.any():
            raise NisslError("no unit varies over stimuli", do="leave this site out")
        return np.asarray(np.where(varies, x, 0) / np.where(varies, size, 1))

    def score(self, a: Array, b: Array) -> float:
        """Return the mean correlation."""
        r = a.T @ b
        n, m = r.shape
        if n == m:
            return float(r[linear_sum_assignment(-r)].mean())
        if n * m > MOST:
            raise NisslError(
                f"{n} and {m} units are too many pairs for soft matching",
                do=f"give as many units on both sides, or at most {MOST:,} pairs",
            )
        rows, columns = kron(eye_array(n), np.ones((1, m))), kron(np.ones((1, n)), eye_array(m))
        shares: Any = {"A_eq": vstack([rows, columns]), "b_eq": np.repeat([1 / n, 1 / m], [n, m])}
        done: Any = linprog(-r.ravel(), **shares, method="highs")
        return float(-done.fun)
