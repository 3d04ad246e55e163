"""The curve that is planted is found again; noise and another order are not explained by it."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from nissl.errors import NisslError
from nissl.selectivity import Growth, growth

STEPS = np.concatenate([[0, 1, 2, 4, 8, 16, 32], np.arange(50, 1650, 50)])
EARLY_PEAK = Growth(40.0, 0.6, 0.01, 0.5, 6.0, 1.0)
LOG_INCREASE = Growth(15.0, 1e-6, 0.05, 1.2, 5.0, 1.0)


@pytest.mark.parametrize("planted", [EARLY_PEAK, LOG_INCREASE], ids=["early peak", "log increase"])
def test_it_finds_the_planted_curve(planted):
    truth = planted.at(STEPS)
    exact = growth(STEPS, truth)
    assert exact.r2 > 0.9999
    np.testing.assert_allclose(exact.at(STEPS), truth, rtol=0.01)
    noisy = truth * (1 + 0.03 * np.random.default_rng(0).standard_normal(len(STEPS)))
    half = growth(STEPS[::2], noisy[::2])
    assert half.explains(STEPS[1::2], truth[1::2]) > 0.97  # between the checkpoints it was given
    assert half.r2 == pytest.approx(half.explains(STEPS[::2], noisy[::2]))


def test_the_peak_is_where_the_curve_turns():
    found = minimize_scalar(lambda t: -EARLY_PEAK.at(t), bounds=(0, 1600), method="bounded")
    assert EARLY_PEAK.peak == pytest.approx(found.x, rel=1e-4)
    assert Growth(1.0, 0.0, 1.0, 1.0, 0.0, 1.0).peak == np.inf
    assert growth(STEPS, EARLY_PEAK.at(STEPS)).peak == pytest.approx(found.x, rel=0.05)


def test_no_worse_than_a_search_of_all_five():
    from scipy.optimize import least_squares

    rng = np.random.default_rng(3)
    values = EARLY_PEAK.at(STEPS) + rng.standard_normal(len(STEPS))

    def error(p):
        x = np.exp(p[2]) * STEPS + np.exp(p[3])
        return p[0] * np.exp(-np.exp(p[1]) * x) * np.log(x) + p[4] - values

    best = least_squares(error, [40.0, np.log(0.6), np.log(0.01), np.log(0.5), 6.0])
    r2 = 1 - 2 * best.cost / np.square(values - values.mean()).sum()
    assert growth(STEPS, values).r2 >= r2 - 1e-6


def test_noise_is_not_explained():
    rng = np.random.default_rng(0)
    held_out = [
        growth(STEPS[::2], noise[::2]).explains(STEPS[1::2], noise[1::2])
        for noise in rng.standard_normal((12, len(STEPS)))
    ]
    assert np.median(held_out) < 0.1


@pytest.mark.parametrize(
    ("steps", "values", "message"),
    [
        (range(6), range(6), "do not hold 5 parameters"),
        (range(8), range(9), "do not hold 5 parameters"),
        (range(8), [1.0] * 8, "all values are the same"),
        (range(-1, 7), range(8), "counted from 0"),
        (range(8), [np.nan, *range(7)], "not finite"),
    ],
)
def test_what_cannot_be_is_refused(steps, values, message):
    with pytest.raises(NisslError, match=message):
        growth(list(steps), list(values))
