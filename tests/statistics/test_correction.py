import numpy as np
import pytest
from scipy.stats import false_discovery_control

from nissl.errors import NisslError, UnknownName
from nissl.statistics import Test, against_null, benjamini_hochberg, bonferroni
from nissl.statistics.correction import max_statistic


def test_benjamini_hochberg_equals_scipy():
    rng = np.random.default_rng(0)
    for p in (rng.random(1000), rng.random(1000) ** 4, np.round(rng.random(50), 1), np.ones(3)):
        assert np.allclose(benjamini_hochberg(p), false_discovery_control(p, method="bh"))
    grid = rng.random((4, 5))
    assert np.allclose(benjamini_hochberg(grid).ravel(), false_discovery_control(grid.ravel()))


def test_bonferroni_multiplies():
    assert bonferroni([[0.01, 0.5]]).tolist() == [[0.02, 1.0]]


@pytest.mark.parametrize("correct", [benjamini_hochberg, bonferroni])
def test_nan_is_refused(correct):
    with pytest.raises(NisslError, match="between 0 and 1"):
        correct([0.1, np.nan])


def test_max_statistic_counts_maxima_that_reach_the_score():
    rng = np.random.default_rng(0)
    scores, maxima = rng.standard_normal(20), rng.standard_normal(99)
    slow = [(1 + sum(m >= s for m in maxima)) / 100 for s in scores]
    assert np.allclose(max_statistic(scores, maxima), slow)


def test_maximum_controls_any_false_finding_with_and_without_tail():
    # 300 searches of 50 correlated null units: at most 5% (and a margin) find anything.
    rng = np.random.default_rng(1)
    mix = rng.standard_normal((50, 50)) / 7 + np.ones(50) / 5
    for tail in ("permutation", "gpd"):
        hits = 0
        for _ in range(300):
            scores = rng.standard_normal((200, 50)) @ mix
            found = against_null(
                scores[0],
                scores[1:],
                units=[str(i) for i in range(50)],
                score="z",
                method="m",
                null="n",
                test=Test(tail=tail),
            )
            hits += bool(len(found.significant(0.05)))
        assert 4 <= hits <= 29  # 99.9% of Binomial(300, 0.05) lies within


def test_a_maximum_beyond_all_draws_gets_a_small_p_only_from_a_tail():
    maxima = np.random.default_rng(0).gumbel(size=2000)
    assert max_statistic([20.0], maxima)[0] == 1 / 2001
    assert 1e-12 < max_statistic([20.0], maxima, tail="gpd")[0] < 1e-5


def test_unknown_corrections_come_with_those_known():
    with pytest.raises(UnknownName, match="bonferroni"):
        against_null(
            [1.0],
            np.eye(3)[:, :1],
            units=["a"],
            score="s",
            method="m",
            null="n",
            test=Test(correction="bonferoni"),
        )
