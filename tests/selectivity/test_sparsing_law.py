"""The laws that are planted are found again, with their direction; noise is not explained."""

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.selectivity import SparsingLaw, sparsing_law

AMOUNTS = np.arange(1, 25) * 5e4
RISING = SparsingLaw("power", 0.45, -0.06, 0.5, 0.0, 1.2e6, 1.0)
FALLING = SparsingLaw("logspace", 0.08, 0.5, 0.6, 4.0, 1.2e6, 1.0)


@pytest.mark.parametrize("planted", [RISING, FALLING], ids=["SiLU", "ReLU"])
def test_the_planted_law_is_found(planted):
    truth = planted.at(AMOUNTS)
    exact = sparsing_law(AMOUNTS, truth, kind=planted.kind)
    assert exact.r2 > 0.99999
    assert exact.rises == planted.rises == (truth[-1] > truth[0])
    np.testing.assert_allclose(exact.at(AMOUNTS), truth, atol=1e-4)
    noisy = truth * (1 + 0.02 * np.random.default_rng(0).standard_normal(len(truth)))
    half = sparsing_law(AMOUNTS[::2], noisy[::2], kind=planted.kind)
    assert half.rises == planted.rises
    assert half.explains(AMOUNTS[1::2], truth[1::2]) > 0.95
    assert half.r2 == pytest.approx(half.explains(AMOUNTS[::2], noisy[::2]))


def test_parameters_of_a_power_law():
    found = sparsing_law(AMOUNTS, 0.45 - 30 * AMOUNTS**-0.5, kind="power")
    assert found.limit == pytest.approx(0.45, abs=1e-3)
    assert found.exponent == pytest.approx(0.5, abs=1e-2)
    assert found.amplitude * found.scale**found.exponent == pytest.approx(-30, rel=0.05)


@pytest.mark.parametrize("kind", ["power", "logspace"])
def test_noise_is_not_explained(kind):
    rng = np.random.default_rng(0)
    held_out = [
        sparsing_law(AMOUNTS[::2], noise[::2], kind=kind).explains(AMOUNTS[1::2], noise[1::2])
        for noise in rng.standard_normal((20, len(AMOUNTS)))
    ]
    assert np.median(held_out) < 0.1


def test_what_cannot_be_is_refused():
    with pytest.raises(NisslError, match="did you mean 'power'"):
        sparsing_law(AMOUNTS, AMOUNTS, kind="powers")
    with pytest.raises(NisslError, match="do not hold 4 parameters"):
        sparsing_law(range(1, 5), range(4), kind="power")
    with pytest.raises(NisslError, match="not above 0"):
        sparsing_law(range(6), range(6), kind="power")
    with pytest.raises(NisslError, match="all values are the same"):
        sparsing_law(range(1, 8), [1.0] * 7, kind="power")
