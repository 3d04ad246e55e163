"""Network features: degrees, clustering and 3-cycles of units in graphs of their correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nissl.brain.connectivity import Connectivity
from nissl.errors import require_known
from nissl.methods import method
from nissl.recording import Recording, as_recording
from nissl.statistics import node_features

__all__ = ["network_features"]

FEATURES = ("degree", "strength", "clustering", "cycles")


@method(system=13)
def network_features(
    graphs: Connectivity | Any, *, density: float = 0.1, features: Sequence[str] = FEATURES
) -> Recording:
    """Return what each unit is in each graph, such as the correlations of a subject.

    Parameters
    ----------
    graphs : Connectivity, or array, shape (n_graphs, n_units, n_units)
        Symmetric; `connectivity(rec, by="subject")`, or by windows.
    density, features : float, sequence of str
        Of `nissl.statistics.node_features`, whose errors it raises; "cycles" is the 3-cycle map.

    Returns
    -------
    Recording, shape (n_graphs, n_features * n_units)
        Samples as the matrices are labelled; units ``degree[V1]``, with ``feature`` and ``node``.
        For `decode` with `nissl.statistics.masked_lda`, as in the paper.

    Source: Dey et al. 2012 (system 13); at one density, where they cut at one correlation.

    Examples
    --------
    >>> network_features([np.ones((3, 3))], density=1, features=["cycles"]).values.tolist()
    [[1.0, 1.0, 1.0]]
    """
    for name in list(features) or [""]:
        require_known("feature", name, FEATURES)
    labels: dict[str, Any] = {}
    weights: Any = graphs
    if isinstance(graphs, Connectivity):
        weights = graphs.values.reshape(-1, *graphs.values.shape[-2:])
        labels = {str(name): column.to_numpy() for name, column in graphs.matrices.items()}
    found = node_features(weights, density=density)
    nodes = [f"unit[{u}]" for u in range(found["degree"].shape[1])]
    if isinstance(graphs, Connectivity):
        nodes = graphs.units["unit"].tolist()
    units: dict[str, Any] = {"unit": [f"{name}[{node}]" for name in features for node in nodes]}
    units |= {"feature": np.repeat(features, len(nodes)), "node": nodes * len(features)}
    values = np.hstack([found[name] for name in features])
    return as_recording(values, samples=labels, units=units)
