import numpy as np
import pytest
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.linear_model import RidgeCV

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics import delayed, folds, ridge

PENALTIES = np.logspace(-2, 4, 7)


def data(n=90, p=30, t=12, *, noise=2.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p)) * np.linspace(0.1, 2, p) + 3
    y = x @ rng.standard_normal((p, t)) + noise * rng.standard_normal((n, t)) * np.logspace(
        -1, 2, t
    )
    return x, y - 7


def fitted(x, y, **options):
    return ridge(x, y, progress=False, **{"penalties": PENALTIES, **options})


def slow_r2(x, y, penalty, made):
    """R2 over the tested samples of all folds, by scikit-learn."""
    off, power = 0.0, 0.0
    for train, test in made:
        model = SklearnRidge(alpha=penalty).fit(x[train], y[train])
        off += ((y[test] - model.predict(x[test]).reshape(y[test].shape)) ** 2).sum(axis=0)
        power += ((y[test] - y[train].mean(axis=0)) ** 2).sum(axis=0)
    return 1 - off / power


@pytest.mark.parametrize("p", [1, 30, 200])
@pytest.mark.parametrize("gap", [0, 3])
def test_penalties_scores_and_predictions_equal_those_of_scikit_learn(p, gap):
    x, y = data(p=p)
    made = folds(np.repeat([0, 2, 1], [20, 30, 40]), gap=gap)
    found = fitted(x, y, folds=made)
    scores = np.stack([slow_r2(x, y, penalty, made) for penalty in PENALTIES])
    assert np.array_equal(found.penalty, PENALTIES[scores.argmax(axis=0)])
    assert len(set(found.penalty)) > 1 or p == 1
    np.testing.assert_allclose(found.score, scores.max(axis=0), atol=1e-6)
    model = SklearnRidge(alpha=found.penalty, solver="svd").fit(x, y)
    new = data(seed=1, p=p)[0]
    np.testing.assert_allclose(found.predict(new), model.predict(new), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.coefficients(), model.coef_.T, atol=1e-9)
    np.testing.assert_allclose(found.coefficients([3, 1]), model.coef_.T[:, [3, 1]], atol=1e-9)


def test_one_sample_a_fold_is_scikit_learns_leave_one_out():
    x, y = data(n=40, p=25)
    theirs = RidgeCV(alphas=PENALTIES, alpha_per_target=True).fit(x, y)
    ours = fitted(x, y, folds=40)
    assert np.array_equal(ours.penalty, theirs.alpha_)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=1e-8)


@pytest.mark.parametrize("p", [30, 200])
def test_a_penalty_that_a_gram_matrix_would_lose_goes_by_svd(p):
    x, y = data(p=p, noise=0.0)
    x[:, :2] *= 1e4
    made = folds(n_samples=90)
    found = fitted(x, y, penalties=[1e-6, 1e-5], folds=made)
    model = SklearnRidge(alpha=found.penalty, solver="svd").fit(x, y)
    np.testing.assert_allclose(found.predict(x), model.predict(x), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.coefficients(), model.coef_.T, rtol=1e-6, atol=1e-8)


def test_forms_agree():
    x, y = data()
    wide = np.concatenate([x, np.full((90, 100), 5.0)], axis=1)  # silent features: kernel form
    primal, kernel = fitted(x, y), fitted(wide, y)
    assert np.array_equal(primal.penalty, kernel.penalty)
    np.testing.assert_allclose(primal.score, kernel.score, atol=1e-9)
    np.testing.assert_allclose(primal.predict(x), kernel.predict(wide), atol=1e-9)
    np.testing.assert_allclose(kernel.coefficients()[30:], 0)


@pytest.mark.parametrize("width", [20, 100])
def test_weights_of_bands_are_found(width):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((150, 3 * width))
    band = np.repeat(["c", "a", "b"], width)
    w = rng.standard_normal((3 * width, 20))
    w[:width, :10] = 0  # targets 0 to 9 are of band a alone, the others of c
    w[width : 2 * width, 10:] = 0
    w[2 * width :] = 0
    y = x @ w + 3 * rng.standard_normal((150, 20))
    banded = fitted(x[:100], y[:100], bands=band, n_draws=20)
    plain = fitted(x[:100], y[:100])
    np.testing.assert_allclose(banded.bands.sum(axis=0), 1)
    assert banded.bands[0, :10].mean() > 0.8  # sorted: a, b, c
    assert banded.bands[2, 10:].mean() > 0.8
    off = [((m.predict(x[100:]) - y[100:]) ** 2).mean() for m in (banded, plain)]
    assert off[0] < 0.8 * off[1]
    t = 3
    root = np.sqrt(banded.bands[:, t])[np.searchsorted(["a", "b", "c"], band)]
    model = SklearnRidge(alpha=banded.penalty[t]).fit(x[:100] * root, y[:100, t])
    np.testing.assert_allclose(banded.predict(x)[:, t], model.predict(x * root), atol=1e-8)
    np.testing.assert_allclose(banded.coefficients([t])[:, 0], model.coef_ * root, atol=1e-9)
    made = folds(n_samples=100)
    expected = slow_r2(x[:100] * root, y[:100, t : t + 1], banded.penalty[t], made)
    np.testing.assert_allclose(banded.score[t], expected[0], atol=1e-6)
    parts = sum(banded.predict(x, band=b) for b in range(3))
    np.testing.assert_allclose(parts + y[:100].mean(axis=0), banded.predict(x), atol=1e-9)


def test_one_band_is_plain_ridge_and_columns_may_be_given():
    x, y = data()
    plain, banded = fitted(x, y), fitted(x, y, bands=["all"] * 30)
    assert np.array_equal(plain.penalty, banded.penalty)
    assert np.array_equal(plain.predict(x), banded.predict(x))
    label = fitted(x, y, bands=np.arange(30) // 10, n_draws=3)
    column = fitted(x, y, bands=[range(10), np.arange(10, 20), list(range(20, 30))], n_draws=3)
    assert np.array_equal(label.bands, column.bands)


def test_nothing_is_predicted_from_noise():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((400, 50)), rng.standard_normal((400, 300))
    found = ridge(x[:200], y[:200], progress=False)
    off = ((found.predict(x[200:]) - y[200:]) ** 2).sum(axis=0)
    r2 = 1 - off / ((y[200:] - y[:200].mean(axis=0)) ** 2).sum(axis=0)
    assert abs(r2.mean()) < 0.02
    assert abs(found.score.mean()) < 0.02


def test_delays_equal_a_design_made_by_hand():
    x = np.arange(14.0).reshape(7, 2) + 1
    run = np.array([5, 5, 5, 5, 1, 1, 1])
    by_hand = np.zeros((7, 3, 2))
    for k, lag in enumerate((0, 2, -1)):
        for i in range(7):
            if 0 <= i - lag < 7 and run[i - lag] == run[i]:
                by_hand[i, k] = x[i - lag]
    assert np.array_equal(delayed(x, [0, 2, -1], groups=run), by_hand.reshape(7, 6))
    assert not delayed(x, [9]).any()
    mixed = np.array([0, 4, 1, 5, 2, 6, 3])  # samples of runs need not lie together
    assert np.array_equal(
        delayed(x[mixed], [1], groups=run[mixed]), delayed(x, [1], groups=run)[mixed]
    )


def test_a_delayed_response_is_predicted():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 4))
    design = delayed(x, range(4))
    y = np.concatenate([np.zeros((2, 4)), x[:-2]]) + 0.1 * rng.standard_normal((300, 4))
    assert fitted(design, y).score.min() > 0.95
    assert fitted(x, y).score.max() < 0.05


def test_what_does_not_vary_is_no_nan():
    x, y = data()
    x[:, 3], y[:, 5], y[:18, 6] = 2.0, 0.1, 1.0
    found = fitted(x, y)
    assert np.isfinite(found.predict(x)).all()
    np.testing.assert_allclose(found.predict(x)[:, 5], 0.1)
    assert found.score[5] == 0
    for shape in ((90, 4), (90, 200)):
        still = ridge(np.ones(shape), y, progress=False)
        np.testing.assert_allclose(still.predict(2 * np.ones((2, shape[1]))), [y.mean(axis=0)] * 2)
        assert abs(still.score).max() < 1e-12
        assert not still.coefficients().any()


@pytest.mark.parametrize("p", [30, 200])
def test_any_layout_and_kind_of_numbers(p):
    x, y = data(p=p)
    whole = fitted(x, y)
    x.setflags(write=False)
    for kind in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2]):
        np.testing.assert_allclose(fitted(kind(x), kind(y)).predict(x), whole.predict(x), rtol=1e-9)
    counts = np.round(10 * x).astype(np.int16)
    same = fitted(counts.astype(float), y)
    np.testing.assert_array_equal(fitted(counts, y).penalty, same.penalty)
    # float32 far from zero: centred before it is multiplied
    single = fitted((x + 1000).astype(np.float32), (y + 1000).astype(np.float32))
    assert single.predict(x + 1000).dtype == np.float32
    assert np.mean(single.penalty == whole.penalty) > 0.9
    same = single.penalty == whole.penalty
    off = (single.predict(x + 1000) - 1000 - whole.predict(x))[:, same]
    assert np.abs(off).max() < 1e-3 * y.std(axis=0).max()


def test_bad_input_is_refused():
    x, y = data()
    bad = x.copy()
    bad[3, 2] = np.nan
    for make in (
        lambda: fitted(bad, y),
        lambda: fitted(x, np.where(y > 0, np.inf, y)),
        lambda: fitted(x[:-1], y),
        lambda: fitted(x, y[:, 0]),
        lambda: fitted(x, y[:, :0]),
        lambda: fitted(x[:0], y[:0]),
        lambda: fitted(x.astype(complex), y),
        lambda: fitted(x, y, penalties=[0.0, 1.0]),
        lambda: fitted(x, y, penalties=[]),
        lambda: fitted(x, y, penalties=[1.0, np.nan]),
        lambda: fitted(x, y, bands=["a"] * 29),
        lambda: fitted(x, y, bands=[[0, 1], [1, 2]]),
        lambda: fitted(x, y, bands=[]),
        lambda: fitted(x, y).predict(x[:, :3]),
        lambda: fitted(x, y).predict(x, band=1),
        lambda: delayed(x, [1, 1]),
        lambda: delayed(x, [0.5]),
        lambda: delayed(x, []),
        lambda: delayed(x, [1], groups=[1, 2]),
    ):
        with pytest.raises(NisslError):
            make()
    with pytest.raises(TooFewSamples):
        fitted(x[:4], y[:4])


@pytest.mark.parametrize("p", [30, 200])
def test_a_huge_sample_does_no_harm_where_it_is_left_out(p):
    x, y = data(p=p)
    x[5] *= 1e7
    made = folds(n_samples=90)[:1]  # the rest is what the Gram matrix of all would lose
    scores = [slow_r2(x, y, penalty, made) for penalty in PENALTIES]
    best = np.max(scores, axis=0)
    np.testing.assert_allclose(fitted(x, y, folds=made).score, best, rtol=1e-5, atol=1e-5)
