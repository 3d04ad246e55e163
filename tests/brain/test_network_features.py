"""Network features: planted 3-cycles at the same degrees are found by 3-cycles, not by degree."""

import numpy as np
import pytest

from nissl.brain import connectivity, decode, network_features
from nissl.errors import NisslError, UnknownName
from nissl.recording import as_recording
from nissl.statistics import Test, masked_lda

N_SUBJECTS, N_UNITS, REGION = 60, 40, 12
GROUP = np.arange(N_SUBJECTS) % 2


def planted(strength, seed=0):
    """Return weights: twelve units have three edges each, in cliques of four or in K33, by group.

    Cliques of four have three triangles a unit, K33 none; elsewhere groups are the same.
    """
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(N_SUBJECTS, N_UNITS, N_UNITS))
    weights = noise + noise.swapaxes(1, 2)
    for w, group in zip(weights, GROUP, strict=True):
        order = rng.permutation(REGION)
        cliques = order[:, None] // 4 == order // 4
        halves = (order[:, None] // 6 == order // 6) & (order[:, None] % 2 != order % 2)
        clique = group if rng.random() < strength else 1 - group
        inner = np.where(cliques if clique else halves, 4.0, 0.0) + 0.1 * w[:REGION, :REGION]
        w[:REGION, :REGION] = inner
    return weights


def score(rec, n_units=REGION, test=None, **how):
    return decode(rec, GROUP, model=masked_lda(n_units, **how), test=test, progress=False)


def test_planted_cycles_are_found_by_cycles_and_not_by_degree():
    weights = planted(0.95)
    cycles = network_features(weights, features=["cycles"])
    found = score(cycles, test=Test(19))
    assert found.score > 0.85
    assert found.finding.table["p"][0] <= 0.05
    mask = masked_lda(REGION).fit(cycles.values, GROUP)[1].get_support()
    assert mask[:REGION].sum() >= 8
    assert score(network_features(weights, features=["degree"])).score < 0.7
    together = network_features(weights, features=["degree", "cycles"])
    assert score(together, n_features=2).score > 0.8


def test_nothing_is_found_where_groups_are_the_same():
    scores = [
        score(network_features(planted(0.5, seed), features=["cycles"])).score for seed in range(8)
    ]
    assert abs(np.mean(scores) - 0.5) < 0.1


def test_labels_of_subjects_and_names_of_units_come_along():
    rng = np.random.default_rng(0)
    samples = {"subject": np.repeat(["a", "b", "c"], 50)}
    units = {"unit": ["V1", "V2", "V4", "MT"]}
    rec = as_recording(rng.standard_normal((150, 4)), samples=samples, units=units)
    made = connectivity(rec, by="subject", test=None)
    features = network_features(made, density=0.5, features=["degree", "cycles"])
    assert features["subject"].values.tolist() == ["a", "b", "c"]
    assert features["unit"].values[[0, 4]].tolist() == ["degree[V1]", "cycles[V1]"]
    assert features["node"].values.tolist() == 2 * ["V1", "V2", "V4", "MT"]
    assert np.array_equal(
        features.values, network_features(made.values, density=0.5, features=["degree", "cycles"])
    )
    one = network_features(connectivity(rec, test=None), density=0.5)
    assert one.shape == (1, 16)


def test_what_is_not_known():
    with pytest.raises(UnknownName, match="did you mean 'degree'"):
        network_features(planted(1), features=["degrees"])
    with pytest.raises(UnknownName, match="feature"):
        network_features(planted(1), features=[])
    with pytest.raises(NisslError, match="density"):
        network_features(planted(1), density=2)
