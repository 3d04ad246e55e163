import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.statistics import Test, against_null
from nissl.statistics.pvalues import compare
from nissl.statistics.test import ALTERNATIVES


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_p_values_count_draws_with_the_observed_one(alternative):
    rng = np.random.default_rng(0)
    draws, observed = rng.gamma(2, size=(99, 30)), rng.gamma(2, size=30)
    found = compare(observed, draws, alternative=alternative)
    middle = (draws.sum(axis=0) + observed) / 100
    slow = {
        "greater": (draws >= observed).sum(axis=0),
        "less": (draws <= observed).sum(axis=0),
        "two-sided": (np.abs(draws - middle) >= np.abs(observed - middle)).sum(axis=0),
    }
    assert np.allclose(found.p, (1 + slow[alternative]) / 100)


def test_scores_equal_to_draws_count_as_reached_whatever_their_rounding():
    draws = np.tile([[0.0], [1.0]], (50, 1))
    assert compare([1.0 + 1e-12], draws, alternative="greater").p[0] == 51 / 101


def test_p_values_are_exact_for_exchangeable_scores():
    # The rank of one among 20 alike is even: P(p <= k / 20) = k / 20.
    scores = np.random.default_rng(0).standard_normal((20, 20000))
    p = compare(scores[0], scores[1:]).p
    for k in (1, 2, 5, 10):
        assert np.mean(p <= k / 20 + 1e-9) == pytest.approx(k / 20, abs=0.008)


def test_a_score_equal_to_draws_that_do_not_vary_is_not_tested():
    found = against_null(
        [0.1, 9.0],
        np.stack([np.full(99, 0.1) + 1e-9, np.arange(99.0) / 99], axis=1),
        units=["a", "b"],
        score="s",
        method="m",
        null="n",
    )
    assert found.table["p"].tolist() == [1.0, 0.01]
    assert found.table["note"].tolist() == [
        "not tested: it equals all draws, or is not finite",
        "",
    ]
    assert found.significant().units == ["b"]


@pytest.mark.parametrize("tail", ["permutation", "normal", "gpd"])
def test_a_score_apart_from_draws_that_do_not_vary_has_its_rank(tail):
    flat = np.full((99, 3), 0.25)
    scores = [0.4, 0.25, 0.1]
    p = {a: compare(scores, flat, alternative=a, tail=tail).p.tolist() for a in ALTERNATIVES}
    assert p == {"two-sided": [0.01, 1, 0.01], "greater": [0.01, 1, 1], "less": [1, 1, 0.01]}
    # A draw as far on the other side of the known mean reaches the score.
    assert compare([0.4], flat[:, :1], centre=0.325).p[0] == 1


def test_draws_that_seldom_vary_keep_the_level():
    # One among 20 exchangeable scores that are mostly 0: the +1 rule holds for any of them.
    scores = np.random.default_rng(0).binomial(1, 0.02, (20, 50_000)).astype(float)
    found = compare(scores[0], scores[1:], alternative="greater")
    for k in (1, 2, 5):
        assert np.mean(found.p <= k / 20 + 1e-9) <= k / 20 + 0.004


def test_scores_that_are_not_finite_are_not_significant():
    draws = np.random.default_rng(0).standard_normal((99, 4))
    draws[3, 2] = np.inf
    for tail in ("permutation", "normal", "gpd"):
        found = compare([9.0, np.nan, 9.0, np.inf], draws, tail=tail)
        assert found.p[0] <= 0.01
        assert found.p[1:].tolist() == [1, 1, 1]


def test_one_column_of_draws_serves_all_units():
    draws = np.random.default_rng(0).standard_normal((199, 1))
    found = against_null(
        [0.0, 5.0, -5.0],
        draws,
        units=list("abc"),
        score="s",
        method="m",
        null="n",
        alternative="less",
        test=Test(correction="bh"),
    )
    assert found.significant().units == ["c"]


def test_a_normal_tail_that_does_not_fit_falls_back_and_says_so():
    rng = np.random.default_rng(0)
    draws = np.stack(
        [rng.standard_normal(2000), rng.exponential(size=2000), rng.integers(0, 2, 2000)], axis=1
    )
    found = compare([5.0, 14.0, 3.0], draws, alternative="greater", tail="normal")
    assert found.tail.tolist() == ["normal", "gpd", "permutation"]
    assert found.p[0] == pytest.approx(2.9e-7, rel=1)
    assert 1e-9 < found.p[1] < 1e-4
    assert found.p[2] == 1 / 2001


def test_no_p_is_below_what_the_null_can_reach():
    draws = np.random.default_rng(0).standard_normal((999, 1))
    for tail in ("permutation", "normal", "gpd"):
        for correction in ("max", "bh", "bonferroni", None):
            found = against_null(
                [30.0, 30.0],
                draws,
                units=["a", "b"],
                score="s",
                method="m",
                null="n",
                least_p=[0.01, 0.02],
                test=Test(tail=tail, correction=correction),
            ).table
            assert found["p"].tolist() == [0.01, 0.02]
            assert correction is None or (found["q"] >= found["p"]).all()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(NisslError, match="do not fit"):
        compare([1.0, 2.0], np.zeros((10, 3)))
