import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from nissl.errors import TooFewSamples
from nissl.recording import as_recording
from nissl.statistics import (
    CircularShift,
    NotExchangeable,
    PermutedLabels,
    Test,
    autocorrelation,
    permutation_test,
)
from nissl.statistics.exchangeability import require_exchangeable, require_samples


@pytest.mark.parametrize("memory", [-0.5, 0.0, 0.4, 0.9])
def test_lag_one_autocorrelation_is_measured(memory):
    noise = np.random.default_rng(0).standard_normal((3000, 40))
    series = lfilter([1.0], [1.0, -memory], noise, axis=0)
    assert autocorrelation(series) == pytest.approx(memory, abs=0.02)
    assert autocorrelation(series[:100]) == pytest.approx(memory, abs=0.1)


def test_an_effect_of_sorted_labels_is_not_autocorrelation():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    values = rng.standard_normal((400, 20)) + 3 * labels[:, None]
    assert autocorrelation(values) > 0.5
    assert abs(autocorrelation(values, labels)) < 0.05
    ramp = np.linspace(0, 5, 400)
    assert abs(autocorrelation(rng.standard_normal((400, 20)) + ramp[:, None], ramp)) < 0.05


def test_only_neighbours_in_a_block_count():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.standard_normal((200, 10)), 6, axis=0)
    values = values + 0.1 * rng.standard_normal(values.shape)
    assert abs(autocorrelation(values, exchange=np.arange(1200) // 6)) < 0.05  # level alone
    assert autocorrelation(values, exchange=(np.arange(1200) + 3) // 6) > 0.5
    assert autocorrelation(values, exchange=np.arange(1200) // 2) == 0  # no two that are free


@pytest.mark.parametrize("length", [3, 5, 20])
@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_short_blocks_do_not_hide_autocorrelation_nor_levels_make_it(length, memory):
    series = autoregressive(np.random.default_rng(0), memory, length, 800)
    blocks = np.repeat(np.arange(800), length)
    levels = 5 * np.random.default_rng(1).standard_normal((800, 20))
    for x in (series, series + levels[blocks]):
        assert autocorrelation(x, exchange=blocks) == pytest.approx(memory, abs=0.07)


def autoregressive(rng, memory, length, n_blocks, n_units=20):
    """Stretches that begin as they go on, one after the other."""
    noise = rng.standard_normal((length, n_blocks * n_units))
    noise[0] /= np.sqrt(1 - memory**2)
    series = lfilter([1.0], [1.0, -memory], noise, axis=0)
    return series.reshape(length, n_blocks, n_units).swapaxes(0, 1).reshape(-1, n_units)


@pytest.mark.parametrize("by", ["exchange", "within"])
def test_blocks_that_differ_in_level_are_permuted_inside(by):
    rng = np.random.default_rng(0)
    run = np.repeat(np.arange(8), np.arange(20, 28))
    values = rng.standard_normal((len(run), 60)) + 10 * rng.standard_normal((8, 60))[run]
    rec = as_recording(values, samples={"run": run, "y": rng.integers(0, 2, len(run))})
    null = PermutedLabels(exchange="run", how="within")
    null = PermutedLabels(within="run") if by == "within" else null
    found = permutation_test(
        rec, "y", test=Test(n_permutations=199, null=null, correction=None), progress=False
    ).table
    assert stats.binomtest(int((found["p"] <= 0.05).sum()), 60, 0.05).pvalue > 0.001
    walk = as_recording(values.cumsum(axis=0), samples={"run": run, "y": rec["y"].values})
    with pytest.raises(NotExchangeable, match="within the declared blocks"):
        permutation_test(walk, "y", test=Test(null=null), progress=False)


@pytest.mark.parametrize("exchange", ["time", "name", "pair", "ten", "float"])
def test_blocks_that_hang_together_are_refused(exchange):
    rng = np.random.default_rng(0)
    at = np.arange(2000)
    values = lfilter([1.0], [1.0, -0.98], rng.standard_normal((2000, 50)), axis=0)
    slow = lfilter([1.0], [1.0, -0.98], rng.standard_normal(2000))
    blocks = {"time": at * 0.1, "name": at.astype(str), "pair": at // 2, "ten": at // 10}
    rec = as_recording(
        values,
        samples={**blocks, "slow": slow > 0, "number": slow, "random": rng.random(2000) > 0.5},
    )
    given = {"float": rec["time"].values}.get(exchange, exchange)
    options = {"exchange": given, "progress": False, "test": Test(n_permutations=99)}
    for labels, score in (("slow", "cohens_d"), ("number", "correlation")):
        with pytest.raises(NotExchangeable, match="CircularShift"):
            permutation_test(rec, labels, score=score, **options)
    # Labels that were given at random, and blocks that are independent, are well.
    assert len(permutation_test(rec, "random", **options)) == 50
    noise = rec.copy(data=rng.standard_normal((2000, 50)))
    assert len(permutation_test(noise, "slow", **options)) == 50


def test_a_coordinate_without_equals_is_never_advised():
    rec = as_recording(np.eye(40), samples={"time": np.arange(40), "y": np.arange(40) % 2})
    with pytest.raises(NotExchangeable) as error:
        permutation_test(rec, "y", progress=False)
    assert "exchange='time'" not in str(error.value)


@pytest.mark.parametrize(
    ("length", "n", "activity", "labels", "outcome"),
    [
        (3, 40, 0.0, 0.0, "well"),
        (5, 40, 0.0, 0.9, "well"),
        (50, 10, 0.8, 0.8, "well"),
        (3, 40, 0.8, 0.8, "refused"),
        (10, 40, 0.8, 0.8, "refused"),
        (20, 20, 0.9, 0.9, "refused"),
        (1000, 1, 0.95, 0.95, "well"),
        (1000, 1, 0.99, 0.99, "short"),
        (100, 1, 0.95, 0.95, "short"),
    ],
)
def test_stretches_too_short_to_be_shifted_are_refused(length, n, activity, labels, outcome):
    got = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = autoregressive(rng, activity, length, n)
        y = autoregressive(rng, labels, length, n, 1)[:, 0]
        test = Test(n_permutations=19, null=CircularShift(), smallest_p=1)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            try:
                permutation_test(
                    x,
                    y,
                    score="correlation",
                    exchange=np.repeat(np.arange(n), length) if n > 1 else None,
                    test=test,
                    progress=False,
                )
                got.append("well")
            except NotExchangeable as error:
                right = ("whole" in str(error)) == (n > 1)
                got.append(("refused" if n > 1 else "short") if right else "badly advised")
            except UserWarning:
                got.append("short")
    assert got.count(outcome) >= 8


def test_a_series_that_only_drifts_is_refused():
    at = np.linspace(-1, 1, 100)
    drifts = np.stack([at**2, at**3, np.exp(at)], axis=1)
    with pytest.raises(NotExchangeable, match="take the trend out"):
        permutation_test(
            drifts, at, score="correlation", test=Test(null=CircularShift()), progress=False
        )


@pytest.mark.parametrize("length", [3, 5, 10])
def test_circular_shifts_inside_trials_hold_their_level_on_white_noise(length):
    trial = np.repeat(np.arange(40), length)
    hits = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = permutation_test(
            rng.standard_normal((len(trial), 20)),
            rng.standard_normal(len(trial)),
            score="correlation",
            exchange=trial,
            test=Test(n_permutations=79, null=CircularShift(), correction=None, seed=seed),
            progress=False,
        )
        hits.append((found.table["p"] <= 0.05).mean())
    # Units share their labels: the repeats are the 60 series of labels.
    assert abs(np.mean(hits) - 0.05) < 3.3 * np.std(hits, ddof=1) / np.sqrt(60)


def test_what_cannot_be_measured_is_no_autocorrelation():
    assert autocorrelation(np.ones((10, 3))) == 0
    assert autocorrelation(np.full((10, 3), np.nan)) == 0


@pytest.mark.parametrize("name", ["document", "trial", "run", "subject", "time"])
def test_coordinates_that_hold_samples_together_are_seen(name):
    values = np.random.default_rng(0).standard_normal((20, 3))
    labels = np.arange(20) % 2
    coords = {name: np.arange(20) // (1 if name == "time" else 2)}
    with pytest.raises(NotExchangeable, match=f"'{name}'") as error:
        require_exchangeable(values, labels, coords=coords, exchange=None)
    assert "CircularShift" in str(error.value)
    require_exchangeable(values, labels, coords={name: np.zeros(20)}, exchange=None)


def test_independent_samples_are_hardly_ever_refused():
    rng = np.random.default_rng(0)
    refused = 0
    for n in (12, 50, 400):
        for _ in range(200):
            try:
                require_exchangeable(
                    rng.standard_normal((n, 1)), np.arange(n) % 2, coords={}, exchange=None
                )
            except NotExchangeable:
                refused += 1
    assert refused <= 3  # of 600: three standard errors


def test_labels_of_too_few_samples_are_refused():
    require_samples(list("aabb"), where="relation")
    with pytest.raises(TooFewSamples, match=r"too few facts of 'b' \(1\)"):
        require_samples(list("aab"), where="relation", item="fact")
    with pytest.raises(TooFewSamples, match="every fact is of 'a'"):
        require_samples(list("aaa"), where="relation", item="fact")
    with pytest.raises(TooFewSamples, match="'a'"):
        require_samples(list("aaabbbb"), where="relation", least=4)
