"""Causal discovery with an index of domains among the variables, on plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.statistics.mechanisms import dependence_of_changes, independent_within, same_mechanism

__all__ = ["Independence", "causal_discovery"]

Array = NDArray[np.floating[Any]]
Codes = NDArray[np.int64]
DOMAINS = 5  # of fewer it cannot be told whether changes are independent


@dataclass
class Independence:
    """A test of conditional independence as causal-learn calls it; keeps the largest p of a pair.

    Parameters
    ----------
    x : array, shape (n_samples, n_units)
        Activity.
    domain : array of int, shape (n_samples,)
        The domain of each sample; variable number n_units.
    kernel : callable, optional
        causal-learn's test of the same columns and one of the index, instead of linear mechanisms.
    largest : dict
        p by pair.
    """

    x: Array
    domain: Codes
    kernel: Any = None
    largest: dict[tuple[int, int], float] = field(default_factory=dict)
    method: str = "changing mechanisms"  # that causal-learn asks for

    def __call__(self, a: int, b: int, given: Sequence[int] = ()) -> float:
        """Return p of two variables independent given others."""
        a, b = sorted((int(a), int(b)))
        others, index = [int(g) for g in given], self.x.shape[1]
        units = [g for g in others if g != index]
        if self.kernel is not None:
            p = float(self.kernel(a, b, others))
        elif b == index:
            p = same_mechanism(self.x, a, units, self.domain)
        else:  # nothing causes the index, so that to condition on it opens no path
            p = independent_within(self.x, a, b, units, self.domain)
        self.largest[a, b] = max(p, self.largest.get((a, b), 0.0))
        return p


def causal_discovery(
    x: Array, domain: Codes, index: Codes | None, alpha: float, seed: int
) -> tuple[list[tuple[int, int, str, float, float, float]], list[float], NDArray[np.bool_]]:
    """Return a partly directed graph of units and of the index of their domains (CD-NOD).

    Parameters
    ----------
    x : array, shape (n_samples, n_units)
        Activity, samples independent.
    domain : array of int, shape (n_samples,)
        The domain of each sample, 0, 1, ...
    index : array, shape (n_samples,), optional
        What the kernel test takes for the index; None: linear mechanisms in each domain.
    alpha : float
        Level of each test.
    seed : int
        Of the permutations of domains.

    Returns
    -------
    edges : list of tuple
        Source, target, how it was oriented ("" where not), p, dependence of the changes of both
        mechanisms in this direction and in reverse (NaN where not both change).
    p : list of float, n_units
        Of each unit's mechanism being the same.
    changes : array of bool, shape (n_units,)
        Which are joined to the index.

    Raises
    ------
    NisslError
        causal-learn is not there, or alpha is no level.
    """
    try:
        from causallearn.utils.cit import CIT
        from causallearn.utils.PCUtils.BackgroundKnowledge import BackgroundKnowledge
        from causallearn.utils.PCUtils.BackgroundKnowledgeOrientUtils import (
            orient_by_background_knowledge,
        )
        from causallearn.utils.PCUtils.Meek import meek
        from causallearn.utils.PCUtils.SkeletonDiscovery import skeleton_discovery
        from causallearn.utils.PCUtils.UCSepset import uc_sepset
    except ImportError as error:
        raise NisslError(
            f"causal discovery needs causal-learn, which does not import: {error}",
            do="pip install 'nissl[causal]'",
        ) from error
    if not 0 < alpha < 1:
        raise NisslError(f"alpha is {alpha}", do="give a level between 0 and 1, such as 0.05")
    n, data = x.shape[1], np.column_stack([x, domain if index is None else index]).astype(float)
    test = Independence(x, domain, None if index is None else CIT(data, "kci"))
    # As cdnod of causal-learn, which would draw bars, and lets colliders point at the index.
    graph = skeleton_discovery(data, alpha, test, show_progress=False)
    known = BackgroundKnowledge().add_forbidden_by_pattern(".*", f"^X{n + 1}$")
    orient_by_background_knowledge(graph, known)
    graph = meek(uc_sepset(graph, 2, background_knowledge=known), background_knowledge=known)
    changes = graph.G.graph[n, :n] != 0
    oriented = {
        (i, j): "invariance" if changes[i] != changes[j] else "v-structure"
        for i, j in _directions(graph)
        if i != n
    }
    together: dict[tuple[int, int], float] = {}
    while domain.max() + 1 >= DOMAINS:
        nodes, a = graph.G.nodes, graph.G.graph
        open_ = [(i, j) for i, j in _undirected(a[:n, :n]) if changes[i] and changes[j]]
        if not open_:
            break
        for i, j in open_:
            drivers = [k for k, at in _directions(graph) if at in (i, j) and k not in (i, j, n)]
            for pair in ((i, j), (j, i)):
                found = dependence_of_changes(x, *pair, sorted(set(drivers)), domain, seed)
                together[pair] = found
        i, j = max(open_, key=lambda p: abs(together[p] - together[p[::-1]]))
        i, j = (i, j) if together[i, j] <= together[j, i] else (j, i)
        graph.G.remove_edge(graph.G.get_edge(nodes[i], nodes[j]))
        graph.G.add_directed_edge(nodes[i], nodes[j])
        graph = meek(graph, background_knowledge=known)
    said = dict.fromkeys(_undirected(graph.G.graph), "")
    said |= {(i, j): "independent changes" for i, j in _directions(graph) if i != n} | oriented
    edges = []
    for (i, j), how in sorted(said.items()):
        both = (together.get((i, j), np.nan), together.get((j, i), np.nan))
        edges.append((i, j, how, test.largest[min(i, j), max(i, j)], *both))
    return edges, [test.largest[u, n] for u in range(n)], changes


def _directions(graph: Any) -> list[tuple[int, int]]:
    """Return directed edges as pairs of variables, from and to."""
    a = graph.G.graph
    return [(int(i), int(j)) for i, j in np.argwhere((a == -1) & (a.T == 1))]


def _undirected(a: Any) -> list[tuple[int, int]]:
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu((a == -1) & (a.T == -1)))]
