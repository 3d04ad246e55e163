"""Tails down to p = 1e-6 against distributions whose tails are known."""

import numpy as np
import pytest
from scipy import stats

from nissl.statistics import tails as module
from nissl.statistics.pvalues import compare
from nissl.statistics.tails import gpd_tail, normal_tail

LEVELS = (1e-3, 1e-4, 1e-5, 1e-6)


def drawn(law, n_draws, n_units, seed=0):
    return law.ppf(np.random.default_rng(seed).random((n_draws, n_units)))


@pytest.mark.parametrize("level", LEVELS)
def test_normal_tail_is_right_to_a_factor_of_two(level):
    draws = drawn(stats.norm(), 5000, 300)
    z = (stats.norm.isf(level) - draws.mean(axis=0)) / draws.std(axis=0, ddof=1)
    p, normal = normal_tail(z, (draws - draws.mean(axis=0)) / draws.std(axis=0), two_sided=False)
    # Far out, one sign of a heavier tail at 0.05 is enough to be refused.
    assert 0.86 < normal.mean() < (1 if level > 0.1 / 5000 else 0.95)
    middle, ends = np.median(p), np.quantile(p, [0.05, 0.95])
    assert 0.8 < middle / level < 1.25
    assert level / 2.5 < ends[0] < ends[1] < level * 2.5
    both, _ = normal_tail(-z, draws, two_sided=True)
    assert np.allclose(both, 2 * p)


def test_normal_tail_sees_what_is_not_normal():
    for law in (stats.expon(), stats.t(4), stats.beta(0.5, 0.5)):
        draws = drawn(law, 1000, 50)
        assert not normal_tail(np.zeros(50), draws, two_sided=True)[1].any()


class Bimodal:
    """The mean of a unit that is active in a single sample, in one of five draws in the group."""

    ppf = staticmethod(lambda u: (u > 0.8) + 0.2 * stats.norm.ppf(5 * u % 1))
    sf = staticmethod(lambda x: 0.8 * stats.norm.sf(x / 0.2) + 0.2 * stats.norm.sf((x - 1) / 0.2))
    isf = staticmethod(lambda q: 1 + 0.2 * stats.norm.isf(min(5 * q, 0.9)))


@pytest.mark.parametrize(
    ("law", "n", "factor"),
    [
        (stats.norm(), 1000, 2),
        (stats.t(20), 1000, 20),
        (stats.t(10), 1000, 15),
        (stats.gamma(100), 1000, 7),
        (stats.t(20), 10_000, 4),
        (Bimodal, 1000, 30),
        (Bimodal, 10_000, 8),
    ],
    ids=["normal", "t20", "t10", "gamma100", "t20-10000", "bimodal", "bimodal-10000"],
)
def test_both_tails_call_null_scores_no_more_often_than_is_stated(law, n, factor):
    level, n_units = 1e-6, 400 if n == 1000 else 60
    draws = drawn(law, n, n_units, seed=1)
    mean, sd = draws.mean(axis=0), draws.std(axis=0, ddof=1)
    low, high = np.full(n_units, law.isf(0.02)), np.full(n_units, law.isf(1e-14))
    for _ in range(14):
        middle = (low + high) / 2
        p, normal = normal_tail((middle - mean) / sd, (draws - mean) / sd, two_sided=False)
        pareto, good = gpd_tail(middle, draws)
        called = np.where(normal, p, np.where(good, pareto, 1.0)) <= level
        low, high = np.where(called, low, middle), np.where(called, middle, high)
    assert np.mean(law.sf(high)) < factor * level


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "law",
    [stats.norm(), stats.halfnorm(), stats.expon(), stats.gamma(4), stats.t(5)],
    ids=["normal", "halfnormal", "exponential", "gamma", "t5"],
)
def test_pareto_tail_is_right_to_a_decade_in_the_middle(law, level):
    p, good = gpd_tail(np.full(300, law.isf(level)), drawn(law, 5000, 300))
    assert good.mean() > 0.98
    error = np.log10(p[good] / level)
    assert abs(np.median(error)) < 0.1 + 0.25 * -np.log10(level / 1e-3)
    assert np.abs(np.quantile(error, [0.05, 0.95])).max() < 2
    # What a search pays for: how often a null score is called below the level, and it is not much.
    assert np.mean(error < -1) < 0.12


@pytest.mark.parametrize(("level", "factor"), [(1e-4, 2), (1e-6, 5)])
@pytest.mark.parametrize(
    "law", [stats.norm(), stats.expon(), stats.t(5)], ids=["normal", "exponential", "t5"]
)
def test_pareto_tail_calls_null_scores_not_much_too_often(law, level, factor):
    # For each fit the score at which it says `level`, and the true chance of such a score.
    draws = drawn(law, 5000, 300, seed=3)
    low, high = np.full(300, law.isf(0.02)), np.full(300, law.isf(1e-14))
    for _ in range(14):
        middle = (low + high) / 2
        p, good = gpd_tail(middle, draws)
        called = good & (p <= level)
        low, high = np.where(called, low, middle), np.where(called, middle, high)
    assert 0.5 * level < np.mean(law.sf(high)) < factor * level


def test_p_is_never_zero_and_falls_as_the_score_grows():
    draws = drawn(stats.uniform(), 1000, 1)
    scores = np.linspace(0.9, 5, 60)
    p = np.array([gpd_tail(np.array([s]), draws)[0][0] for s in scores])
    assert p.min() > 0
    assert (np.diff(p) <= 0).all()


def test_ties_never_give_what_is_no_probability():
    rng = np.random.default_rng(0)
    for _ in range(400):
        n = rng.integers(200, 1200)
        draws = rng.standard_normal((n, 4)) ** rng.integers(1, 4) * 10.0 ** rng.integers(-3, 2)
        draws = np.round(draws, rng.integers(0, 3)) * 10.0 ** rng.integers(-8, 8)
        observed = draws.max(axis=0) * rng.choice([0.5, 1, 1.0001, 2, 100])
        p, _ = gpd_tail(observed, draws)
        assert ((p > 0) & (p <= 1)).all()
        for tail in ("gpd", "normal"):
            p = compare(observed, draws, tail=tail).p
            assert ((p > 0) & (p <= 1)).all()


def test_too_few_or_tied_draws_are_not_fitted():
    assert not gpd_tail(np.array([9.0]), drawn(stats.norm(), 60, 1))[1].any()
    assert not gpd_tail(np.array([9.0]), np.zeros((1000, 1)))[1].any()


def test_a_fit_that_is_poor_is_not_used():
    # Two values far apart in the tail are no generalised Pareto at any threshold.
    draws = np.concatenate([np.zeros(500), np.ones(250), np.full(250, 9.0)])[:, None]
    assert not gpd_tail(np.array([20.0]), draws)[1].any()


def test_critical_values_hold_their_level():
    rng = np.random.default_rng(5)
    for shape in (-0.3, 0.0, 0.2):
        u = rng.random((250, 1500))
        over = np.sort((u**-shape - 1) / shape if shape else -np.log(u), axis=0)
        rejected = 1 - module._fit(over, over[-1])[1].mean()
        assert 0.03 < rejected < 0.075
