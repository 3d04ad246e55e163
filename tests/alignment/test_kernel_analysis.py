"""Kernel analysis: classes in few leading dimensions are told from classes anywhere."""

import numpy as np
import pytest
from sklearn.decomposition import KernelPCA
from sklearn.linear_model import LinearRegression

from nissl import NisslError, Test
from nissl.alignment import kernel_analysis
from nissl.recording import as_recording
from nissl.statistics import NotExchangeable


def planted(strength, n=90, width=30, seed=0):
    """Stimuli of three classes, whose means differ by a strength."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return strength * rng.standard_normal((3, width))[y] + rng.standard_normal((n, width)), y


def test_classes_in_leading_dimensions_and_classes_nowhere():
    (x, y), (noise, _) = planted(3.0), planted(0.0, seed=1)
    table = kernel_analysis({"planted": x, "noise": noise}, y).table
    assert (table.loc[0, ["area", "p", "loss_2"]] < [0.1, 0.01, 0.1]).all()
    assert abs(table["area"][1] - 0.5) < 0.1
    assert table["p"][1] > 0.05
    assert abs(table["null_mean"] - 0.5).max() < 0.05
    shuffled = np.random.default_rng(2).permutation(y)
    assert kernel_analysis(x, shuffled).table["p"][0] > 0.05


def test_false_positives_at_the_level():
    test = Test(n_permutations=39)
    p = [kernel_analysis(*planted(0.0, 30, seed=s), test=test).table["p"][0] for s in range(60)]
    assert np.mean(np.array(p) <= 0.1) < 0.25


def test_against_kernel_pca_and_least_squares():
    x, y = planted(1.0, n=40)
    hot = np.eye(3)[y]
    squares = ((x[:, None] - x) ** 2).sum(2)
    width = np.median(np.sqrt(squares[np.triu_indices(40, 1)]))
    table = kernel_analysis(x, y, bandwidths=[1.0], test=None).table
    for d in (1, 4, 16):
        pca = KernelPCA(d, kernel="rbf", gamma=1 / (2 * width**2)).fit_transform(x)
        left = hot - LinearRegression().fit(pca, hot).predict(pca)
        share = (left**2).sum() / ((hot - hot.mean(0)) ** 2).sum()
        np.testing.assert_allclose(table[f"loss_{d}"][0], share, rtol=1e-6)


def test_recordings_by_the_name_of_a_coordinate_and_bad_input():
    x, y = planted(3.0)
    rec = as_recording(x, samples={"stimulus": np.arange(90), "kind": y})
    by_name = kernel_analysis(rec, "kind", test=None).table["area"][0]
    assert by_name == kernel_analysis(x, y, test=None).table["area"][0]
    for bad in ((x, np.zeros(90)), (x, y[:-1]), (np.where(x > 4, np.nan, x), y), (x[:3], y[:3])):
        with pytest.raises(NisslError):
            kernel_analysis(*bad)
    slow = np.cumsum(x, axis=0)
    with pytest.raises(NotExchangeable):
        kernel_analysis(slow, np.repeat([0, 1], 45))
