"""Ricci curvature of graphs: closed forms, a slow transport, communities that were planted."""

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.metrics import adjusted_rand_score

from nissl import NisslError
from nissl.statistics import neighbour_graph, ollivier_ricci, ricci_flow

RNG = np.random.default_rng(0)


def joined(n, edges):
    graph = np.zeros((n, n), dtype=bool)
    for i, j in edges:
        graph[i, j] = graph[j, i] = True
    return graph


def cycle(n):
    return joined(n, [(i, (i + 1) % n) for i in range(n)])


def cube(d):
    return joined(2**d, [(i, i ^ (1 << b)) for i in range(2**d) for b in range(d)])


def torus(n):
    node = np.arange(n * n).reshape(n, n)
    right, below = np.roll(node, -1, 1), np.roll(node, -1, 0)
    return joined(n * n, np.stack([[*node.flat] * 2, [*right.flat, *below.flat]], axis=1))


def tree(depth):
    n = 2 ** (depth + 1) - 1
    return joined(n, [(i, (i - 1) // 2) for i in range(1, n)])


CLOSED = [
    ("complete", ~np.eye(6, dtype=bool), 6 / 5),
    ("cycle of 3", cycle(3), 3 / 2),
    ("cycle of 4", cycle(4), 1.0),
    ("cycle of 5", cycle(5), 1 / 2),
    ("cycle of 9", cycle(9), 0.0),
    ("hypercube", cube(4), 2 / 4),
    ("grid", torus(7), 0.0),
]


@pytest.mark.parametrize(("graph", "value"), [c[1:] for c in CLOSED], ids=[c[0] for c in CLOSED])
@pytest.mark.parametrize("laziness", [0.5, 0.8])
def test_closed_forms(graph, value, laziness):
    found = ollivier_ricci(graph, laziness=laziness) / (1 - laziness)
    assert np.isnan(found[~graph]).all()
    assert found[graph] == pytest.approx(value, abs=1e-7)
    assert ollivier_ricci(3.0 * graph)[graph] == pytest.approx(ollivier_ricci(graph)[graph])


def test_a_tree_is_curved_below_zero():
    graph, degree = tree(4), tree(4).sum(1)
    found = ollivier_ricci(graph) / 0.5
    for i, j in np.argwhere(graph):
        if min(degree[i], degree[j]) > 1:
            assert found[i, j] == pytest.approx(2 / degree[i] + 2 / degree[j] - 2, abs=1e-7)
            assert found[i, j] < 0 or degree[i] + degree[j] < 6


def test_against_a_slow_transport():
    lengths = np.triu(RNG.random((9, 9)) * (RNG.random((9, 9)) < 0.5), 1)
    lengths = lengths + lengths.T
    apart = np.where(lengths > 0, lengths, np.inf)
    np.fill_diagonal(apart, 0)
    for k in range(9):
        apart = np.minimum(apart, apart[:, [k]] + apart[[k]])
    found = ollivier_ricci(lengths, laziness=0.3)
    for i, j in np.argwhere(lengths > 0):
        walks = [np.where(lengths[v] > 0, 0.7 / (lengths[v] > 0).sum(), 0) for v in (i, j)]
        walks[0][i] = walks[1][j] = 0.3
        plans = [np.kron(np.eye(9), np.ones(9)), np.kron(np.ones(9), np.eye(9))]
        cost = np.minimum(apart, 1e3).ravel()
        slow = linprog(cost, A_eq=np.vstack(plans), b_eq=np.concatenate(walks)).fun
        assert found[i, j] == pytest.approx(1 - slow / apart[i, j], abs=1e-6)


def test_flow_finds_planted_communities_and_none_where_there_is_one():
    label = np.repeat(np.arange(3), 12)
    same = label[:, None] == label
    graph = np.triu(RNG.random((36, 36)) < np.where(same, 0.6, 0.06), 1)
    graph = graph | graph.T
    lengths, found = ricci_flow(graph)
    assert adjusted_rand_score(label, found) > 0.9
    assert lengths[graph & ~same].mean() > 2 * lengths[graph & same].mean()
    assert lengths[graph].mean() == pytest.approx(1)
    assert set(ricci_flow(~np.eye(8, dtype=bool))[1]) == {0}


def test_what_cannot_be_is_said():
    with pytest.raises(NisslError, match="neighbours"):
        neighbour_graph(np.ones((4, 4)), 4)
    with pytest.raises(NisslError, match="symmetric"):
        ollivier_ricci(np.triu(np.ones((3, 3))))
    with pytest.raises(NisslError, match="edges"):
        ricci_flow(np.zeros((3, 3)))
    with pytest.raises(NisslError, match="laziness"):
        ollivier_ricci(cycle(4), laziness=1.0)
