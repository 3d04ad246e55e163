"""Retinal correlations: planted kernels and gains are measured; adaptation evens them out."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from nissl.brain import connectivity
from nissl.statistics import Test, delayed, ridge

SCRIPT = Path(__file__).parents[3] / "replications" / "brain" / "retinal_correlations.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def planted(script):
    """Return stimuli, light, and spikes of an adapted and of a fixed population."""
    rng, given = np.random.default_rng(0), script["movies"]()
    places = np.mgrid[8:21:4, 8:21:4].reshape(2, 16).T + rng.uniform(-1, 1, (16, 2))
    seen = {name: script["light"](movie, places) for name, movie in given.items()}
    return given, seen, *(script["spikes"](seen, given, rng, adapt=a) for a in (True, False))


def test_stimuli_have_one_contrast_and_the_correlations_that_they_are_named_by(planted):
    given = planted[0]
    near = {
        n: (np.mean(m[:, :, 4:] * m[:, :, :-4]), np.mean(m[1:] * m[:-1])) for n, m in given.items()
    }
    np.testing.assert_allclose([m.std() for m in given.values()], 1)
    np.testing.assert_allclose(near["white"], 0, atol=0.01)
    np.testing.assert_allclose(near["space"], (np.exp(-4 / 9), 0), atol=0.02)
    np.testing.assert_allclose(near["space, time"], (np.exp(-4 / 9), 0.9), atol=0.03)
    assert min(near["natural"]) > 0.7


def test_light_is_a_weighted_mean(script):
    movie = np.random.default_rng(0).standard_normal((script["FRAMES"], 32, 32))
    place = np.array([[16.0, 15.5]])
    y, x = np.mgrid[:32, :32]
    weights = np.exp(-((y - 16) ** 2 + (x - 15.5) ** 2) / 2)
    found = script["light"](movie, place)
    np.testing.assert_allclose(
        found[5, 0, 0], (movie[5] * weights).sum() / weights.sum(), atol=1e-6
    )
    np.testing.assert_allclose(script["light"](np.ones_like(movie), place)[0, 0], 1, atol=0.01)


def test_a_planted_kernel_is_recovered(script, planted):
    _, seen, _, fixed = planted
    impulse = np.zeros((script["LAGS"], 1, 2))
    impulse[0, 0, 0] = 1
    truth = script["drive"](impulse, 0, 0)[:, 0]
    x = delayed(seen["white"][:, 0], range(script["LAGS"]))
    weights = ridge(x, fixed["white"][:, :1], progress=False).coefficients()[::2, 0]
    assert np.corrcoef(weights, truth)[0, 1] > 0.95


def test_changes_are_found_where_they_were_planted_alone(script, planted):
    _, seen, adapted, fixed = planted
    changed, same = script["changes"](seen, adapted), script["changes"](seen, fixed)
    assert changed["surround"] > 1.3
    assert changed["delay"] < 0.9
    assert changed["gain"] < 0.7
    assert 0.8 < same["surround"] < 1.3
    assert 0.9 < same["delay"] < 1.2
    assert 0.8 < same["gain"] < 1.2


def test_adaptation_evens_out_and_independent_cells_are_not_correlated(script, planted):
    _, seen, adapted, fixed = planted
    light = {name: x[..., 0] for name, x in seen.items()}
    spread = script["spread"]
    assert spread(adapted) < 0.5 * spread(fixed) < 0.5 * spread(light)
    moved = np.stack([np.roll(c, 150 * u) for u, c in enumerate(adapted["white"].T)], axis=1)
    found = connectivity(moved[:1000], test=Test(99), progress=False).edges.table
    assert 0.01 <= (found["p"] <= 0.05).mean() <= 0.12
