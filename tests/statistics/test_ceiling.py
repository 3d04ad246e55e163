import numpy as np
import pytest

from nissl.errors import NisslError, TooFewSamples
from nissl.recording import as_recording
from nissl.statistics import CircularShift, NotExchangeable, Test, ceiling

QUICK = {"n_resamples": 50, "progress": False}


def responses(signal, n_repeats=3, n=40, noise=1.0, units=400, seed=0):
    rng = np.random.default_rng(seed)
    means = np.sqrt(signal) * rng.standard_normal((n, units))
    return means + np.sqrt(noise) * rng.standard_normal((n_repeats, n, units)) + rng.random(units)


@pytest.mark.parametrize("n", [10, 40])
@pytest.mark.parametrize(("signal", "n_repeats"), [(0.0, 2), (0.0, 5), (0.5, 2), (2.0, 4)])
def test_planted_signal_and_noise_are_recovered_without_bias(signal, n_repeats, n):
    x = responses(signal, n_repeats, n, noise=1.5, units=6000)
    found = ceiling(x, test=None, n_resamples=2, progress=False).table
    expected = signal / (signal + 1.5 / n_repeats)
    error = found["ceiling"].std() / np.sqrt(6000)
    assert abs(found["ceiling"].mean() - expected) < 4 * error
    if n == 40 and signal:
        assert abs(found["single"].median() - signal / (signal + 1.5)) < 0.03


def test_it_equals_an_analysis_of_variance():
    x = responses(0.7, 4, 12, units=5)
    score = ceiling(x, test=None, **QUICK).table["ceiling"]
    for u in range(5):
        y = x[:, :, u]
        mean = y.mean()
        fitted = y.mean(axis=0) + y.mean(axis=1)[:, None] - mean
        error = ((y - fitted) ** 2).sum() / (3 * 11)
        between = 4 * ((y.mean(axis=0) - mean) ** 2).sum() / 11
        assert score[u] == pytest.approx(1 - 9 / 11 * error / between)


def test_the_level_holds_and_signal_is_found():
    test = Test(n_permutations=199, correction=None)
    found = ceiling(responses(0.0, units=1000), test=test, **QUICK).table
    assert 0.03 < (found["p"] <= 0.05).mean() < 0.07
    assert found["p"].mean() == pytest.approx(0.5, abs=0.04)
    assert (ceiling(responses(1.0), test=test, **QUICK).table["p"] <= 0.05).mean() > 0.95


def test_intervals_cover():
    table = ceiling(responses(1.0, 3, 60), test=None, n_resamples=400, progress=False).table
    covered = (table["low"] <= 0.75) & (table["high"] >= 0.75)
    assert 0.9 < covered.mean() < 0.98


def test_slow_noise_is_refused_under_permutation_and_shifts_keep_the_level():
    rng = np.random.default_rng(0)
    slow = rng.standard_normal((2, 400, 500))
    for t in range(1, 400):
        slow[:, t] += 0.8 * slow[:, t - 1]
    test = Test(n_permutations=99, correction=None)
    with pytest.raises(NotExchangeable, match="CircularShift"):
        ceiling(slow, test=test, **QUICK)
    shifted = Test(n_permutations=99, correction=None, null=CircularShift())
    found = ceiling(slow, test=shifted, **QUICK)
    assert 0.03 < (found.table["p"] <= 0.05).mean() < 0.075
    with pytest.raises(NotExchangeable):
        ceiling(slow[:, :30].cumsum(axis=1), test=shifted, **QUICK)
    with pytest.raises(TooFewSamples):
        ceiling(responses(1.0, 2, 10), test=shifted, **QUICK)


@pytest.mark.parametrize("named", [True, False])
def test_a_recording_gives_what_the_array_gives(named):
    x = responses(1.0, 3, 12, units=4)
    rng = np.random.default_rng(1)
    repeat, stimulus = (a.ravel() for a in np.indices((3, 12)))
    order = rng.permutation(36) if named else np.lexsort((rng.random(36), repeat))
    rec = as_recording(
        x.reshape(36, 4)[order],
        samples={"stimulus": [f"s{i}" for i in stimulus[order]], "run": repeat[order]},
        units={"unit": list("abcd"), "region": ["V1"] * 4},
    )
    found = ceiling(rec, repeat="run" if named else None, test=None, **QUICK).table
    bare = ceiling(x, test=None, **QUICK).table
    np.testing.assert_allclose(found["ceiling"], bare["ceiling"])
    assert found["unit"].tolist() == list("abcd")
    assert found["region"].tolist() == ["V1"] * 4
    with pytest.raises(NisslError, match=r"'s\d+' has 2, another 3"):
        ceiling(rec[:-1], repeat="run" if named else None, test=None, **QUICK)
    with pytest.raises(NisslError):
        ceiling(rec, on="nothing", **QUICK)


def test_a_unit_that_does_not_vary_says_so():
    x = responses(1.0, 3, 12, units=3)
    x[:, :, 1] = 0.1
    for test in (None, Test(n_permutations=19)):
        table = ceiling(x, test=test, **QUICK).table
        assert table["ceiling"][1] == 0
        assert [bool(n) for n in table["note"]] == [False, True, False]
    assert table["p"][1] == 1
    assert table["p"][0] < 1


def test_bad_input_is_refused():
    x = responses(1.0, 2, 10, units=3)
    bad = x.copy()
    bad[0, 0, 0] = np.nan
    for given in (bad, x[0], x[:, :, :0], x.astype(complex)):
        with pytest.raises(NisslError):
            ceiling(given, **QUICK)
    for given in (x[:1], x[:, :7], x[:0]):
        with pytest.raises(TooFewSamples):
            ceiling(given, **QUICK)
    counts = np.round(9 * x).astype(np.int32)
    counts.setflags(write=False)
    same = ceiling(np.asfortranarray(counts, np.float32), test=None, **QUICK).table["ceiling"]
    np.testing.assert_array_equal(ceiling(counts, test=None, **QUICK).table["ceiling"], same)
