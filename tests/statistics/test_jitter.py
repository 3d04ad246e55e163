import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.statistics import JitteredSpikes

INTERVALS = np.array([[20.0, 31.05], [0.0, 10.0]])


def spikes(rng, n=400):
    t = rng.uniform(0, 21.05, n)
    return np.where(t < 10, t, t + 10)


def windows(t, window):
    """Count the spikes of each window of each interval."""
    return [
        np.histogram(t, np.minimum(np.arange(a, b + window, window), b))[0] for a, b in INTERVALS
    ]


@pytest.mark.parametrize("window", [0.1, 0.7, None])
def test_counts_of_windows_are_kept_and_spikes_stay_in_their_intervals(window):
    t = spikes(np.random.default_rng(0))
    null = JitteredSpikes(window=window)
    drawn = null.draw(t, 20, intervals=INTERVALS, seed=1)
    for row in drawn:
        for a, b in zip(windows(row, window or 11.05), windows(t, window or 11.05), strict=True):
            np.testing.assert_array_equal(a, b)
        assert abs(row - t).max() < (window or 11.05)
    assert (drawn[0] != drawn[1]).mean() > 0.99
    # Uniform: each spike's draws lie about the middle of its window.
    if window == 0.7:
        place = (drawn - np.where(t < 15, 0, 20)) % window / window
        assert place[:, t < 9.8].mean() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(null.draw(t, 2, intervals=INTERVALS, seed=1, start=5), drawn[5:7])


def synchrony(a, b, width=0.005):
    """Count the pairs of spikes that lie within `width`."""
    b = np.sort(b)
    return (np.searchsorted(b, a + width) - np.searchsorted(b, a - width)).sum()


def test_common_rates_are_no_synchrony_and_planted_pairs_are():
    rng = np.random.default_rng(2)
    null, called, naive, found = JitteredSpikes(window=0.1), 0, 0, 0
    for i in range(150):
        # Both units follow one rate, which changes every 0.4 s.
        rate = np.repeat(rng.gamma(0.5, 20, 50), 40)
        a, b = (
            np.flatnonzero(rng.random(2000) < rate / 100) / 100 + 0.01 * rng.random() for _ in "ab"
        )
        a, b = a + 0.01 * rng.random(len(a)), b + 0.01 * rng.random(len(b))
        ends = [[0, 20.1]]

        def p(null, b, a=a, i=i, ends=ends):
            drawn = null.draw(a, 99, intervals=ends, seed=i)
            draws = [synchrony(row, b) for row in drawn]
            return (1 + np.sum(np.array(draws) >= synchrony(a, b))) / 100

        called += p(null, b) <= 0.05
        if i < 30:
            naive += p(JitteredSpikes(), b) <= 0.05
            planted = np.concatenate([b, a[:: max(1, len(a) // 25)] + 0.002])
            found += p(null, planted) <= 0.05
    assert called / 150 < 0.09
    assert naive / 30 > 0.8
    assert found / 30 > 0.8


def test_bad_spikes_and_intervals_are_refused():
    draw = JitteredSpikes(window=0.1).draw
    with pytest.raises(NisslError, match="1 spikes lie outside") as error:
        draw([0.5, 15.0], 1, intervals=INTERVALS)
    assert error.value.where == "spike 1, at 15 s"
    for bad in ([[0, 2], [1, 3]], [[3, 1]], [1, 2], []):
        with pytest.raises(NisslError):
            draw([1.0], 1, intervals=bad)
    with pytest.raises(NisslError, match="finite"):
        draw([np.nan], 1)
    with pytest.raises(NisslError, match="window"):
        JitteredSpikes(window=0)
    assert draw([], 3).shape == (3, 0)
    assert draw([2.0], 3).tolist() == [[2.0]] * 3
    table = {"start": [0.0], "stop": [1.0]}
    assert draw(np.array([1.0], np.float32), 9, intervals=table).min() >= 0.9
    assert JitteredSpikes(0.05).name == "JitteredSpikes(window=0.05)"
