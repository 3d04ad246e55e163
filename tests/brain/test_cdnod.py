"""CD-NOD: planted graphs and changing mechanisms are found; nothing in independent units."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

from nissl.brain import cdnod
from nissl.errors import NisslError, TooFewSamples, UnknownName
from nissl.recording import as_recording
from nissl.statistics import NotExchangeable
from nissl.statistics.mechanisms import independent_within, same_mechanism

TRUTH = {(0, 1), (1, 2), (3, 2), (2, 4)}


def planted(seed, n=800, n_domains=20):
    """Return 0 -> 1 -> 2 <- 3, 2 -> 4, where the mechanisms of 0 and 1 change, and the domain."""
    rng, domain = np.random.default_rng(seed), np.arange(n) * n_domains // n
    level, gain, spread, weight = (
        rng.uniform(low, high, n_domains)[domain]
        for low, high in ((-1.5, 1.5), (-1, 1), (0.5, 1.5), (-1, 2))
    )
    x = rng.standard_normal((n, 5))
    x[:, 0] = level + spread * x[:, 0]
    x[:, 1] += weight * x[:, 0] + gain
    x[:, 2] += 0.8 * x[:, 1] + 0.8 * x[:, 3]
    x[:, 4] += 0.8 * x[:, 2]
    return x, domain


def pairs(found):
    """Return directed edges, and all."""
    at = {name: i for i, name in enumerate(found.units["unit"])}
    table = found.edges
    every = [(at[a], at[b]) for a, b in zip(table["source"], table["target"], strict=True)]
    return {pair for pair, how in zip(every, table["oriented"], strict=True) if how}, every


def test_planted_graph_directions_and_changing_units_are_found():
    found = [cdnod(x, over=domain) for x, domain in map(planted, range(3))]
    directed = [pairs(one)[0] for one in found]
    assert np.mean([len(one & TRUTH) / len(TRUTH) for one in directed]) >= 0.9
    assert sum(len(pairs(one)[1]) for one in found) <= 3 * len(TRUTH) + 2
    changing = [one.units["changes"].tolist() for one in found]
    assert changing.count([True, True, False, False, False]) >= 2
    # 0 and 1 both change: no conditional independence tells their direction.
    by_changes = [one.edges[one.edges["oriented"] == "independent changes"] for one in found]
    rows = [one[one["target"] == "unit[1]"] for one in by_changes]
    assert sum(len(one) for one in rows) >= 2
    assert all((one["dependence"] < one["reverse"]).all() for one in by_changes)
    assert len(found[0].plot().axes) >= 2
    plt.close("all")


def test_no_edges_at_more_than_the_level_in_independent_units():
    rng, domain = np.random.default_rng(0), np.arange(300) // 30
    found = [cdnod(rng.standard_normal((300, 5)), over=domain) for _ in range(20)]
    edges = sum(len(one.edges) for one in found)  # of 200
    assert 2 <= edges <= 18
    assert sum(one.units["changes"].sum() for one in found) <= 10  # of 100


def test_a_few_domains_orient_by_invariance_alone():
    x, domain = planted(0, n_domains=3)
    found = cdnod(x, over=np.array(["asleep", "awake", "drowsy"])[domain])
    assert len(found.edges) >= len(TRUTH)
    assert "independent changes" not in set(found.edges["oriented"])


def test_time_and_the_kernel_test_find_a_mechanism_that_drifts():
    rng, n = np.random.default_rng(0), 160
    x = rng.standard_normal((n, 2))
    x[:, 1] = np.sin(np.linspace(0, 3, n)) * 2 * x[:, 0] + np.linspace(0, 3, n) + 0.5 * x[:, 1]
    for independence in ("fisher_z", "kernel"):
        found = cdnod(x, independence=independence, n_windows=5)
        assert pairs(found)[0] == {(0, 1)}
        assert found.units["changes"].tolist() == [False, True]


def test_tests_of_mechanisms_agree_with_their_parts():
    from scipy.stats import f_oneway, pearsonr

    rng, domain = np.random.default_rng(0), np.repeat([0, 1, 2], 40)
    x = rng.standard_normal((120, 2))
    z = [np.arctanh(pearsonr(*x[domain == d].T)[0]) for d in range(3)]
    from scipy.stats import chi2, combine_pvalues, levene

    p = chi2.sf(37 * np.square(z).sum(), 3)
    np.testing.assert_allclose(independent_within(x, 0, 1, [], domain), p)
    groups = [x[domain == d, 0] for d in range(3)]
    p = combine_pvalues([f_oneway(*groups).pvalue, levene(*groups).pvalue]).pvalue
    np.testing.assert_allclose(same_mechanism(x, 0, [], domain), p)


def test_a_recording_gives_names_domains_and_any_kind_of_array():
    x, domain = planted(0)
    rec = as_recording(x, samples={"subject": domain}, units={"unit": list("abcde")})
    named, plain = cdnod(rec, over="subject"), cdnod(np.asfortranarray(x), over=domain)
    assert named.units["unit"].tolist() == list("abcde")
    np.testing.assert_array_equal(named.edges["p"], plain.edges["p"])
    x.setflags(write=False)
    assert len(cdnod(x[:, ::-1], over=list(domain)).edges) == len(plain.edges)


def test_bad_input_is_named(monkeypatch):
    x, domain = planted(0)
    with pytest.raises(NisslError, match="do not vary"):
        cdnod(np.c_[x, np.ones(len(x))], over=domain)
    with pytest.raises(NisslError, match="follow from the others"):
        cdnod(np.c_[x, x[:, 0] + x[:, 1]], over=domain)
    with pytest.raises(NisslError, match="NaN"):
        cdnod(np.where(x == x[3, 3], np.nan, x), over=domain)
    with pytest.raises(TooFewSamples):
        cdnod(x[:100], over=domain[:100] * 0)
    with pytest.raises(TooFewSamples):
        cdnod(x, over=np.arange(len(x)))
    with pytest.raises(TooFewSamples):
        cdnod(x[:60], n_windows=10)
    with pytest.raises(NotExchangeable, match="autocorrelation"):
        cdnod(np.cumsum(x, axis=0), over=domain)
    with pytest.raises(UnknownName):
        cdnod(x, over=domain, independence="fisherz")
    with pytest.raises(NisslError, match="names a sample coordinate"):
        cdnod(x, over="subject")
    with pytest.raises(NisslError, match="alpha"):
        cdnod(x, over=domain, alpha=5)
    for name in [name for name in sys.modules if name.startswith("causallearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "causallearn", None)
    with pytest.raises(NisslError, match="causal-learn") as caught:
        cdnod(x, over=domain)
    assert "nissl[causal]" in caught.value.do
