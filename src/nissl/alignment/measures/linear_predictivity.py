"""Linear predictivity: how much of one side the other predicts by ridge regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nissl.alignment.measures.measure import Array, Measure
from nissl.statistics import folds, ridge
from nissl.statistics.coordinates import coordinates

__all__ = ["LinearPredictivity"]


@dataclass(frozen=True)
class LinearPredictivity(Measure):
    """The share of the second side's variance that the first predicts, on held-out stimuli.

    Parameters
    ----------
    n_folds : int
        Stimuli of each are predicted from the others, whose own folds choose the penalties.
    both : bool
        The mean of both directions, which is symmetric.

    Notes
    -----
    Below 0 where nothing is predicted; variances of units are added up. Source: Yamins et al. 2014.
    """

    n_folds: int = 5
    both: bool = False
    name = "linear_predictivity"
    symmetric = False
    invariant = ("translation", "rotation", "scale")

    def prepare(self, x: Any) -> Array:
        """Return the principal components, each a target with a penalty of its own."""
        u, size, _ = np.linalg.svd(coordinates(x), full_matrices=False)
        return np.asarray(u * size)

    def score(self, a: Array, b: Array) -> float:
        """Return the share, of 1, that is not left over."""
        left = b.copy()
        for train, test in folds(n_samples=len(a), n=self.n_folds):
            fitted = ridge(a[train], b[train], folds=self.n_folds, progress=False)
            left[test] -= fitted.predict(a[test])
        share = 1 - float((left**2).sum() / (b**2).sum())
        return (share + type(self)(self.n_folds).score(b, a)) / 2 if self.both else share
