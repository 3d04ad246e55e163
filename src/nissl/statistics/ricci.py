"""Curvature of a graph's edges by optimal transport, and the communities that its flow leaves.

Where the neighbours of two neighbours lie nearer to each other than these do, an edge is curved
like a sphere, above zero; where farther, like a tree, below; on a grid as far, and flat.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, shortest_path

from nissl.errors import NisslError

__all__ = ["neighbour_graph", "ollivier_ricci", "ricci_flow"]

Array = NDArray[np.floating[Any]]
SHORTEST = 1e-3  # edge under the flow, in means: at zero it would be none


def neighbour_graph(distances: ArrayLike, n_neighbours: int = 6) -> NDArray[np.bool_]:
    """Join each stimulus with those that are nearest to it.

    Parameters
    ----------
    distances : array, shape (n, n)
        Of every two stimuli.
    n_neighbours : int
        How many; a stimulus that is near to many has more edges.

    Returns
    -------
    array of bool, shape (n, n)
        Symmetric, False on the diagonal.

    Examples
    --------
    >>> neighbour_graph(np.abs(np.subtract.outer([0, 1, 3], [0, 1, 3])), 1).sum(1).tolist()
    [1, 2, 1]
    """
    apart = np.array(distances, dtype=np.float64)
    if not 0 < n_neighbours < len(apart):
        raise NisslError(f"{n_neighbours} neighbours of {len(apart)} stimuli", do="give fewer")
    np.fill_diagonal(apart, np.inf)
    graph = np.zeros(apart.shape, dtype=bool)
    np.put_along_axis(graph, apart.argsort(1, kind="stable")[:, :n_neighbours], True, axis=1)
    return graph | graph.T


def ollivier_ricci(lengths: ArrayLike, *, laziness: float = 0.5) -> Array:
    """Return the Ollivier-Ricci curvature of each edge of a graph, by exact optimal transport.

    A walker stays, or goes to one of the neighbours, each as likely. Curvature is one less the cost
    of moving the walkers of one end to those of the other, in lengths of the edge.

    Parameters
    ----------
    lengths : array, shape (n, n)
        Symmetric; of each edge, 0 where there is none. Of a graph in which all are alike, bools.
    laziness : float
        The probability to stay, from 0 to below 1. From 1/2 on, curvature divided by 1 - laziness
        is that of Lin, Lu and Yau.

    Returns
    -------
    array of float64, shape (n, n)
        Curvature, at most 1; NaN where there is no edge.

    Notes
    -----
    Source: Ollivier 2009, Ricci curvature of Markov chains on metric spaces.

    Examples
    --------
    >>> round(float(ollivier_ricci(~np.eye(5, dtype=bool))[0, 1]), 6)
    0.625
    """
    rows, columns, distance, cost = _transport(lengths, laziness)
    found = np.full((len(distance),) * 2, np.nan)
    found[rows, columns] = found[columns, rows] = 1 - cost / distance[rows, columns]
    return found


def ricci_flow(
    lengths: ArrayLike, *, n_steps: int = 10, laziness: float = 0.5
) -> tuple[Array, NDArray[np.int64]]:
    """Let edges shrink where they are curved above zero and stretch where below, and cut the long.

    Parameters
    ----------
    lengths : array, shape (n, n)
        As in `ollivier_ricci`.
    n_steps : int
        Each makes an edge as long as the transport between its ends, all edges together staying as
        long as they are many.
    laziness : float
        As in `ollivier_ricci`.

    Returns
    -------
    array of float64, shape (n, n)
        Lengths after the flow.
    array of int64, shape (n,)
        The community of each node: what hangs together when edges above a length are cut, the
        length at which modularity is largest.

    Notes
    -----
    Source: Ni et al. 2019, Community detection on networks with Ricci flow; without surgery between
    the steps.

    Examples
    --------
    >>> two = np.kron(np.eye(2, dtype=bool), ~np.eye(4, dtype=bool))
    >>> two[0, 4] = two[4, 0] = True
    >>> ricci_flow(two)[1].tolist()
    [0, 0, 0, 0, 1, 1, 1, 1]
    """
    made = np.array(lengths, dtype=np.float64)
    graph = made > 0
    for _ in range(n_steps):
        rows, columns, _, cost = _transport(made, laziness)
        cost = np.maximum(cost, SHORTEST * cost.mean())
        made[rows, columns] = made[columns, rows] = cost * len(cost) / cost.sum()
    degree, values, labels = graph.sum(1), [], []
    for longest in np.unique(made[graph].round(9))[::-1]:
        label = connected_components(graph & (made <= longest + 1e-9), directed=False)[1]
        inside = graph[label[:, None] == label].sum() / degree.sum()
        values.append(inside - ((np.bincount(label, degree) / degree.sum()) ** 2).sum())
        labels.append(label)
    return made, np.asarray(labels[int(np.argmax(values))], dtype=np.int64)


def _transport(lengths: ArrayLike, laziness: float) -> tuple[Any, Any, Array, Array]:
    """Return ends of each edge, distances of all nodes, and the cost of each edge's transport."""
    made = np.array(lengths, dtype=np.float64)
    if made.ndim != 2 or not np.array_equal(made, made.T) or made.diagonal().any():
        raise NisslError("no symmetric lengths", do="give (n, n), 0 on the diagonal")
    graph = made > 0
    if not graph.any() or not 0 <= laziness < 1:
        raise NisslError(
            f"{graph.sum()} edges, laziness {laziness}", do="give some edges, 0 <= laziness < 1"
        )
    distance = np.asarray(shortest_path(made, directed=False))
    walk = (1 - laziness) * graph / np.maximum(graph.sum(1), 1)[:, None]
    walk += laziness * np.eye(len(graph))
    rows, columns = np.nonzero(np.triu(graph))
    # What both ends share stays; all edges are solved at once, as blocks of one linear programme.
    edges: list[Any] = []
    costs: list[Any] = []
    ends: list[Any] = []
    mass: list[float] = []
    for e, gap in enumerate(walk[rows] - walk[columns]):
        give, take = np.flatnonzero(gap > 1e-12), np.flatnonzero(gap < -1e-12)
        costs.append(distance[np.ix_(give, take)].ravel())
        edges.append(np.full(costs[-1].size, e))
        inside = np.indices((len(give), len(take))).reshape(2, -1)
        ends.append(np.add(inside, [[len(mass)], [len(mass) + len(give)]]))
        mass += [*gap[give], *-gap[take]]
    cost, both = np.concatenate(costs), np.concatenate(ends, axis=1)
    if not len(cost):
        return rows, columns, distance, np.zeros(len(rows))
    where = both.ravel(), np.tile(np.arange(len(cost)), 2)
    sums: Any = {"A_eq": coo_array((np.ones(both.size), where)).tocsr(), "b_eq": mass}
    done: Any = linprog(cost, **sums, method="highs")
    if done.x is None:
        raise NisslError(f"transport was not solved: {done.message}", do="report this graph")
    moved: Any = np.bincount(np.concatenate(edges), cost * done.x, len(rows))
    return rows, columns, distance, moved
