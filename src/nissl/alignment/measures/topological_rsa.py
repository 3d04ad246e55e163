"""Topological RSA: which stimuli are near, however near, and which are far, however far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nissl.alignment.measures.measure import Array
from nissl.alignment.measures.rsa import RSA
from nissl.errors import NisslError
from nissl.methods import method

__all__ = ["TopologicalRSA"]


@method(system=347)
@dataclass(frozen=True)
class TopologicalRSA(RSA):
    """The correlation of dissimilarities that are cut off at both ends.

    Those below a lower threshold become 0, those above an upper one 1, between them they rise
    linearly. Noise sits in the short ones, and how far apart what is far is differs between
    individuals. Thresholds 0 and 1 give RSA; two equal ones a graph of neighbours.

    Parameters
    ----------
    dissimilarity, by : str
        As in `RSA`: ranks, or the dissimilarities themselves, are cut off.
    lower, upper : float
        Thresholds, as quantiles of all pairs.

    Notes
    -----
    Source: Lin and Kriegeskorte 2024, The topology and geometry of neural representations; ranks
    and thresholds as in their code.
    """

    lower: float = 0.2
    upper: float = 0.8
    name = "topological_rsa"

    def values(self, pairs: Array) -> Array:
        """Return the geo-topological transform."""
        if not 0 <= self.lower <= self.upper <= 1:
            raise NisslError(
                f"thresholds {self.lower} and {self.upper}", do="give 0 <= lower <= upper <= 1"
            )
        pairs = super().values(pairs)
        low, high = np.quantile(pairs, [self.lower, self.upper])
        if not high > low:
            return np.asarray(pairs > low, dtype=np.float64)
        return np.asarray(np.clip((pairs - low) / (high - low), 0, 1))
