"""Decode: planted labels are read, none where there are none; kinds, folds, estimators, items."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

import nissl
from nissl import NisslError, Test
from nissl.brain import decode
from nissl.recording import as_recording, clean
from nissl.statistics import NotExchangeable

RUNS = np.repeat(np.arange(6), 20)
QUICK = Test(n_permutations=19)


def activity(signal=2.0, seed=0, width=12):
    rng = np.random.default_rng(seed)
    label = np.concatenate([rng.permutation(np.arange(20) % 4) for _ in range(6)])
    return rng.standard_normal((120, width)) + signal * np.eye(4, width)[label], label


@pytest.mark.parametrize("model", ["ridge", RidgeClassifier()])
def test_planted_classes_are_read_on_other_runs(model):
    x, label = activity()
    found = decode(x, label, folds=RUNS, model=model, test=QUICK, progress=False)
    assert found.score > 0.7
    assert found.finding.table["p"][0] == 0.05
    assert found.finding.table["null_mean"][0] == pytest.approx(0.25, abs=0.06)
    assert found.by_fold.mean() == pytest.approx(found.score, abs=0.02)
    assert found.confusion.to_numpy().trace() / 4 == pytest.approx(found.score)
    found.plot()


def test_false_positives_are_at_the_level():
    p = []
    for seed in range(60):
        x, label = activity(signal=0, seed=seed, width=5)
        found = decode(x, label, folds=RUNS, test=QUICK, progress=False)
        p.append(found.finding.table["p"][0])
    assert (np.array(p) <= 0.05).sum() <= 8
    assert 0.35 < np.mean(p) < 0.7


def test_ridge_is_that_of_scikit_learn_at_its_penalty():
    x, label = activity(signal=0.7)
    found = decode(x, label, folds=3, test=None, progress=False).predictions
    other = decode(x, label, folds=3, model=RidgeClassifier(30.0), test=None, progress=False)
    assert (found["predicted"] == other.predictions["predicted"]).mean() > 0.85


def test_numbers_angles_and_vectors():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((5, 12))
    latent = rng.standard_normal((120, 5))
    x = latent @ weights + 0.5 * rng.standard_normal((120, 12))
    how = {"folds": RUNS, "test": QUICK, "progress": False}
    found = decode(x, latent[:, 0], **how)
    assert (found.kind, found.finding.score) == ("numbers", "correlation")
    assert found.score > 0.9
    angle = np.arctan2(latent[:, 0], latent[:, 1])
    found = decode(np.c_[np.cos(angle), np.sin(angle)] @ weights[:2], angle, kind="angles", **how)
    assert found.score > 0.99
    found = decode(x, latent, **how)
    assert found.kind == "vectors"
    assert found.score > 0.95
    assert found.finding.table["null_mean"][0] == pytest.approx(0.5, abs=0.07)
    found.plot()
    none = decode(rng.standard_normal((120, 12)), latent, **how)
    assert none.finding.table["p"][0] > 0.05


def test_trials_are_items_of_units_by_times():
    rng = np.random.default_rng(0)
    label = np.tile(["a", "b"], 20)
    x = rng.standard_normal((40, 3, 8))
    x[:, 1, 4:] += np.where(label == "b", 0.5, -0.5)[:, None]
    flat = x.transpose(0, 2, 1).reshape(-1, 3)
    trial = np.repeat(np.arange(40), 8)
    rec = as_recording(flat, samples={"trial": trial, "label": np.repeat(label, 8)})

    class Shape(RidgeClassifier):
        def fit(self, x, y):
            assert x.shape[1:] == (3, 8)
            return super().fit(x.reshape(len(x), -1), y)

        def predict(self, x):
            return super().predict(x.reshape(len(x), -1))

    for model in ("ridge", Shape()):
        found = decode(rec, "label", items="trial", model=model, test=QUICK, progress=False)
        assert len(found.predictions) == 40
        assert found.score > 0.7
    with pytest.raises(NisslError, match="items have"):
        decode(rec[:-1], "label", items="trial", progress=False)


def test_classes_that_come_sorted_are_in_every_fold():
    rng = np.random.default_rng(0)
    label = np.repeat(["a", "b"], 30)
    none = [
        decode(rng.standard_normal((60, 4)), label, test=None, progress=False).score
        for _ in range(40)
    ]
    assert abs(np.mean(none) - 0.5) < 0.05
    x = rng.standard_normal((60, 4)) + 2 * (label == "b")[:, None]
    assert decode(x, label, test=None, progress=False).score > 0.9


def test_what_cannot_be_is_said():
    x, label = activity()
    for bad, why in (
        ((np.where(x > 2, np.nan, x), label), "finite"),
        ((x, np.zeros(120)), "same"),
        ((x, label[:-1]), "shape"),
    ):
        with pytest.raises(NisslError, match=why):
            decode(*bad, folds=RUNS, progress=False)
    with pytest.raises(NisslError):
        decode(x, label, folds=np.zeros(120), progress=False)
    with pytest.raises(NisslError, match="no angles"):
        decode(x, label.astype(str), kind="angles", progress=False)
    slow = np.random.default_rng(0).standard_normal((120, 5)).cumsum(0)
    with pytest.raises((NotExchangeable, NisslError)):
        decode(slow, np.repeat([0.5, 1.5], 60), folds=2, kind="numbers", progress=False)


@pytest.mark.real
def test_haxby_is_read_by_run():
    bold = clean(nissl.read("haxby"), by="run", detrend=True, standardise=True)
    bold = bold[bold["category"].values != "rest"]
    found = decode(bold, "category", folds="run", test=QUICK, progress=False)
    assert found.score > 0.65
    assert found.finding.table["p"][0] == 0.05


def test_folds_models_and_words_that_cannot_be_are_said():
    x, label = activity()
    for how, why in (
        ({"folds": 31}, "31 folds"),
        ({"folds": 1}, "1 folds"),
        ({"model": "svm"}, "no model"),
        ({"items": np.repeat(np.arange(60), 2)}, "several labels"),
    ):
        with pytest.raises(NisslError, match=why):
            decode(x, label, progress=False, **how)
    with pytest.raises(NisslError, match="finite"):
        decode(x.astype(str), label, progress=False)
