"""Decoders: items and folds, labellings fitted at once or alone, scores against loops."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from nissl.errors import NisslError
from nissl.statistics import ridge
from nissl.statistics.decoders import Items, decoded, information_rate, ranks, score_of


def test_bits_of_a_reading():
    assert information_rate(1.0, 4) == 2
    assert information_rate(0.25, 4) == information_rate(0.1, 4) == pytest.approx(0)
    assert information_rate(0.9, 2) == pytest.approx(0.531, abs=1e-3)


def test_labellings_are_decoded_at_once_as_each_alone():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 6)), rng.standard_normal((3, 40))
    train, rest = np.arange(30), np.arange(30, 40)
    made = decoded("ridge", x, y, train, rest, "numbers", 5)
    z = (x - x[train].mean(0)) / x[train].std(0)
    for row, one in zip(y, made, strict=True):
        alone = ridge(z[train], row[train, None], folds=5, progress=False).predict(z[rest])[:, 0]
        np.testing.assert_allclose(one, alone, atol=1e-10)
    given = decoded(Ridge(), x, y, train, rest, "numbers")
    np.testing.assert_allclose(given[1], Ridge().fit(x[train], y[1, train]).predict(x[rest]))


def test_scores_are_those_of_loops():
    rng = np.random.default_rng(1)
    fold, y, made = np.repeat([0, 1], 6), *rng.standard_normal((2, 12, 5))
    slow = []
    for i in range(12):
        others = [j for j in range(12) if fold[j] == fold[i] and j != i]
        own = np.corrcoef(made[i], y[i])[0, 1]
        slow.append(np.mean([np.corrcoef(made[i], y[j])[0, 1] < own for j in others]))
    np.testing.assert_allclose(ranks(y, made, fold), slow)
    label, said = np.array(list("aaab")), np.array(list("aabb"))
    assert score_of(label, said, "classes") == pytest.approx((2 / 3 + 1) / 2)
    assert score_of([0.0, 1.0], [0.5, 1.0], "angles") == pytest.approx((np.cos(0.5) + 1) / 2)


def test_items_have_runs_or_blocks_that_hold_every_class():
    x = np.random.default_rng(2).standard_normal((24, 2))
    items = Items.of(x, np.repeat(["a", "b"], 12), folds=3)
    assert all(set(items.y[rest]) == {"a", "b"} for _, rest in items.parts)
    trials = Items.of(x, np.repeat(np.arange(6.0) % 2, 4), folds=2, items=np.repeat(range(6), 4))
    assert trials.x.shape == (6, 2, 4)
    np.testing.assert_array_equal(trials.x[3, :, 2], x[14])
    with pytest.raises(NisslError, match="no angles"):
        Items.of(x, np.repeat(["a", "b"], 12), folds=3, kind="angles")
