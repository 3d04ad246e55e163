"""Features of nodes, against networkx and against all triples by hand."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.statistics import node_features


def graphs(n_graphs=4, n=15, seed=0):
    w = np.random.default_rng(seed).normal(size=(n_graphs, n, n))
    return w + w.swapaxes(1, 2)


@pytest.mark.parametrize("density", [0.05, 0.3, 1.0])
def test_features_are_those_of_networkx_and_of_triples(density):
    weights = graphs()
    found = node_features(weights, density=density)
    for g, w in enumerate(weights):
        pairs = sorted(combinations(range(len(w)), 2), key=lambda ij, w=w: -w[ij])
        graph = nx.Graph()
        graph.add_nodes_from(range(len(w)))
        graph.add_weighted_edges_from((i, j, w[i, j]) for i, j in pairs[: round(density * 105)])
        assert found["degree"][g].tolist() == [graph.degree[u] for u in graph]
        strength = [graph.degree(u, weight="weight") for u in graph]
        assert np.allclose(found["strength"][g], strength)
        assert found["cycles"][g].tolist() == list(nx.triangles(graph).values())
        assert np.allclose(found["clustering"][g], list(nx.clustering(graph).values()))
        by_hand = np.zeros(len(w))
        for triple in combinations(range(len(w)), 3):
            if all(graph.has_edge(*pair) for pair in combinations(triple, 2)):
                by_hand[list(triple)] += 1
        assert np.array_equal(found["cycles"][g], by_hand)


def test_diagonals_layout_and_type_do_not_matter():
    weights = graphs()
    wanted = node_features(weights, density=0.2)
    other = weights.copy()
    other[:, range(15), range(15)] = np.nan
    frozen = np.asfortranarray(weights)
    frozen.flags.writeable = False
    for given in (other, frozen, np.repeat(weights, 2, axis=0)[::2]):
        found = node_features(given, density=0.2)
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    single = node_features(weights.astype(np.float32), density=0.2)
    assert np.array_equal(single["cycles"], wanted["cycles"])


def test_what_is_no_graph():
    weights = graphs()
    for given in (weights[0], weights[:, :3], np.zeros(3)):
        with pytest.raises(NisslError, match="shape"):
            node_features(given)
    for density in (0, 0.001, 1.1, np.nan):
        with pytest.raises(NisslError, match="no edge"):
            node_features(weights, density=density)
    with pytest.raises(NisslError, match="no edge"):
        node_features(np.ones((2, 1, 1)))
    with pytest.raises(NisslError, match="no edge"):
        node_features(np.ones((2, 0, 0)))
    weights[1, 2, 3] += 1
    with pytest.raises(NisslError, match="symmetric"):
        node_features(weights)
    weights[1, 2, 3] = weights[1, 3, 2] = np.nan
    with pytest.raises(NisslError, match="finite"):
        node_features(weights)
