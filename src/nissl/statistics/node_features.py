"""Node features: degree, strength, clustering and triangles of every node of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError

__all__ = ["node_features"]

Array = NDArray[np.floating[Any]]


def node_features(weights: ArrayLike, *, density: float = 0.1) -> dict[str, Array]:
    """Return what each node is in graphs whose edges are their largest weights.

    Parameters
    ----------
    weights : array, shape (n_graphs, n_nodes, n_nodes)
        Symmetric, such as correlations; diagonals are not read.
    density : float
        Share of pairs that are joined, above 0, in every graph the same but for equal weights.

    Returns
    -------
    dict of array, shape (n_graphs, n_nodes)
        ``degree``, edges of a node; ``strength``, the sum of their weights; ``clustering``, which
        share of its pairs of neighbours are joined, 0 of fewer than two; ``cycles``, how many
        triangles it takes part in.

    Raises
    ------
    NisslError
        Weights are no square matrices, not finite or not symmetric, or no edge is left.

    Examples
    --------
    >>> triangle = np.pad(np.ones((3, 3)), (0, 1))
    >>> found = node_features([triangle], density=0.5)
    >>> found["degree"].tolist(), found["cycles"].tolist()
    ([[2.0, 2.0, 2.0, 0.0]], [[1.0, 1.0, 1.0, 0.0]])
    """
    w = np.asarray(weights, float)
    if w.ndim != 3 or w.shape[1] != w.shape[2]:
        raise NisslError(f"weights of shape {w.shape}", do="give (n_graphs, n_nodes, n_nodes)")
    upper = np.triu_indices(w.shape[1], 1)
    pairs = w[:, *upper]
    n_edges = round(density * pairs.shape[1]) if 0 < density <= 1 else 0
    if not pairs.size or not n_edges:
        raise NisslError(
            f"no edge is left of {pairs.shape[1]} pairs of nodes at density {density}",
            where="density",
            do="give a larger share, at most 1, or more nodes",
        )
    if not np.isfinite(pairs).all() or not np.allclose(pairs, w.swapaxes(1, 2)[:, *upper]):
        raise NisslError("weights are not finite, or not symmetric", do="give undirected graphs")
    cuts = np.partition(pairs, -n_edges, axis=1)[:, -n_edges]
    found = [_of_graph(graph, cut) for graph, cut in zip(w, cuts, strict=True)]
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def _of_graph(w: Array, cut: float) -> dict[str, Array]:
    edges = ((w >= cut) & ~np.eye(len(w), dtype=bool)).astype(float)
    degree, cycles = edges.sum(axis=1), (edges @ edges * edges).sum(axis=1) / 2
    return {
        "degree": degree,
        "strength": np.where(edges > 0, w, 0).sum(axis=1),
        "clustering": cycles / np.maximum(degree * (degree - 1) / 2, 1),
        "cycles": cycles,
    }
