import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.statistics import bootstrap_interval
from nissl.statistics.bootstrap import jackknife_margin


def mean(values):
    return values.mean(axis=0)


@pytest.mark.parametrize("kind", ["bca", "percentile"])
def test_interval_covers_the_mean_at_its_level(kind):
    # 1,500 columns are as many experiments of 40 samples.
    values = np.random.default_rng(0).standard_normal((40, 1500))
    found = bootstrap_interval(values, statistic=mean, kind=kind, n_resamples=800)
    covered = np.mean((found.low <= 0) & (found.high >= 0))
    assert 0.91 < covered < 0.97


def test_bca_covers_a_skewed_statistic_better_than_percentiles():
    def variance(values):
        return values.var(axis=0, ddof=1)

    values = np.random.default_rng(0).standard_normal((40, 1500))
    missed = {}
    for kind in ("bca", "percentile"):
        found = bootstrap_interval(values, statistic=variance, kind=kind, n_resamples=800)
        missed[kind] = np.mean((found.low > 1) | (found.high < 1))
    assert missed["bca"] < missed["percentile"]
    assert missed["bca"] < 0.11


def test_groups_are_drawn_whole_and_widen_the_interval():
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(25), 8)
    values = rng.standard_normal((25, 800))[block] + 0.3 * rng.standard_normal((200, 800))
    alone = bootstrap_interval(values, statistic=mean, n_resamples=400)
    whole = bootstrap_interval(values, statistic=mean, groups=block, n_resamples=400)
    assert np.mean((alone.low <= 0) & (alone.high >= 0)) < 0.65
    assert 0.89 < np.mean((whole.low <= 0) & (whole.high >= 0)) < 0.97


def test_equals_scipy_on_one_column():
    from scipy import stats

    values = np.random.default_rng(1).exponential(size=50)
    found = bootstrap_interval(values, statistic=np.mean, n_resamples=8000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=8000, method="BCa", rng=0)
    assert found.low == pytest.approx(theirs.confidence_interval.low, rel=0.01)
    assert found.high == pytest.approx(theirs.confidence_interval.high, rel=0.01)
    assert found.standard_error == pytest.approx(theirs.standard_error, rel=0.04)


def test_labels_are_drawn_with_their_samples():
    values = np.arange(40.0)
    found = bootstrap_interval(
        values, values * 2, statistic=lambda v, y: (y / np.maximum(v, 1)).max(), n_resamples=100
    )
    assert found.high == found.estimate == 2


def test_the_seed_decides():
    values = np.random.default_rng(0).standard_normal((30, 2))
    runs = [bootstrap_interval(values, statistic=mean, n_resamples=50, seed=s) for s in (0, 0, 1)]
    assert np.array_equal(runs[0].low, runs[1].low)
    assert not np.array_equal(runs[0].low, runs[2].low)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"groups": np.zeros(20)}, "1 groups are too few"),
        ({"groups": np.zeros(3)}, "length"),
        ({"level": 95}, "no coverage"),
        ({"kind": "bcaa"}, "bca"),
    ],
)
def test_bad_options_are_refused(options, says):
    with pytest.raises(NisslError, match=says):
        bootstrap_interval(np.zeros((20, 2)), statistic=mean, **options)


def test_the_jackknife_of_a_mean_is_students_interval():
    from scipy.stats import sem, t

    values = np.random.default_rng(0).standard_normal((12, 3))
    without = [np.delete(values, i, axis=0).mean(axis=0) for i in range(12)]
    for level in (0.95, 0.5):
        half = t.interval(level, 11, scale=sem(values))[1]
        np.testing.assert_allclose(jackknife_margin(without, level=level), half)
