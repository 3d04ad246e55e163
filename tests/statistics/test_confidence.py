"""Calibration error, against bins counted one by one."""

import numpy as np
import pytest

from nissl import NisslError
from nissl.statistics import calibration_error


def test_it_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    p, right = rng.random(500), rng.random(500) < 0.6
    slow = 0.0
    for low in np.arange(10) / 10:
        here = (p >= low) & (p < low + 0.1)
        slow += here.mean() * abs(p[here].mean() - right[here].mean())
    assert calibration_error(p, right, n_bins=10) == pytest.approx(slow)


def test_a_calibrated_network_has_little_and_a_boastful_one_much():
    rng = np.random.default_rng(1)
    p = rng.random(40_000)
    assert calibration_error(p, rng.random(40_000) < p) < 0.02
    assert calibration_error(np.ones(1000), rng.random(1000) < 0.5) == pytest.approx(0.5, abs=0.05)


def test_bad_input_is_refused():
    with pytest.raises(NisslError, match="do not fit"):
        calibration_error([0.5], [True, False])
    with pytest.raises(NisslError, match="do not fit"):
        calibration_error([], [])
    with pytest.raises(NisslError, match="not between 0 and 1"):
        calibration_error([1.5, np.nan], [True, False])
    with pytest.raises(NisslError, match="no bin"):
        calibration_error([0.5], [True], n_bins=0)
