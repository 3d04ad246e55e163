"""Chaos: exponents and dimensions of known systems; none beyond its surrogates in linear noise."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics import PhaseRandomised, correlation_dimension, lyapunov_exponent

STEP = 0.02  # of Lorenz's time
STATE = {"dimension": 5, "delay": 5, "apart": 38}


def logistic(n=1000):
    x = [0.4]
    for _ in range(n - 1):
        x.append(4 * x[-1] * (1 - x[-1]))
    return np.array(x)


@pytest.fixture(scope="module")
def lorenz():
    def flow(_, s):
        return [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]]

    time = np.arange(5500) * STEP
    how = {"t_eval": time, "rtol": 1e-6, "atol": 1e-6}
    return solve_ivp(flow, (0, time[-1]), [1, 1, 1], **how).y[0, 500:]


def obvious(x, steps, dimension, delay, apart):
    """Rosenstein's algorithm, state by state."""
    states = [x[i : i + dimension * delay : delay] for i in range(len(x) - (dimension - 1) * delay)]
    n = len(states) - steps[1]
    logs = np.full((steps[1] + 1, n), np.nan)
    for i in range(n):
        far = [j for j in range(n) if abs(i - j) > apart]
        j = min(far, key=lambda j: np.linalg.norm(states[i] - states[j]))
        for k in range(steps[1] + 1):
            logs[k, i] = np.log(np.linalg.norm(states[i + k] - states[j + k]))
    k = np.arange(steps[0], steps[1] + 1)
    return np.polyfit(k, logs[k].mean(1), 1)[0]


def test_the_logistic_map_parts_by_the_logarithm_of_two():
    for dimension in (1, 2, 3):
        assert lyapunov_exponent(logistic(), (0, 5), dimension=dimension) == pytest.approx(
            np.log(2), abs=0.02
        )
    assert correlation_dimension(logistic(3000), (1e-3, 1e-1), dimension=2) == pytest.approx(
        1, abs=0.15
    )


def test_lorenz_has_its_exponent_and_its_dimension(lorenz):
    steps = (round(0.5 / STEP), round(2.5 / STEP))
    assert lyapunov_exponent(lorenz, steps, **STATE) / STEP == pytest.approx(0.906, abs=0.06)
    assert correlation_dimension(lorenz, (1e-4, 1e-2), **STATE) == pytest.approx(2.05, abs=0.1)


def test_it_is_the_obvious_form():
    x = np.random.default_rng(0).standard_normal(90).cumsum()
    for how in ({"dimension": 2, "delay": 3, "apart": 4}, {"dimension": 1, "delay": 1, "apart": 0}):
        right = obvious(x, (1, 6), **how)
        assert lyapunov_exponent(x, (1, 6), **how) == pytest.approx(right)
    states = np.stack([x[:-3], x[3:]], axis=1)
    i, j = np.triu_indices(len(states), 5)
    distance = np.linalg.norm(states[i] - states[j], axis=1)
    radius = np.quantile(distance, [0.01, 0.3])
    found = correlation_dimension(x, (0.01, 0.3), dimension=2, delay=3, apart=4)
    assert found == pytest.approx(np.log(30) / np.log(radius[1] / radius[0]), abs=0.3)


def test_noise_fills_every_dimension():
    x = np.random.default_rng(0).standard_normal(3000)
    for dimension in (1, 2, 3):
        found = correlation_dimension(x, (1e-4, 1e-2), dimension=dimension)
        assert found == pytest.approx(dimension, rel=0.08)


def test_chaos_is_beyond_its_surrogates_and_linear_noise_is_not(lorenz):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((5, 500))
    for t in range(1, 500):
        noise[:, t] += 0.8 * noise[:, t - 1]
    how = {"dimension": 3, "delay": 2, "apart": 10}

    def ps(series):
        """Two-sided p of both features against 19 series of random phases."""
        drawn = PhaseRandomised(adjust=True).draw_series(series, 19, seed=0)
        made = np.array(
            [
                [lyapunov_exponent(x, (0, 6), **how), correlation_dimension(x, (1e-3, 0.03), **how)]
                for x in [series, *drawn]
            ]
        )
        rank = (made >= made[0]).sum(0), (made <= made[0]).sum(0)
        return np.minimum(1, 2 * np.min(rank, axis=0) / 20)

    assert (ps(lorenz[:1500:3]) == 0.1).all()
    assert ps(logistic(500))[1] == 0.1
    assert np.mean([ps(x) <= 0.1 for x in noise]) <= 0.25
    randomised = PhaseRandomised().draw_series(lorenz[:1500:3], 2, seed=1)
    assert np.mean([ps(x) <= 0.1 for x in randomised]) <= 0.25


def test_type_scale_and_memory_change_nothing():
    x = (1000 * logistic(400)).round()
    for how in ({"steps": (0, 4)}, {"shares": (1e-2, 0.1)}):
        of = lyapunov_exponent if "steps" in how else correlation_dimension
        right = of(x, **how)
        fixed = x.astype(np.int32)
        fixed.flags.writeable = False
        for same in (fixed, x.astype(np.float32), np.repeat(x, 2)[::2], list(x), 1e-12 * x):
            assert of(same, **how) == pytest.approx(right, rel=1e-3)


def test_bad_input_is_refused():
    x = logistic(200)
    for bad in (x[:, None], np.ones(200), np.r_[x, np.nan], x.astype(str), np.array([])):
        with pytest.raises(NisslError):
            lyapunov_exponent(bad, (0, 5))
        with pytest.raises(NisslError):
            correlation_dimension(bad, (1e-3, 0.1))
    for how in ({"dimension": 0}, {"delay": 0}, {"apart": -1}):
        with pytest.raises(NisslError, match="higher ones"):
            correlation_dimension(x, (1e-3, 0.1), **how)
    for steps in ((3, 3), (-1, 2), (5, 2)):
        with pytest.raises(NisslError, match="higher ones"):
            lyapunov_exponent(x, steps)
    for shares in ((0, 0.1), (0.1, 0.01), (0.1, 2)):
        with pytest.raises(NisslError, match="shares"):
            correlation_dimension(x, shares)
    with pytest.raises(TooFewSamples):
        lyapunov_exponent(x, (0, 180))
    with pytest.raises(TooFewSamples):
        correlation_dimension(x, (1e-3, 0.1), apart=100)
