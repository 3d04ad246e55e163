"""Numbers that describe a tuning curve, against their definitions."""

import numpy as np
import pytest

from nissl.brain.tuning_curve import information_per_spike, mean_vector_length


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
