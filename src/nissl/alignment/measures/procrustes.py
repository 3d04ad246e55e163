"""Procrustes: how far two representations are after the best rotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nissl.alignment.measures.measure import Array, Measure

__all__ = ["Procrustes"]


@dataclass(frozen=True)
class Procrustes(Measure):
    """The distance of two shapes: stimuli as points, centred, of size one, rotated to fit.

    Parameters
    ----------
    angular : bool
        The angle between the shapes, from 0 to pi / 2; else the length of the chord.

    Notes
    -----
    Both are metrics. Source: Williams et al. 2021, Generalized shape metrics on neural
    representations.
    """

    angular: bool = True
    name = "procrustes"
    similarity = False
    invariant = ("translation", "rotation", "scale")

    def score(self, a: Array, b: Array) -> float:
        """Return the distance."""
        cosine = min(float(np.linalg.svd(a.T @ b, compute_uv=False).sum()), 1.0)
        return float(np.arccos(cosine) if self.angular else np.sqrt(2 - 2 * cosine))
