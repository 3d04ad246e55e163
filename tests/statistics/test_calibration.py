"""False positives and power of the tests, on data whose truth is known: units are the repeats."""

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.statistics import (
    CircularShift,
    PermutedLabels,
    Test,
    false_positive_rate,
    permutation_test,
    power,
    rate,
)


def run(values, labels, **options):
    return permutation_test(values, labels, progress=False, **options)


def autocorrelated(rng, n_samples, n_units, memory=0.95):
    from scipy.signal import lfilter

    noise = rng.standard_normal((n_samples + 200, n_units))
    return lfilter([1.0], [1.0, -memory], noise, axis=0)[200:]


def test_the_interval_is_that_of_scipy():
    from scipy.stats import binomtest

    for k in (0, 3, 100):
        found = rate(np.r_[np.zeros(k), np.ones(100 - k)], level=0.95)
        low, high = binomtest(k, 100).proportion_ci(0.95)
        assert (found.low, found.high) == pytest.approx((low, high))
    with pytest.raises(NisslError):
        rate([])


@pytest.mark.parametrize("tail", ["permutation", "normal", "gpd"])
@pytest.mark.parametrize("score", ["cohens_d", "auroc", "average_precision"])
def test_level_holds_for_single_samples(tail, score):
    def nothing(rng):
        return rng.standard_normal((60, 1500)), np.arange(60) % 3 == 0

    for alpha in (0.05, 0.01):
        found = false_positive_rate(
            lambda x, y: run(
                x, y, score=score, test=Test(n_permutations=400, tail=tail, correction=None)
            ),
            nothing,
            n_repeats=2,
            alpha=alpha,
            level=0.999,
        )
        assert found.holds, found


@pytest.mark.parametrize("tail", ["permutation", "gpd"])
def test_level_holds_for_skewed_sparse_activity(tail):
    def sparse(rng):
        x = np.maximum(rng.standard_normal((80, 1500)) - 1, 0) ** 3
        return x, np.arange(80) % 2

    found = false_positive_rate(
        lambda x, y: run(x, y, test=Test(n_permutations=400, tail=tail, correction=None)),
        sparse,
        n_repeats=2,
        level=0.999,
    )
    assert found.holds, found


def test_testing_single_tokens_of_documents_finds_what_is_not_there_and_blocks_do_not():
    document = np.repeat(np.arange(30), 20)

    def topics(rng):
        # Each document has a topic that its tokens share; labels are of documents.
        shared = rng.standard_normal((30, 1000))[document]
        return shared + rng.standard_normal((600, 1000)), rng.permutation(30)[document] % 2

    each = np.arange(600)
    by_token = false_positive_rate(
        lambda x, y: run(x, y, exchange=each, test=Test(n_permutations=200, correction=None)),
        topics,
        n_repeats=2,
    )
    by_block = false_positive_rate(
        lambda x, y: run(x, y, exchange=document, test=Test(n_permutations=400, correction=None)),
        topics,
        n_repeats=2,
        level=0.999,
    )
    assert by_token.rate > 0.3
    assert by_token.exceeds
    assert by_block.holds, by_block


def test_testing_single_time_points_finds_what_is_not_there_and_shifts_do_not():
    def slow_series(rng):
        # Fresh labels for every 25 units, so that units are repeats of the whole test.
        return autocorrelated(rng, 1000, 25), autocorrelated(rng, 1000, 1)[:, 0]

    def by_point(x, y):
        return run(
            x,
            y,
            score="correlation",
            exchange=np.arange(1000),
            test=Test(n_permutations=99, correction=None),
        )

    def by_shift(x, y, min_shift=1):
        return run(
            x,
            y,
            score="correlation",
            test=Test(n_permutations=99, null=CircularShift(min_shift=min_shift), correction=None),
        )

    assert false_positive_rate(by_point, slow_series, n_repeats=20).rate > 0.3
    # Units share their labels: the repeats are the 100 series, each with its mean rate.
    shares = [false_positive_rate(by_shift, slow_series, seed=s).rate for s in range(100)]
    assert abs(np.mean(shares) - 0.05) < 3.3 * np.std(shares, ddof=1) / 10
    # Leaving out a fifth of all shifts, those near the observed labels, costs the level.
    far = [
        false_positive_rate(lambda x, y: by_shift(x, y, 100), slow_series, seed=s).rate
        for s in range(100)
    ]
    assert np.mean(far) > 0.05 + 3.3 * np.std(far, ddof=1) / 10


def test_level_holds_for_trials_that_trade_their_sequences():
    trial = np.repeat(np.arange(24), 15)

    def trials(rng):
        x = autocorrelated(rng, 360, 300, 0.9)
        y = autocorrelated(rng, 15, 24, 0.9).T.ravel()
        return x, y

    shares = [
        false_positive_rate(
            lambda x, y: run(
                x,
                y,
                score="correlation",
                test=Test(n_permutations=99, null=PermutedLabels(how="whole"), correction=None),
                exchange=trial,
            ),
            trials,
            seed=s,
        ).rate
        for s in range(25)
    ]
    assert abs(np.mean(shares) - 0.05) < 3.3 * np.std(shares, ddof=1) / 5


@pytest.mark.parametrize("correction", ["max", "bh"])
def test_corrected_level_holds_over_whole_searches(correction):
    def nothing(rng):
        return rng.standard_normal((40, 60)), np.arange(40) % 2

    found = false_positive_rate(
        lambda x, y: run(x, y, test=Test(n_permutations=199, correction=correction, smallest_p=1)),
        nothing,
        n_repeats=150,
        column="q",
        level=0.999,
    )
    assert not found.exceeds, found


def test_power_on_planted_effects_is_that_of_the_t_test():
    from scipy import stats

    n, size = 100, 0.8
    label = np.arange(n) % 2 == 0
    planted = np.arange(600) < 400

    def plant(rng):
        return (rng.standard_normal((n, 600)) + size * np.outer(label, planted), label), planted

    found = power(
        lambda x, y: run(x, y, test=Test(n_permutations=400, correction=None)), plant, level=0.999
    )
    beyond = stats.t.isf(0.025, n - 2)
    expected = stats.nct.sf(beyond, n - 2, size * np.sqrt(n / 4))
    assert found.low < expected < found.high
    corrected = power(
        lambda x, y: run(x, y, test=Test(n_permutations=400, correction="bh")), plant, column="q"
    )
    assert corrected.rate > 0.9


def test_power_over_blocks_counts_blocks_not_tokens():
    document = np.repeat(np.arange(40), 10)
    label = document % 2 == 0

    def plant(rng):
        x = rng.standard_normal((40, 500))[document] + rng.standard_normal((400, 500))
        return (x + 1.5 * label[:, None], label), np.ones(500)

    by_block = power(
        lambda x, y: run(x, y, exchange=document, test=Test(n_permutations=200, correction=None)),
        plant,
    )
    assert by_block.rate > 0.95
