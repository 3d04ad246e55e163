"""Gram and dissimilarity matrices against scipy, scikit-learn and slow obvious forms."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.covariance import LedoitWolf

from nissl.errors import NisslError, TooFewSamples
from nissl.recording import as_recording
from nissl.statistics import dissimilarities, gram


def distances(x, **kwargs):
    return dissimilarities(x, progress=False, **kwargs)


def by_scipy(x, measure):
    x = np.asarray(x, dtype=float)
    if measure == "euclidean":
        return squareform(pdist(x, "sqeuclidean")) / x.shape[1]
    return squareform(pdist(x, measure))


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return rng.standard_normal((12, 3000)) + rng.standard_normal(3000)


@pytest.mark.parametrize("measure", ["correlation", "euclidean", "cosine"])
def test_every_kind_of_input_agrees_with_scipy(x, measure):
    expected = by_scipy(x, measure)
    found = distances(x, measure=measure)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)
    assert (found == found.T).all()
    assert (found.diagonal() == 0).all()
    x.flags.writeable = False
    rec = as_recording(x, samples={"stimulus": np.arange(12)})
    for same in (np.asfortranarray(x), x.tolist(), rec, np.repeat(x, 2, axis=1)[:, ::2]):
        np.testing.assert_allclose(distances(same, measure=measure), expected, rtol=1e-11)
    blocks = (x[:, a : a + 700] for a in range(0, 3000, 700))
    np.testing.assert_allclose(distances(blocks, measure=measure), expected, rtol=1e-11)
    whole = np.round(100 * x).astype(np.int32)
    np.testing.assert_allclose(
        distances(whole, measure=measure), by_scipy(whole, measure), rtol=1e-11
    )


@pytest.mark.parametrize("measure", ["correlation", "euclidean", "cosine"])
@pytest.mark.parametrize(
    ("mean", "spread", "row"), [(1e4, 1, 0), (1e4, 1e3, 0), (0, 1, 1e4), (-1e4, 10, 1e3)]
)
def test_large_means_lose_no_digits(measure, mean, spread, row):
    # Levels of units and of whole patterns, in float32; scipy is given the same numbers in float64.
    rng = np.random.default_rng(1)
    x = rng.standard_normal((20, 2500)) + mean + spread * rng.standard_normal(2500)
    x = (x + row * rng.standard_normal((20, 1))).astype(np.float32)
    found, expected = distances(x, measure=measure), by_scipy(x, measure)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-13)
    blocks = distances(iter(np.array_split(x, 7, axis=1)), measure=measure)
    np.testing.assert_allclose(blocks, expected, rtol=1e-6, atol=1e-13)


def test_patterns_that_nearly_coincide_are_looked_at_again_in_float64(x):
    near = x[:1] + 1e-3 * np.random.default_rng(1).standard_normal((1, 3000))
    x = np.concatenate([x, near]).astype(np.float32)
    for measure in ("correlation", "euclidean", "cosine"):
        np.testing.assert_allclose(distances(x, measure=measure), by_scipy(x, measure), rtol=1e-8)


@pytest.mark.parametrize("measure", ["correlation", "euclidean", "cosine"])
def test_weak_patterns_among_strong_ones_lose_no_digits(measure):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((12, 1500)) + 10.0 ** rng.uniform(0, 4) * rng.standard_normal(1500)
        x = x * 10.0 ** rng.uniform(-3, 3, (12, 1)) * 10.0 ** [0, 22, -22][seed % 3]
        x[1] = 2.2 * x[0] * (1 + 1e-5 * rng.standard_normal(1500))
        x = x.astype(np.float32)
        expected = by_scipy(x, measure)
        least = 1e-12 * (1 if measure != "euclidean" else (x.astype(float) ** 2).mean(axis=1).min())
        np.testing.assert_allclose(distances(x, measure=measure), expected, rtol=5e-3, atol=least)


def test_gram_is_products_or_a_function_of_distances(x):
    def made(x, **kwargs):
        return gram(x, progress=False, **kwargs)

    np.testing.assert_allclose(made(x), x @ x.T, rtol=1e-12)
    level = x + 1e6
    centred = x - x.mean(axis=0)
    np.testing.assert_allclose(made(level, centre=True), centred @ centred.T, atol=1e-5)
    far = pdist(x)
    expected = np.exp(-(squareform(far) ** 2) / (2 * (0.5 * np.median(far)) ** 2))
    np.testing.assert_allclose(made(x, kernel="rbf", bandwidth=0.5), expected, rtol=1e-10)
    h = np.eye(12) - 1 / 12
    found = made(x, kernel="rbf", bandwidth=0.5, centre=True)
    np.testing.assert_allclose(found, h @ expected @ h, atol=1e-12)
    with pytest.raises(NisslError, match="alike"):
        made(np.ones((3, 4)), kernel="rbf")


def noisy(rng, n, n_units):
    """Return a root of a covariance, and noise of it."""
    turned = np.linalg.qr(rng.standard_normal((n_units, n_units)))[0]
    mix = (turned * rng.uniform(0.5, 2, n_units)) @ turned.T
    return mix, rng.standard_normal((n, n_units)) @ mix


@pytest.mark.parametrize(("n", "n_units"), [(40, 90), (300, 25), (60, 1)])
def test_mahalanobis_is_that_of_the_covariance_of_ledoit_and_wolf(n, n_units):
    rng = np.random.default_rng(2)
    _, r = noisy(rng, n, n_units)
    x = rng.standard_normal((6, n_units)) + 50
    inverse = np.linalg.inv(LedoitWolf().fit(r).covariance_)
    expected = cdist(x, x, "mahalanobis", VI=inverse) ** 2 / n_units
    found = distances(x, measure="mahalanobis", residuals=r + 7)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    found = distances(x, measure="mahalanobis", residuals=r, covariance="diagonal")
    np.testing.assert_allclose(found, by_scipy(x / r.std(axis=0), "euclidean"), atol=1e-9)
    # Means of runs are no noise.
    run = np.arange(n) % 3
    less = r - np.stack([r[run == i].mean(axis=0) for i in range(3)])[run]
    a = distances(x, measure="mahalanobis", residuals=r + 9.0 * run[:, None], residual_runs=run)
    np.testing.assert_allclose(a, distances(x, measure="mahalanobis", residuals=less), atol=1e-8)


def test_planted_covariance_is_divided_out():
    rng = np.random.default_rng(3)
    mix, r = noisy(rng, 20_000, 30)
    x = rng.standard_normal((8, 30))
    found = distances(x @ mix, measure="mahalanobis", residuals=r)
    np.testing.assert_allclose(found, by_scipy(x, "euclidean"), rtol=0.03)


def slow_crossnobis(x, stimuli, runs, roots):
    """Walther et al. 2016: patterns whitened by run, differences of two runs multiplied."""
    total, pairs = 0, 0
    names = np.unique(runs)
    white = {}
    for name in names:
        rows = [x[(runs == name) & (stimuli == s)].mean(axis=0) for s in np.unique(stimuli)]
        white[name] = np.stack(rows) @ roots[name]
    for a in names:
        for b in names[names != a]:
            da, db = (w[:, None] - w for w in (white[a], white[b]))
            total, pairs = total + (da * db).sum(axis=2), pairs + 1
    return total / pairs / x.shape[1]


@pytest.mark.parametrize(("n", "n_units"), [(30, 70), (200, 15)])
def test_crossnobis_is_the_slow_form_with_a_covariance_a_run(n, n_units):
    rng = np.random.default_rng(4)
    runs, stimuli = np.repeat([2, 0, 1], 10), np.tile(np.arange(5), 6)
    x = rng.standard_normal((30, n_units)) + 10 * runs[:, None]
    r = np.concatenate([noisy(rng, n, n_units)[1] for _ in range(3)])
    of = np.repeat([0, 1, 2], n)
    roots = {}
    for k in range(3):
        e, v = np.linalg.eigh(LedoitWolf().fit(r[of == k]).covariance_)
        roots[k] = (v * e**-0.5) @ v.T
    order = rng.permutation(30)
    given = {"stimuli": stimuli[order], "runs": runs[order], "measure": "crossnobis"}
    expected = slow_crossnobis(x, stimuli, runs, roots)
    found = distances(x[order], residuals=r, residual_runs=of, **given)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)
    # In blocks, whose number of units is known only at their end.
    blocks = (np.array_split(part, 2, axis=1) for part in (x[order], r))
    found = distances(next(blocks), residuals=next(blocks), residual_runs=of, **given)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)
    plain = slow_crossnobis(x, stimuli, runs, {k: np.eye(n_units) for k in range(3)})
    np.testing.assert_allclose(distances(x[order], **given), plain, atol=1e-10)
    roots = {k: np.diag(1 / r[of == k].std(axis=0)) for k in range(3)}
    found = distances(x[order], residuals=r, residual_runs=of, covariance="diagonal", **given)
    np.testing.assert_allclose(found, slow_crossnobis(x, stimuli, runs, roots), atol=1e-9)


def test_crossnobis_of_stimuli_that_do_not_differ_has_a_mean_of_0():
    rng = np.random.default_rng(5)
    mix, _ = noisy(rng, 1, 20)
    runs, stimuli = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    truth = np.stack([np.zeros(20), np.zeros(20), np.ones(20)])
    inverse = np.linalg.inv(mix.T @ mix)
    far = truth[2] @ inverse @ truth[2] / 20
    made, plain = [], []
    for _ in range(300):
        x = truth[stimuli] + rng.standard_normal((12, 20)) @ mix
        r = rng.standard_normal((400, 20)) @ mix
        made.append(
            distances(
                x,
                measure="crossnobis",
                stimuli=stimuli,
                runs=runs,
                residuals=r,
                residual_runs=np.repeat(np.arange(4), 100),
            )
        )
        plain.append(distances(x[:3], measure="mahalanobis", residuals=r)[0, 1])
    mean, error = np.mean(made, axis=0), np.std(made, axis=0) / np.sqrt(300)
    assert abs(mean[0, 1]) < 3.5 * error[0, 1]
    assert mean[0, 2] > 10 * error[0, 2]
    assert mean[0, 2] == pytest.approx(far, rel=0.25)  # the covariance is estimated, and shrunk
    assert np.mean(plain) > 1.5  # without crossing runs: twice the noise


def test_what_cannot_be_compared_is_refused(x):
    flat = x.copy()
    flat[[2, 5]] = [[3.0], [0.1]]
    with pytest.raises(NisslError, match="2 patterns do not vary") as error:
        distances(flat)
    assert error.value.where == "stimulus 2, 5"
    with pytest.raises(NisslError, match="do not vary"):
        distances(flat.astype(np.float32))
    with pytest.raises(NisslError, match="all zero") as error:
        distances(np.where(np.arange(12)[:, None] == 4, 0, x), measure="cosine")
    assert error.value.where == "stimulus 4"
    distances(flat, measure="euclidean")
    bad = x.copy()
    bad[3, 2999] = np.nan
    with pytest.raises(NisslError, match="NaN") as error:
        distances(bad.astype(np.float32))
    assert error.value.where == "sample 3, unit 2999"
    for wrong in (np.zeros(4), np.zeros((0, 3)), np.zeros((3, 0)), [], np.array([["a"]]), 3.0):
        with pytest.raises(NisslError):
            distances(wrong)
    with pytest.raises(NisslError, match="before it 12"):
        distances([x, x[:5]])
    with pytest.raises(TooFewSamples):
        distances(x[:1])
    with pytest.raises(NisslError, match="take no runs"):
        distances(x, runs=np.arange(12))
    with pytest.raises(NisslError, match="needs noise"):
        distances(x, measure="mahalanobis")


def test_crossnobis_wants_every_stimulus_in_every_run(x):
    runs, stimuli = np.repeat([0, 1], 6), np.tile(np.arange(6), 2)
    with pytest.raises(NisslError, match="needs the stimulus and the run"):
        distances(x, measure="crossnobis", runs=runs)
    with pytest.raises(TooFewSamples, match="1 runs"):
        distances(x, measure="crossnobis", runs=0 * runs, stimuli=stimuli)
    with pytest.raises(NisslError, match="'5' in run 1"):
        distances(x, measure="crossnobis", runs=runs, stimuli=np.minimum(stimuli, 5 - runs))
    given = {"measure": "crossnobis", "runs": runs, "stimuli": stimuli}
    with pytest.raises(NisslError, match="residuals are of runs"):
        distances(x, residuals=x, residual_runs=runs + 1, **given)
    with pytest.raises(NisslError, match="952 and 951 units"):
        distances([x], residuals=[x[:, 1:]], **given)
    with pytest.raises(TooFewSamples, match="two residuals"):
        distances(x, residuals=x[:2], residual_runs=[0, 1], **given)
    with pytest.raises(NisslError, match="do not vary"):
        distances(x, residuals=0 * x, **given)
    with pytest.raises(NisslError, match="of a unit do not vary"):
        distances(x, residuals=x * (np.arange(3000) != 7), covariance="diagonal", **given)
    rec = as_recording(x, samples={"run": runs, "stimulus": stimuli})
    named = distances(rec, measure="crossnobis", runs="run", stimuli="stimulus")
    np.testing.assert_array_equal(named, distances(x, **given))
