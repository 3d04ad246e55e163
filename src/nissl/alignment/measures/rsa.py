"""Representational similarity: whether pairs of stimuli differ as much in one as in the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from nissl.alignment.measures.measure import Array, PairMeasure
from nissl.errors import NisslError, require_known
from nissl.statistics import dissimilarities

__all__ = ["RSA"]


@dataclass(frozen=True)
class RSA(PairMeasure):
    """The correlation of two matrices of dissimilarities over their pairs of stimuli.

    Parameters
    ----------
    dissimilarity : {"correlation", "euclidean", "cosine"}
        Of two patterns, as in `nissl.statistics.dissimilarities`.
    by : {"spearman", "pearson"}
        Of ranks, or of the dissimilarities themselves.

    Notes
    -----
    Source: Kriegeskorte et al. 2008, Representational similarity analysis.
    """

    dissimilarity: str = "correlation"
    by: str = "spearman"
    name = "rsa"
    invariant = ("scale",)

    def prepare(self, x: Any) -> Array:
        """Return the dissimilarities."""
        require_known("correlation", self.by, ("spearman", "pearson"))
        return dissimilarities(x, measure=self.dissimilarity, progress=False)

    def normalise(self, prepared: Array) -> Array:
        """Return the pairs' ranks, of mean zero and norm one, zero on the diagonal."""
        rows, columns = np.triu_indices(len(prepared), 1)
        values = self.values(prepared[rows, columns])
        values = values - values.mean()
        size = np.sqrt(2 * (values @ values))
        if not size > 0:
            raise NisslError("all pairs of stimuli differ alike", do="give four stimuli or more")
        made = np.zeros_like(prepared)
        made[rows, columns] = made[columns, rows] = values / size
        return made

    def values(self, pairs: Array) -> Array:
        """Return what of the pairs' dissimilarities is correlated."""
        return rankdata(pairs) if self.by == "spearman" else pairs
