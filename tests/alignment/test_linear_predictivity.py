"""Linear predictivity: against scikit-learn, one way only, and nothing where nothing is shared."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict

from nissl.alignment import LinearPredictivity, identify


def sides(n=60, shared=4, width=(12, 9), seed=0):
    """Two networks that read some of the same features of stimuli, each with noise of its own."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, shared))
    return [x @ rng.standard_normal((shared, w)) + rng.standard_normal((n, w)) for w in width]


def slow(a, b, penalties):
    """Predict principal components, each at the penalty that suits the other folds."""
    a, b = a - a.mean(0), b - b.mean(0)
    b = b @ np.linalg.svd(b, full_matrices=False)[2].T
    left = np.zeros_like(b)
    for train, test in KFold(5).split(a):
        x, y = a[train], b[train]
        scale = ((x - x.mean(0)) ** 2).sum() / min(x.shape)
        errors = [
            ((cross_val_predict(Ridge(p * scale), x, y, cv=5) - y) ** 2).sum(0) for p in penalties
        ]
        chosen = Ridge(scale * penalties[np.argmin(errors, axis=0)]).fit(x, y)
        left[test] = b[test] - chosen.predict(a[test])
    return 1 - (left**2).sum() / (b**2).sum()


def test_it_is_what_scikit_learn_predicts():
    a, b = sides()
    expected = slow(a, b, 10.0 ** np.arange(-4, 6))
    assert LinearPredictivity()(a, b) == pytest.approx(expected, abs=1e-6)
    assert 0.4 < expected < 0.9


def test_what_holds_more_predicts_what_holds_less():
    rng = np.random.default_rng(1)
    a = rng.standard_normal((80, 10))
    b = a[:, :3] @ rng.standard_normal((3, 6))
    there, back = LinearPredictivity()(a, b), LinearPredictivity()(b, a)
    assert there > 0.99
    assert back < 0.5
    both = LinearPredictivity(both=True)
    assert both(a, b) == pytest.approx((there + back) / 2)
    assert both(b, a) == pytest.approx(both(a, b))


@pytest.mark.parametrize("width", [(12, 9), (90, 70)])
def test_nothing_is_predicted_where_nothing_is_shared(width):
    found = [LinearPredictivity()(*sides(shared=0, width=width, seed=s)) for s in range(10)]
    assert -0.3 < np.mean(found) < 0
    assert max(found) < 0.05


def test_false_positives_are_at_the_level():
    by, rng, p = LinearPredictivity(n_folds=2), np.random.default_rng(0), []
    for s in range(40):
        a, b = (by.normalise(by.prepare(x)) for x in sides(n=20, shared=0, width=(4, 3), seed=s))
        moved = [by.score(a[rng.permutation(20)], b) for _ in range(19)]
        p.append((1 + np.sum(np.array(moved) >= by.score(a, b))) / 20)
    assert (np.array(p) <= 0.05).sum() <= 6  # of 40 at 0.05: more in 1 of 200
    assert 0.3 < np.mean(p) < 0.7


def test_it_names_the_network_that_was_recorded():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((60, 6))
    known = {
        str(i): np.tanh(2 * x @ rng.standard_normal((6, 8))) @ rng.standard_normal((8, 30))
        for i in range(3)
    }
    found = identify(known, measures=["linear_predictivity"], progress=False)
    assert found.accuracy["accuracy"].mean() == 1
