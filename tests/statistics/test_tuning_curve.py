"""Tuning curves and their decoder against plain loops, their figures against definitions."""

import numpy as np
import pytest
from scipy import stats

from nissl.errors import NisslError
from nissl.statistics.tuning_curve import (
    coordinate_bins,
    distance,
    information_per_spike,
    mean_vector_length,
    posterior,
)


def test_curves_of_two_coordinates_are_means_over_a_loop_of_bins():
    rng = np.random.default_rng(0)
    angle, x = rng.uniform(-7, 7, 300), rng.uniform(2, 3, 300)
    x[5] = np.nan
    activity = rng.standard_normal((300, 2))
    bins = coordinate_bins([angle, x], ["angle", "x"], n_bins=4, period=[2 * np.pi, 0])
    curves, spent = bins.curves(activity[bins.rows], seconds=0.5, least=1)
    assert np.array_equal(bins.rows, np.delete(np.arange(300), 5))
    low, width = np.nanmin(x), (np.nanmax(x) - np.nanmin(x)) / 4
    for i in range(4):
        for j in range(4):
            here = (angle % (2 * np.pi) // (np.pi / 2) == i) & (x >= low + j * width)
            here &= (x < low + (j + 1) * width) | (j == 3)
            assert bins.occupancy[4 * i + j] == here.sum()
            assert spent[4 * i + j, 0] == pytest.approx(here.sum() / 2)
            assert curves[4 * i + j] == pytest.approx(activity[here].mean(axis=0) * 2)
    rare, time = bins.curves(activity[bins.rows], least=spent.max() * 2)
    assert np.isnan(rare[bins.occupancy < spent.max() * 2]).all()
    assert np.isnan(time).sum() == np.isnan(rare[:, 0]).sum()


def test_distances_go_around_the_circle_and_bad_columns_are_named():
    a, b = np.array([[350.0, 0.0]]), np.array([[20.0, 40.0]])
    assert distance(a, b, (360, 0))[0] == pytest.approx(50)
    for columns, names, said in (
        ([["a", "b"]], ["side"], "holds words"),
        ([[np.nan, np.nan]], ["x"], "no sample has a value"),
        ([[1.0, 2.0], [1.0]], ["x", "y"], "has shape"),
    ):
        with pytest.raises(NisslError, match=said):
            coordinate_bins(columns, names)
    with pytest.raises(NisslError, match="a circle of -1"):
        coordinate_bins([[1.0, 2.0]], ["x"], period=-1)


def test_vector_of_a_von_mises_curve_is_a_ratio_of_bessel_functions():
    degrees = (np.arange(36) + 0.5) * 10
    curve = np.exp(3 * np.cos(np.deg2rad(degrees[:, None] - [20.0, 200.0, 355.0])))
    # Of order 1 and 0, at 3.
    assert mean_vector_length(curve, degrees, 360) == pytest.approx(0.8100, abs=1e-3)


def test_information_is_that_between_level_and_spike():
    rng = np.random.default_rng(0)
    curve, number = rng.random((8, 3)), rng.integers(5, 50, (8, 3))
    for unit in range(3):
        share = number[:, unit] / number[:, unit].sum()
        given_spike = share * curve[:, unit] / (share * curve[:, unit]).sum()
        divergence = (given_spike * np.log2(given_spike / share)).sum()
        assert information_per_spike(curve, number)[unit] == pytest.approx(divergence)
    assert np.isnan(information_per_spike(np.zeros((4, 1)), np.ones((4, 1)))[0])


def test_posterior_is_that_of_a_loop_over_bins_and_cells():
    rng = np.random.default_rng(0)
    counts, curves = rng.poisson(1.0, (6, 4)), rng.gamma(1.0, 4.0, (4, 9))
    curves[2, 5], curves[:, 7] = 0.0, np.nan
    occupancy, seconds = rng.uniform(3, 9, 9), 0.25
    prior = occupancy / occupancy.sum()
    for given in (None, prior):
        found = posterior(counts, curves, seconds, occupancy, prior=given)
        for window in range(6):
            expected = np.zeros(9)
            for b in (0, 1, 2, 3, 4, 5, 6, 8):
                expected[b] = 1.0 if given is None else given[b]
                for cell in range(4):
                    rate = max(curves[cell, b], 0.5 / occupancy[b])
                    expected[b] *= stats.poisson.pmf(counts[window, cell], seconds * rate)
            assert found[window] == pytest.approx(expected / expected.sum(), rel=1e-5)
