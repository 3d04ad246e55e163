"""Probes against scikit-learn on all units, and words that give the stratum away."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from nissl.errors import TooFewSamples
from nissl.statistics import probe_scores
from nissl.statistics.sparse_probe import sparse_probe


def test_the_sparse_probe_is_scikit_learns_on_all_units_at_once():
    rng = np.random.default_rng(0)
    wrong = rng.random(100) < 0.4
    a, b = rng.random((2, 100, 60))
    a[:, [3, 17, 41]] += 0.4 * wrong[:, None]
    a[:, 11] = b[:, 11] = 0
    weights, share = sparse_probe(a, b, wrong, most=4, kind=np.zeros(100))
    x = np.concatenate([a, b])
    x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    y = np.r_[wrong, np.zeros(100, bool)]
    rarer = min(wrong.sum(), (~wrong).sum())
    w = np.where(wrong, rarer / wrong.sum(), rarer / (~wrong).sum())
    w = np.r_[np.where(wrong, 1, 1 / 3) * w, w / 3] / rarer
    largest = np.abs(x.T @ (w * (y - 0.5))).max()
    model = LogisticRegression(l1_ratio=1, solver="liblinear", C=1 / (share * largest), tol=1e-6)
    expected = model.fit(x, y, sample_weight=w).coef_[0]
    np.testing.assert_allclose(weights, expected, atol=0.01)
    assert (weights > 0).sum() <= 4


def test_a_plain_probe_weighs_kinds_alike():
    """A word that gives the kind away predicts, until right and wrong weigh alike in each kind."""
    rng = np.random.default_rng(0)
    kind = np.tile([0.0, 1.0], 100)
    wrong = rng.random(200) < np.where(kind == 0, 0.3, 0.7)
    words = kind[:, None]
    assert np.ptp(probe_scores(words, wrong, words)) > 1
    assert np.ptp(probe_scores(words, wrong, words, kind=kind)) < 0.01


def test_where_nothing_can_be_told_apart_is_refused():
    with pytest.raises(TooFewSamples, match="no kind has both"):
        probe_scores(np.zeros((4, 1)), [0, 0, 1, 1], np.zeros((1, 1)), kind=[0, 0, 1, 1])
