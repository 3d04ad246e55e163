"""Hidden states: against a sum over all paths, planted chains, and nothing where there is one."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from scipy.stats import poisson as scipy_poisson

from nissl.errors import NisslError, TooFewSamples
from nissl.recording import as_recording
from nissl.statistics import Categorical, Gaussian, Glm, Past, Poisson, hidden_states
from nissl.statistics._chain_kernel import best_path, forward_backward

QUIET = {"progress": False}


def chain(n, transition, *, seed=0):
    rng = np.random.default_rng(seed)
    path = [0]
    for _ in range(n - 1):
        path.append(rng.choice(len(transition), p=transition[path[-1]]))
    return np.array(path)


def matched(path, truth):
    """The share of samples that are right, under the best naming of states."""
    n = max(path.max(), truth.max()) + 1
    return max(
        np.mean(np.array(names)[path] == truth) for names in itertools.permutations(range(n))
    )


STICKY = np.array([[0.95, 0.05], [0.05, 0.95]])


@pytest.mark.parametrize("n_states", [1, 2, 3])
def test_likelihood_and_posteriors_are_sums_over_all_paths(n_states):
    rng = np.random.default_rng(n_states)
    emitted = rng.normal(-2, 2, (6, n_states))
    initial = rng.dirichlet(np.ones(n_states))
    transition = rng.dirichlet(np.ones(n_states), n_states)
    total, posterior, moves = forward_backward(emitted, np.log(initial), np.log(transition))
    paths = np.array(list(itertools.product(range(n_states), repeat=6)))
    weight = np.array(
        [
            initial[p[0]]
            * np.prod([transition[i, j] for i, j in itertools.pairwise(p)])
            * np.exp(emitted[range(6), p].sum())
            for p in paths
        ]
    )
    assert total == pytest.approx(np.log(weight.sum()), abs=1e-10)
    share = weight / weight.sum()
    slow = np.array([[share[paths[:, t] == k].sum() for k in range(n_states)] for t in range(6)])
    np.testing.assert_allclose(posterior, slow, atol=1e-10)
    pairs = np.zeros((n_states, n_states))
    for s, p in zip(share, paths, strict=True):
        for i, j in itertools.pairwise(p):
            pairs[i, j] += s
    np.testing.assert_allclose(moves, pairs, atol=1e-10)
    path = best_path(emitted, np.log(initial), np.log(transition))
    np.testing.assert_array_equal(path, paths[weight.argmax()])


def test_states_that_cannot_be_left_or_begun():
    stay = np.where(np.eye(2) > 0, 0.0, -np.inf)
    total, posterior, _ = forward_backward(np.zeros((4, 2)), np.array([0.0, -np.inf]), stay)
    assert total == 0
    assert posterior[:, 0].tolist() == [1, 1, 1, 1]


def test_gaussian_states_are_found_with_their_parameters():
    truth = chain(1500, STICKY)
    rng = np.random.default_rng(1)
    mean = np.array([[0.0, 0.0], [1.5, -1.5]])
    cov = np.array([[[1, 0.6], [0.6, 1]], [[0.5, 0], [0, 2.0]]])
    x = np.stack([rng.multivariate_normal(mean[k], cov[k]) for k in truth])
    found = hidden_states(x, 2, n_starts=3, **QUIET)
    assert matched(found.states(), truth) > 0.95
    order = np.argsort(found.emission.mean[:, 0])
    np.testing.assert_allclose(found.emission.mean[order], mean, atol=0.2)
    np.testing.assert_allclose(found.emission.covariance[order], cov, atol=0.25)
    np.testing.assert_allclose(found.transition[np.ix_(order, order)], STICKY, atol=0.03)
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1)
    slow = np.stack(
        [
            multivariate_normal(*p).logpdf(x)
            for p in zip(found.emission.mean, found.emission.covariance, strict=True)
        ],
        axis=1,
    )
    np.testing.assert_allclose(found.emitted, slow, atol=1e-9)


def test_numbers_of_states_are_told_by_held_out_data():
    rng = np.random.default_rng(2)
    truth = chain(600, STICKY, seed=2)
    counts = rng.poisson(np.array([[1.0, 4.0, 2.0], [4.0, 1.0, 2.0]])[truth])
    run = np.repeat(np.arange(3), 200)
    rec = as_recording(counts, samples={"run": run})
    options = {"emission": "poisson", "n_starts": 2, **QUIET}
    found = hidden_states(rec, [1, 2, 3], n_folds=3, **options)
    assert len(found.initial) == 2
    assert found.held_out.shape == (3, 3)
    assert found.starts.tolist() == [0, 200, 400]
    assert matched(found.states(), truth) > 0.9
    assert hidden_states(rec, [1, 2], n_folds=4, **options).held_out.shape == (2, 4)
    one = rng.poisson([1.0, 4.0, 2.0], (600, 3))
    for n_folds in (3, 5):
        none = hidden_states(one, [1, 2], n_folds=n_folds, **options)
        assert len(none.initial) == 1
        assert none.held_out.mean(axis=1)[2] < none.held_out.mean(axis=1)[1]


def test_one_state_is_the_plain_fit():
    from sklearn.linear_model import LinearRegression, PoissonRegressor

    rng = np.random.default_rng(3)
    x = rng.standard_normal((200, 2)) @ [[1, 0.4], [0, 1]]
    found = hidden_states(x, 1, **QUIET)
    np.testing.assert_allclose(found.emission.mean[0], x.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.emission.covariance[0], np.cov(x.T, ddof=0), atol=1e-12)
    slow = multivariate_normal(x.mean(axis=0), np.cov(x.T, ddof=0)).logpdf(x).sum()
    assert found.log_likelihood == pytest.approx(slow)
    counts = rng.poisson(np.exp(0.3 + x @ [[0.5], [-0.2]]))
    rate = hidden_states(counts, 1, emission="poisson", **QUIET)
    assert rate.log_likelihood == pytest.approx(scipy_poisson(counts.mean()).logpmf(counts).sum())
    made = hidden_states(counts, 1, emission=Glm(penalty=0), inputs=x, **QUIET).emission
    model = PoissonRegressor(alpha=0, tol=1e-10, max_iter=1000).fit(x, counts[:, 0])
    np.testing.assert_allclose(made.weights[0, 0], model.coef_, atol=1e-5)
    assert made.bias[0, 0] == pytest.approx(model.intercept_, abs=1e-5)
    y = 2 + x @ [[0.5], [-0.2]] + rng.standard_normal((200, 1))
    made = hidden_states(y, 1, emission=Glm("gaussian", penalty=0), inputs=x, **QUIET).emission
    line = LinearRegression().fit(x, y)
    np.testing.assert_allclose(made.weights[0], line.coef_, atol=1e-8)
    left = np.mean((y - line.predict(x)) ** 2)
    assert made.variance[0, 0] == pytest.approx(left, rel=0.01)
    dice = rng.integers(0, 3, (200, 2))
    share = hidden_states(dice, 1, emission="categorical", **QUIET).emission.share[0]
    np.testing.assert_allclose(share[0], np.bincount(dice[:, 0]) / 200, atol=1e-12)


def test_categories_that_switch():
    rng = np.random.default_rng(4)
    truth = chain(800, STICKY, seed=4)
    share = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    x = np.stack([rng.choice(3, 2, p=share[k]) for k in truth])
    found = hidden_states(x, 2, emission=Categorical(), n_starts=2, **QUIET)
    assert matched(found.states(), truth) > 0.9
    order = np.argsort(-found.emission.share[:, 0, 0])
    np.testing.assert_allclose(found.emission.share[order, 0], share, atol=0.08)


def test_regressions_that_switch_while_means_do_not():
    """The sign of a drive switches; the mean rate is the same in both states."""
    rng = np.random.default_rng(5)
    truth = chain(1500, STICKY, seed=5)
    drive = rng.standard_normal((1500, 2))
    weights = np.array([[[1.0, 0.0], [0.0, 0.8]], [[-1.0, 0.0], [0.0, -0.8]]])
    linear = np.einsum("tp,tup->tu", drive, weights[truth])
    for emission, x in [
        (Glm("gaussian"), linear + rng.standard_normal(linear.shape)),
        (Glm("poisson"), rng.poisson(np.exp(0.5 + linear))),
    ]:
        found = hidden_states(x, 2, emission=emission, inputs=drive, n_starts=4, **QUIET)
        assert matched(found.states(), truth) > 0.9
        order = np.argsort(-found.emission.weights[:, 0, 0])
        np.testing.assert_allclose(found.emission.weights[order], weights, atol=0.2)
        again = found.infer(x[:500], inputs=drive[:500])
        assert again.log_likelihood == pytest.approx(found.emitted.max(axis=1)[:500].sum(), rel=0.2)


def test_past_stays_inside_runs_and_weighs_by_decay():
    x = np.arange(1.0, 7)[:, None]
    lags = Past(2)(x, np.array([0, 3]))
    assert lags.tolist() == [[0, 0], [1, 0], [2, 1], [0, 0], [4, 0], [5, 4]]
    one = Past(2, decay=0.5)(x, np.array([0, 3]))
    np.testing.assert_allclose(one[:, 0], lags @ [2 / 3, 1 / 3])
    rec = as_recording(
        np.random.default_rng(0).poisson(1, (60, 2)), samples={"run": np.arange(60) // 30}
    )
    found = hidden_states(rec, [1, 2], emission="glm", inputs=Past(1), n_starts=1, **QUIET)
    assert found.infer(rec).log_likelihood == pytest.approx(found.log_likelihood)


def test_long_sequences_do_not_underflow_and_runs_are_chains_of_their_own():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((50_000, 1)) * 1e-3
    found = hidden_states(x, 1, **QUIET)
    assert np.isfinite(found.log_likelihood)
    emitted = np.full((50_000, 2), -700.0)
    total, posterior, _ = forward_backward(emitted, np.log([0.5, 0.5]), np.log(STICKY))
    assert total == pytest.approx(-700.0 * 50_000)
    assert np.allclose(posterior, 0.5)
    two = as_recording(np.r_[x[:100], x[:100]], samples={"run": np.repeat([0, 1], 100)})
    fit = hidden_states(two, 2, n_starts=1, **QUIET)
    np.testing.assert_allclose(fit.posterior[:100], fit.posterior[100:], atol=1e-12)


def test_the_same_for_a_seed_and_more_likely_with_more_starts():
    truth = chain(300, STICKY, seed=7)
    x = truth[:, None] + np.random.default_rng(7).standard_normal((300, 1))
    one, again = (hidden_states(x, 3, n_starts=2, seed=1, **QUIET) for _ in range(2))
    np.testing.assert_array_equal(one.posterior, again.posterior)
    assert hidden_states(x, 3, n_starts=6, seed=1, **QUIET).log_likelihood >= one.log_likelihood


def test_states_are_drawn():
    x = np.repeat([0.0, 5.0], 20)[:, None] + np.random.default_rng(0).normal(size=(40, 1))
    assert len(hidden_states(x, [1, 2], n_starts=1, **QUIET).plot().axes) >= 3
    plt.close("all")


def test_bad_input_is_named():
    x = np.random.default_rng(0).standard_normal((40, 2))
    with pytest.raises(NisslError, match="is no count"):
        hidden_states(x, 2, emission="poisson", **QUIET)
    with pytest.raises(NisslError, match="needs inputs"):
        hidden_states(x, 2, emission="glm", **QUIET)
    with pytest.raises(NisslError, match="inputs have shape"):
        hidden_states(x, 2, emission=Glm("gaussian"), inputs=x[:5], **QUIET)
    with pytest.raises(TooFewSamples):
        hidden_states(x, 30, **QUIET)
    with pytest.raises(TooFewSamples):
        hidden_states(x, 0, **QUIET)
    with pytest.raises(NisslError, match="does not vary"):
        hidden_states(np.c_[x, np.ones(40)], 2, emission=Gaussian(), **QUIET)
    with pytest.raises(NisslError, match="NaN"):
        hidden_states(np.where(x > 2, np.nan, x) * np.nan, 2, **QUIET)
    fitted = hidden_states(np.tile([[0, 1], [1, 0]], (9, 1)), 1, emission="categorical", **QUIET)
    with pytest.raises(NisslError, match="category 2"):
        fitted.infer(np.full((4, 2), 2))
    silent = np.c_[np.ones(40), np.zeros(40)].astype(int)
    assert np.isfinite(hidden_states(silent, 2, emission=Poisson(), **QUIET).log_likelihood)
