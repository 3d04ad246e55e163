"""Coverage: inputs whose states are not those of training are told apart, by unit and together."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from nissl import NisslError
from nissl.recording import as_recording
from nissl.selectivity import activation_states, coverage
from nissl.statistics import Coverage, PermutedLabels, Test, rate

N_UNITS, ODD, DEAD = 30, (4, 17), 9
UNITS = {"site": np.repeat(["a", "b"], [10, 20]), "index": [*range(10), *range(20)]}


def states(n, seed, *, plant=False, units=UNITS, **samples):
    """States in the lower half; planted, two units are in the upper half. One does nothing."""
    n_units = len(units["site"])
    values = np.random.default_rng(seed).random((n, n_units)) / 2
    if plant:
        values[:, ODD] = 1 - values[:, ODD]
    if n_units == N_UNITS:
        values[:, DEAD] = 0.5
    return as_recording(values, samples=samples, units=units)


def test_units_of_other_support_are_found():
    train, inside, outside = states(800, 0), states(60, 1), states(60, 2, plant=True)
    found = coverage(train, inside, outside, bins=10, progress=False)
    assert sorted(found.significant().units) == ["a[4]", "b[7]"]
    table = found.table.set_index("unit")
    assert (table.loc[["a[4]", "b[7]"], "auroc"] == 1).all()
    assert (table.loc[["a[4]", "b[7]"], "outside"] == 0).all()
    assert np.allclose(table.drop("a[9]")["area"], 0.5)
    assert table.loc["a[9]", ["auroc", "area", "p"]].tolist() == [0.5, 0.1, 1]
    assert "not tested" in table.loc["a[9]", "note"]
    assert found.provenance["n_train"] == 800
    assert not table.select_dtypes("number").isna().any().any()


def test_sites_and_the_network_are_scored_as_their_means():
    train, inside, outside = states(800, 0), states(60, 1), states(50, 2, plant=True)
    fitted = Coverage(N_UNITS)
    fitted.update(train.values)
    is_inside = np.arange(110) < 60
    new = np.concatenate([inside.values, outside.values])
    site = coverage(train, inside, outside, by="site", progress=False).table.set_index("unit")
    network = coverage(train, inside, outside, by="network", progress=False).table
    first = fitted.of(new)[:, :10].mean(axis=1)
    assert site.index.tolist() == ["a", "b"]
    assert site.loc["a", "auroc"] == pytest.approx(roc_auc_score(is_inside, first))
    assert network["unit"].tolist() == ["network"]
    score = fitted.score(new, UNITS["site"])
    assert network["auroc"][0] == pytest.approx(roc_auc_score(is_inside, score))
    assert network["area"][0] == pytest.approx(fitted.criterion(UNITS["site"]))
    assert network["p"][0] < 0.01


def test_nothing_where_there_is_nothing():
    units = {"site": np.full(600, "a"), "index": np.arange(600)}
    train, inside, outside = (states(n, s, units=units) for n, s in ((300, 6), (40, 7), (40, 8)))
    table = coverage(
        train,
        inside,
        outside,
        full_density=2.5,
        test=Test(n_permutations=199, correction=None),
        progress=False,
    ).table
    assert rate(table["p"], level=0.999).holds
    assert rate(table["p"], alpha=0.25, level=0.999).holds


def test_inputs_of_one_block_are_permuted_together():
    train = states(300, 0)
    inside = states(40, 1, trial=np.repeat(np.arange(8), 5), only=np.zeros(40))
    outside = states(40, 2, plant=True, trial=np.repeat(np.arange(8), 5))
    with pytest.raises(NisslError, match="samples of one 'trial' are not independent"):
        coverage(train, inside, outside, progress=False)
    found = coverage(
        train, inside, outside, test=Test(null=PermutedLabels(exchange="trial")), progress=False
    )
    assert sorted(found.significant().units) == ["a[4]", "b[7]"]
    assert found.provenance["n_blocks"] == 16


def test_what_cannot_be_is_refused():
    train, inside = states(50, 0), states(20, 1)
    with pytest.raises(NisslError, match="units are not those of `train`"):
        coverage(train, inside, states(20, 2)[:, 1:], progress=False)
    for broken in (inside + 0.8, inside * np.nan):
        with pytest.raises(NisslError, match="not between 0 and 1"):
            coverage(train, inside, broken, progress=False)
    with pytest.raises(NisslError, match="units"):
        coverage(train, inside, inside, by="units", progress=False)


def test_what_does_nothing_is_in_the_middle_and_each_site_has_its_steepness():
    values = np.random.default_rng(5).standard_normal((9, N_UNITS))
    values[:, 2] = 0
    rec = as_recording(values, units=UNITS, quantity="attribution")
    found = activation_states(rec, alpha={"a": 2, "b": 0.1})
    assert np.allclose(found, 1 / (1 + np.exp(-values * np.repeat([2, 0.1], [10, 20]))))
    assert (found[:, 2] == 0.5).all()
    assert found.attrs["quantity"] == "activity"
    assert np.array_equal(activation_states(rec, alpha=2)[:, :10], found[:, :10])
    for alpha in (0, -1, np.nan):
        with pytest.raises(NisslError, match="not above 0"):
            activation_states(rec, alpha=alpha)
    with pytest.raises(NisslError, match="give alpha= for 'b' as well"):
        activation_states(rec, alpha={"a": 1})
