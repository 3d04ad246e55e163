import numpy as np
import pytest
from scipy.signal import lfilter

from nissl.errors import NisslError, TooFewSamples
from nissl.recording import as_recording
from nissl.statistics import (
    NotExchangeable,
    PhaseRandomised,
    Test,
    permutation_test,
)


def slow(rng, n, n_units, rho=0.95):
    """Return series that forget by `rho` a sample."""
    return lfilter([1], [1, -rho], rng.standard_normal((n + 400, n_units)), axis=0)[400:]


@pytest.mark.parametrize("n", [64, 65])
def test_spectra_and_cross_spectra_are_kept(n):
    x = slow(np.random.default_rng(0), n, 3) + np.array([5, 0, -2])
    drawn = PhaseRandomised().draw_series(x, 4, seed=1)
    before, after = np.fft.rfft(x, axis=0), np.fft.rfft(drawn, axis=1)
    np.testing.assert_allclose(abs(after), np.broadcast_to(abs(before), after.shape), atol=1e-10)
    cross = before[:, :1] * before[:, 1:].conj()
    after = after[..., :1] * after[..., 1:].conj()
    np.testing.assert_allclose(after, np.broadcast_to(cross, after.shape), atol=1e-9)
    np.testing.assert_allclose(drawn.mean(axis=1), np.tile(x.mean(axis=0), (4, 1)), atol=1e-12)
    np.testing.assert_allclose(np.corrcoef(drawn[0].T), np.corrcoef(x.T), atol=1e-10)
    # Draws differ, have generators of their own, and are of a single series the same.
    assert abs(np.corrcoef(drawn[:, :, 0])[0, 1]) < 0.9
    again = PhaseRandomised().draw_series(x[:, 0], 2, seed=1, start=2)
    np.testing.assert_allclose(again, drawn[2:, :, 0], atol=1e-12)


def test_stretches_keep_their_own_spectrum():
    rng = np.random.default_rng(1)
    stretch = rng.permutation(np.repeat([0, 1], [31, 40]))
    x = np.where(stretch, 100, 0) + rng.standard_normal(71)
    drawn = PhaseRandomised().draw_series(x, 3, within=stretch, seed=0)
    for k in (0, 1):
        before, after = np.fft.rfft(x[stretch == k]), np.fft.rfft(drawn[:, stretch == k], axis=1)
        np.testing.assert_allclose(abs(after), np.tile(abs(before), (3, 1)), atol=1e-10)


def test_adjusted_series_keep_their_values_and_nearly_their_spectrum():
    x = np.exp(slow(np.random.default_rng(2), 500, 1)[:, 0] / 2)
    drawn = PhaseRandomised(adjust=True).draw_series(x, 5, seed=0)
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.tile(np.sort(x), (5, 1)))
    power, kept = abs(np.fft.rfft(x)), abs(np.fft.rfft(drawn, axis=1))
    assert np.corrcoef(power[1:], kept[0, 1:])[0, 1] > 0.99
    raw = PhaseRandomised().draw_series(x, 5, seed=0)
    assert raw.min() < 0 < drawn.min()


def test_level_and_power_on_slow_series_where_permutation_is_refused():
    rng = np.random.default_rng(3)
    called, permuted = [], []
    for i in range(40):
        y, x = slow(rng, 1000, 1)[:, 0], slow(rng, 1000, 30)
        if i == 0:
            with pytest.raises(NotExchangeable, match="CircularShift or PhaseRandomised"):
                permutation_test(x, y, score="correlation", progress=False)
        test = Test(99, PhaseRandomised(), correction=None, seed=i)
        found = permutation_test(x, y, score="correlation", test=test, progress=False)
        called.append((found.table["p"] <= 0.05).mean())
        # What permuted samples would say: r has a deviation of 1 / sqrt(n).
        permuted.append((abs(found.table["correlation"]) > 1.96 / np.sqrt(1000)).mean())
    assert np.mean(called) == pytest.approx(0.05, abs=0.025)
    assert np.mean(permuted) > 0.4
    x[:, 7] += 0.8 * y * x[:, 7].std() / y.std()
    test = Test(999, PhaseRandomised(), seed=1)
    found = permutation_test(x, y, score="correlation", test=test, progress=False)
    assert found.significant().units == ["unit[7]"]
    assert found.null == "PhaseRandomised()"
    spearman = permutation_test(x, y, score="spearman", test=test, progress=False)
    assert spearman.significant().units == ["unit[7]"]


def test_a_recording_names_its_runs():
    rng = np.random.default_rng(4)
    x, run = slow(rng, 600, 2, 0.5), np.repeat([0, 1, 2], 200)
    y = x[:, 0] + rng.standard_normal(600) + 3 * run
    rec = as_recording(x, samples={"run": run, "speed": y})
    test = Test(199, PhaseRandomised(within="run"))
    found = permutation_test(rec, "speed", score="correlation", test=test, progress=False)
    assert found.significant().units == ["unit[0]"]
    assert found.null == "PhaseRandomised(within='run')"


def test_what_has_no_phases_is_refused():
    draw = PhaseRandomised().draw_series
    with pytest.raises(TooFewSamples, match="3 samples"):
        draw(np.zeros(9), 1, within=[0] * 3 + [1] * 6)
    with pytest.raises(NisslError, match="CircularShift"):
        draw(["a", "b"] * 4, 1)
    with pytest.raises(NisslError, match="NaN"):
        draw([np.nan] * 8, 1)
    with pytest.raises(NisslError, match="several series"):
        PhaseRandomised(adjust=True).draw_series(np.eye(8), 1)
    x = np.random.default_rng(0).standard_normal((40, 2))
    with pytest.raises(NisslError, match="name groups"):
        permutation_test(x, ["a", "b"] * 20, test=Test(null=PhaseRandomised()), progress=False)
    walk = np.random.default_rng(0).standard_normal((100, 2)).cumsum(axis=0)
    test = Test(null=PhaseRandomised())
    with pytest.raises(NotExchangeable, match="short"):
        permutation_test(walk[:, :1], walk[:, 1], score="correlation", test=test, progress=False)
