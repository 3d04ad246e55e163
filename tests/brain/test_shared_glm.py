"""System 31: a planted connectome whose strengths switch, against the plain regressions."""

import itertools

import numpy as np
import pytest
from scipy.stats import truncnorm

from nissl.brain import SharedGlm
from nissl.statistics import Glm, Past, average_precision, hidden_states

N_UNITS, PAST = 10, Past(3, decay=0.5)


def planted(seed, n=1400, density=0.2):
    """Series of neurons whose edges have one sign in two states, and strengths of their own."""
    rng = np.random.default_rng(seed)
    sign = rng.choice(
        [-1, 0, 1], p=[density / 2, 1 - density, density / 2], size=(N_UNITS, N_UNITS)
    )
    weights = (
        sign * rng.uniform(0.3, 0.9, (2, N_UNITS, N_UNITS)) * rng.choice([0.2, 1], (2, 1, N_UNITS))
    )
    state = (np.cumsum(rng.random(n) < 0.03) % 2).astype(int)
    weights *= 0.8 / np.abs(np.linalg.eigvals(weights)).max()
    kernel = 0.5 ** np.arange(1, 4)
    x = np.zeros((n + 3, N_UNITS))
    for t in range(n):
        drive = kernel[::-1] / kernel.sum() @ x[t : t + 3]
        x[t + 3] = weights[state[t]] @ drive + rng.standard_normal(N_UNITS)
    return x[3:], state, weights, sign


def judged(found, state, weights, sign, score):
    """State accuracy, average precision of edges, error of weights."""
    path, w = found.states(), found.emission.weights
    naming = max(
        itertools.permutations(range(2)), key=lambda p: np.mean(np.array(p)[path] == state)
    )
    right = np.mean(np.array(naming)[path] == state)
    edges = float(average_precision(score.ravel()[:, None], (sign != 0).ravel())[0])
    error = np.sqrt(np.mean((w[np.argsort(naming)] - weights) ** 2))
    return np.array([right, edges, error])


def test_connectome_and_states_are_better_than_by_the_plain_model():
    plain, shared, gained = [], [], []
    for seed in range(2):
        x, state, weights, sign = planted(seed)
        train, test = x[:1000], x[1000:]
        options = {"inputs": PAST, "n_starts": 2, "progress": False}
        found = hidden_states(train, 2, emission=Glm("gaussian"), **options)
        strength = np.abs(found.emission.weights).mean(axis=0)
        plain.append(judged(found, state[:1000], weights, sign, strength))
        one = hidden_states(train, 2, emission=SharedGlm("gaussian"), **options)
        sure = np.abs(one.emission.connectome)
        shared.append(judged(one, state[:1000], weights, sign, sure))
        assert (np.sign(one.emission.connectome) == sign)[sure > 0.9].mean() > 0.95
        gained.append(one.infer(test).log_likelihood - found.infer(test).log_likelihood)
    (right, edges, error), (right_1, edges_1, error_1) = (
        np.mean(plain, axis=0),
        np.mean(shared, axis=0),
    )
    assert right_1 > right
    assert edges_1 > edges
    assert error_1 < 0.7 * error
    assert min(gained) > 0


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_no_edges_and_no_states_where_there_are_none(family):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((600, 6)) if family == "gaussian" else rng.poisson(1.0, (600, 6))
    options = {"inputs": PAST, "n_starts": 1, "progress": False}
    found = hidden_states(x, [1, 2], emission=SharedGlm(family), n_folds=3, **options)
    assert len(found.initial) == 1
    assert np.abs(found.emission.connectome).max() < 0.95


def test_a_shared_mean_pulls_weights_of_states_together():
    x, *_ = planted(3, n=500)
    options = {"inputs": PAST, "n_starts": 1, "progress": False}
    free = hidden_states(x, 2, emission=Glm("gaussian"), **options).emission.weights
    tied = hidden_states(x, 2, emission=SharedGlm("gaussian", prior="gaussian"), **options).emission
    assert np.std(tied.weights, axis=0).mean() < np.std(free, axis=0).mean()
    np.testing.assert_allclose(tied.centre, tied.weights.mean(axis=0), atol=0.05)


def test_one_edge_is_weighed_as_by_integration():
    """One unit, one input, one state: class and mean weight by numerical integration."""
    rng = np.random.default_rng(2)
    drive = 1 + rng.standard_normal((60, 1))
    x = 0.3 * drive + rng.standard_normal((60, 1))
    made = SharedGlm("gaussian", step=99, scale=0.5).begun(x, drive, np.ones((60, 1)))
    b, h = (v / made.variance.item() for v in made.quadratic(x, drive, np.ones((60, 1))))
    made = made._one_hot(b, h)
    grid = np.linspace(-4, 4, 400_001)
    slope = np.linalg.solve(h[0, 0], b[0, 0])[0]  # with a bias of its own
    spread = np.linalg.inv(h[0, 0])[0, 0]
    likelihood = np.exp((slope**2 - (grid - slope) ** 2) / (2 * spread))
    half = [truncnorm(*side, scale=0.5).pdf(grid) for side in ((-np.inf, 0), (0, np.inf))]
    mass = np.array(
        [np.trapezoid(likelihood * half[0], grid), 1, np.trapezoid(likelihood * half[1], grid)]
    )
    mass *= [0.1, 0.8, 0.1]
    np.testing.assert_allclose(made.graph[0, 0], mass / mass.sum(), rtol=1e-3)
    density = likelihood * (0.1 * half[0] + 0.1 * half[1])
    assert made.weights.item() == pytest.approx(
        np.trapezoid(density * grid, grid) / mass.sum(), rel=1e-3
    )


@pytest.mark.parametrize("n_states", [2, 4])
def test_a_state_that_has_lost_its_samples_has_weights_nonetheless(n_states):
    rng = np.random.default_rng(3)
    x, drive, shares = rng.poisson(1.0, (80, 3)), rng.random((80, 3)), np.zeros((80, n_states))
    shares[:, 0] = 1
    made = SharedGlm().fitted(x, drive, shares)
    for _ in range(60):
        made = made.fitted(x, drive, shares)
    assert made.settled
    assert np.isfinite(made.log_likelihood(x, drive)).all()
    assert (made.graph[..., 1] > 0.5).all()
