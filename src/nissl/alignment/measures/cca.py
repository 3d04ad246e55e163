"""Canonical correlation: how well the best directions of both sides agree on other stimuli."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nissl.alignment.measures.measure import Array, Measure
from nissl.errors import NisslError
from nissl.statistics import folds
from nissl.statistics.coordinates import coordinates

__all__ = ["CCA"]


@dataclass(frozen=True)
class CCA(Measure):
    """The mean canonical correlation of the largest principal components, on held-out stimuli.

    Parameters
    ----------
    n_components : int
        Of each side; with fewer than four training stimuli a component there are fewer.
    n_folds : int
        Directions are found on the other folds. 1: on the very stimuli, as first published; what
        they share is then overstated.

    Notes
    -----
    Source: Raghu et al. 2017, SVCCA; held out as in any other fit, which is ours.
    """

    n_components: int = 10
    n_folds: int = 5
    name = "cca"
    invariant = ("translation", "rotation", "scale")

    def prepare(self, x: Any) -> Array:
        """Return the principal components, the largest first."""
        x = coordinates(x)
        _, size, rows = np.linalg.svd(x, full_matrices=False)
        most = max(1, min(self.n_components, len(x) // 4))
        kept = size[:most] > 1e-9 * max(size[0], 1e-300)
        if not size[0] > 0:
            raise NisslError("all stimuli have the same pattern", do="leave this site out")
        return np.asarray(x @ rows[:most][kept].T)

    def score(self, a: Array, b: Array) -> float:
        """Return the mean correlation."""
        whole = np.arange(len(a))
        parts = folds(n_samples=len(a), n=self.n_folds) if self.n_folds > 1 else [(whole, whole)]
        found = []
        for learn, rest in parts:
            (qa, ra), (qb, rb) = (np.linalg.qr(x[learn] - x[learn].mean(0)) for x in (a, b))
            left, _, right = np.linalg.svd(qa.T @ qb, full_matrices=False)
            u = (a[rest] - a[learn].mean(0)) @ np.linalg.pinv(ra) @ left
            v = (b[rest] - b[learn].mean(0)) @ np.linalg.pinv(rb) @ right.T
            u, v = u - u.mean(0), v - v.mean(0)
            sizes = np.linalg.norm(u, axis=0) * np.linalg.norm(v, axis=0)
            found.append((u * v).sum(0) / np.where(sizes > 0, sizes, np.inf))
        return float(np.mean(found))
