"""Ricci geometry: curvature of a representation's graph of neighbours, and its communities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from nissl.alignment.measures.measure import Array, PairMeasure
from nissl.errors import NisslError
from nissl.methods import method
from nissl.statistics import dissimilarities, neighbour_graph, ollivier_ricci, ricci_flow

__all__ = ["RicciCommunities", "RicciCurvature"]


@method(system=219)
@dataclass(frozen=True)
class RicciCurvature(PairMeasure):
    """The rank correlation of stimuli's curvatures, each the mean over its edges.

    Parameters
    ----------
    n_neighbours : int
        Of each stimulus, as in `neighbour_graph`.
    dissimilarity : str
        As in `nissl.statistics.dissimilarities`.

    Notes
    -----
    Source: Torbati et al. 2025, Exploring geometric representational alignment through
    Ollivier-Ricci curvature and Ricci flow.
    """

    n_neighbours: int = 6
    dissimilarity: str = "correlation"
    name = "ricci_curvature"
    invariant = ("scale",)

    def prepare(self, x: Any) -> Array:
        """Return the dissimilarities."""
        return dissimilarities(x, measure=self.dissimilarity, progress=False)

    def normalise(self, prepared: Array) -> Array:
        """Return the curvature of each edge, NaN where there is none."""
        return ollivier_ricci(neighbour_graph(prepared, self.n_neighbours))

    def score(self, a: Array, b: Array) -> float:
        """Return the correlation."""
        one, two = (np.nanmean(x, axis=1).round(9) for x in (a, b))
        if min(np.ptp(one), np.ptp(two)) == 0:
            raise NisslError("all stimuli are curved alike", do="give another n_neighbours")
        return float(spearmanr(one, two).statistic)


@method(system=219)
@dataclass(frozen=True)
class RicciCommunities(RicciCurvature):
    """The adjusted Rand index of the communities that Ricci flow cuts two representations into.

    Parameters
    ----------
    n_neighbours, dissimilarity : int, str
        As in `RicciCurvature`.
    n_steps : int
        As in `ricci_flow`.

    Notes
    -----
    Source: as `RicciCurvature`; Hubert and Arabie 1985 for the index.
    """

    n_steps: int = 10
    name = "ricci_communities"

    def normalise(self, prepared: Array) -> Array:
        """Return 1 where two stimuli are in one community, else 0."""
        label = ricci_flow(neighbour_graph(prepared, self.n_neighbours), n_steps=self.n_steps)[1]
        return np.asarray(label[:, None] == label, dtype=np.float64)

    def score(self, a: Array, b: Array) -> float:
        """Return the index."""
        one, two = (x[np.triu_indices(len(x), 1)] for x in (a, b))
        if min(one.sum(), two.sum()) == 0 or min(one.mean(), two.mean()) == 1:
            return float((one == two).all())
        chance = one.mean() * two.sum()
        return float((one @ two - chance) / ((one.sum() + two.sum()) / 2 - chance))
