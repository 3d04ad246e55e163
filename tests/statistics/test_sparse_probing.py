"""Sparse probing: planted features, nothing in noise, and a slow form by scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from nissl import NisslError, Test
from nissl.behaviour import halves
from nissl.statistics import sparse_probing

RNG = np.random.default_rng(0)
LABELS = np.repeat(["a", "b", "c"], [200, 120, 80])
WORDS = np.arange(400) // 4


def planted():
    """A feature for "b", two that are needed for "c" together, and noise."""
    x = RNG.standard_normal((400, 30))
    x[:, 7] += 6 * (LABELS == "b")
    x[:, [11, 12]] += 1.5 * (LABELS == "c")[:, None]
    return x


def test_planted_features_are_found_beside_rotated_ones_and_noise():
    x = planted()
    turned = x @ np.linalg.qr(RNG.standard_normal((30, 30)))[0]
    arrays = {"features": x, "turned": turned, "noise": RNG.standard_normal((400, 30))}
    found = sparse_probing(arrays, LABELS, groups=WORDS, k=[1, 2]).table.set_index("unit")
    assert found.loc["features, b, k=1", "chosen"] == 7
    assert found.loc["features, b, k=1", "auroc"] > 0.99
    assert found.loc["features, b, k=1", "accuracy"] > 0.95
    assert found.loc["features, c, k=2", "auroc"] > found.loc["features, c, k=1", "auroc"] + 0.03
    assert found.loc["turned, b, k=1", "auroc"] < found.loc["turned, b, k=2", "auroc"]
    assert found.loc["turned, c, k=1", "auroc"] < found.loc["features, c, k=1", "auroc"]
    assert (found["null_mean"] - 0.5).abs().max() < 0.06
    assert found.loc["features, b, k=1", "q"] == 0.05
    assert found[found["features"] == "noise"]["q"].min() > 0.05


def test_a_slow_form_gives_the_same():
    x, on = planted(), LABELS == "c"
    items = pd.DataFrame({"label": LABELS[::4], "word": range(100)})
    learned = np.isin(WORDS, halves(items, labels="label", seed=3)[0]["word"])
    far = [abs(x[learned & on, j].mean() - x[learned & ~on, j].mean()) for j in range(30)]
    best = sorted(range(30), key=lambda j: -far[j])[:3]
    own = (x[:, best] - x[learned][:, best].mean(0)) / x[learned][:, best].std(0)
    weight = np.where(on[learned], 1, on[learned].sum() / (~on[learned]).sum())
    model = LogisticRegression(max_iter=1000)
    model.fit(own[learned], on[learned], sample_weight=weight * learned.sum() / weight.sum())
    scores = model.decision_function(own[~learned])
    found = sparse_probing({"x": x}, LABELS, groups=WORDS, k=[3], test=Test(2, seed=3)).table
    row = found[found["label"] == "c"].iloc[0]
    assert row["auroc"] == pytest.approx(roc_auc_score(on[~learned], scores))
    assert row["accuracy"] == pytest.approx(balanced_accuracy_score(on[~learned], scores > 0))
    assert row["chosen"] == best[0]


@pytest.mark.parametrize(
    ("labels", "groups", "k", "said"),
    [
        (LABELS, np.arange(400) // 150, [1], "a group has several labels"),
        (LABELS, WORDS, [31], r"k=\[31\]"),
        (LABELS[:80], WORDS[:80], [1], "80 labels"),
        (LABELS, WORDS[1:], [1], "399 groups"),
        (LABELS, np.unique(LABELS, return_inverse=True)[1], [1], "one group"),
    ],
)
def test_what_cannot_be_is_said(labels, groups, k, said):
    with pytest.raises(NisslError, match=said):
        sparse_probing({"x": planted()}, labels, groups=groups, k=k)
