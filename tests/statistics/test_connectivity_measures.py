"""Measures of connectivity, each against another form of it."""

import numpy as np
import pytest
from scipy import signal

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics.connectivity_measures import MEASURES


@pytest.fixture(scope="module")
def series():
    rng = np.random.default_rng(1)
    x = np.zeros((500, 4))
    for t in range(1, len(x)):
        x[t] = x[t - 1] * [0.5, 0.3, 0.7, 0.1] + rng.standard_normal(4)
    x[:, 1] += 0.8 * x[:, 0]
    return x[100:]


def of(x, measure, **options):
    return MEASURES[measure](x, **options)


def test_correlation(series):
    np.testing.assert_allclose(of(series, "correlation"), np.corrcoef(series.T), atol=1e-12)


def test_partial_correlation_is_that_of_residuals_on_the_rest(series):
    found = of(series, "partial_correlation")
    x = series - series.mean(axis=0)
    for a, b in [(0, 1), (0, 2), (2, 3)]:
        rest = np.delete(x, [a, b], axis=1)
        left = [v - rest @ np.linalg.lstsq(rest, v, rcond=None)[0] for v in (x[:, a], x[:, b])]
        assert found[a, b] == pytest.approx(np.corrcoef(left)[0, 1], abs=1e-10)


def test_shrunk_partial_correlations_are_those_of_scikit_learn(series):
    from sklearn.covariance import LedoitWolf

    z = (series - series.mean(axis=0)) / series.std(axis=0)
    precision = LedoitWolf().fit(z).precision_
    scale = np.sqrt(np.diag(precision))
    expected = -precision / np.outer(scale, scale) + 2 * np.eye(4)
    found = of(series, "partial_correlation", estimator="ledoit_wolf")
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_lagged_correlation_pairs_a_with_a_later_b(series):
    found = of(series, "lagged_correlation", lag=3)
    slow = np.corrcoef(series[:-3, 0], series[3:, 1])[0, 1]
    assert found[0, 1] == pytest.approx(slow, abs=1e-10)


def test_granger_is_the_ratio_of_two_regressions(series):
    x = series - series.mean(axis=0)
    found = of(series, "granger", order=2)
    past = np.concatenate([x[:-2], x[1:-1]], axis=1)

    def error(columns, target):
        kept = past[:, columns]
        return ((target - kept @ np.linalg.lstsq(kept, target, rcond=None)[0]) ** 2).sum()

    for a, b in [(0, 1), (2, 3), (1, 0)]:
        without = [c for c in range(8) if c % 4 != a]
        ratio = error(without, x[2:, b]) / error(list(range(8)), x[2:, b])
        assert found[a, b] == pytest.approx(np.log(ratio), rel=1e-8)


def test_mutual_information_of_gaussians_and_of_bins(series):
    from sklearn.metrics import mutual_info_score

    r = np.corrcoef(series.T)
    gauss = of(series, "mutual_information")
    assert gauss[0, 1] == pytest.approx(-0.5 * np.log2(1 - r[0, 1] ** 2))
    binned = of(series, "mutual_information", bins=4)
    rank = series.argsort(axis=0).argsort(axis=0) * 4 // len(series)
    bias = 9 / (2 * len(series) * np.log(2))  # Miller and Madow, of 16 cells that all occur
    slow = mutual_info_score(rank[:, 0], rank[:, 1]) / np.log(2)
    assert binned[0, 1] == pytest.approx(slow - bias, abs=1e-10)


def test_coherence_is_that_of_scipy(series):
    found = of(series, "coherence", rate=100.0, band=(10, 20), segment=64)
    frequency, slow = signal.coherence(series[:, 0], series[:, 1], fs=100, nperseg=64)
    inside = (frequency >= 10) & (frequency <= 20)
    assert found[0, 1] == pytest.approx(slow[inside].mean(), rel=1e-6)


def test_phase_locking_finds_a_shared_rhythm():
    rng = np.random.default_rng(0)
    time = np.arange(2000) / 100
    x = rng.standard_normal((2000, 3))
    x[:, 0] += 2 * np.sin(2 * np.pi * 10 * time)
    x[:, 1] += 2 * np.sin(2 * np.pi * 10 * time + 1)
    found = of(x, "phase_locking", rate=100, band=(8, 12))
    assert found[0, 1] > 0.9
    assert found[0, 2] < 0.3
    sos = signal.butter(3, (8, 12), btype="bandpass", fs=100, output="sos")
    a, b = (np.angle(signal.hilbert(signal.sosfiltfilt(sos, c - c.mean()))) for c in x[:, :2].T)
    assert found[0, 1] == pytest.approx(np.abs(np.exp(1j * (a - b)).mean()))


def test_affinity_is_a_kernel_of_differences(series):
    z = (series - series.mean(axis=0)) / series.std(axis=0)
    slow = np.mean([np.exp(-((row[0] - row[1]) ** 2) / 2 / 0.25) for row in z])
    assert of(series, "affinity", width=0.5)[0, 1] == pytest.approx(slow)


def test_every_measure_is_symmetric_or_says_that_it_is_not(series):
    given = {"rate": 10.0, "band": (1.0, 2.0)}
    for name, made in MEASURES.items():
        options = {k: v for k, v in given.items() if k in made.takes}
        options |= {"segment": 64} if name == "coherence" else {}
        values = of(series, name, **options)
        assert np.allclose(values, values.T) == (not made.directed), name


def test_runs_are_centred_and_lags_do_not_join_them(series):
    run = np.repeat([0, 1], 200)
    level = np.where(run, 50.0, -50.0)[:, None]
    parts = [(half - half.mean(axis=0)) for half in np.split(series, 2)]
    now, then = (np.concatenate([half[cut] for half in parts]) for cut in (np.s_[:-1], np.s_[1:]))
    found = MEASURES["lagged_correlation"](series + level, run)
    assert found[0, 1] == pytest.approx(np.corrcoef(now[:, 0], then[:, 1])[0, 1], abs=1e-10)
    with pytest.raises(NisslError, match="holds no frequency"):
        of(series, "coherence", band=(60, 70), rate=100)
    with pytest.raises(TooFewSamples, match="regressors"):
        of(series[:12], "partial_correlation")
