"""Pseudo-online: bursts of a task are read from sliding windows, none in noise; bad input."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import matthews_corrcoef
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from nissl.brain import pseudo_online
from nissl.errors import NisslError
from nissl.recording import as_recording
from nissl.statistics import PermutedLabels, Test
from nissl.statistics.decoders import information_rate

QUIET = {"progress": False, "idle": "idle"}
WINDOW, RATE, N_RUNS, LENGTH = (0.4, 0.1), 50, 4, 1500


def planted(seed, strength=1.5):
    """Each of two tasks makes one unit louder, in bursts of a second or so; four runs at 50 Hz."""
    rng = np.random.default_rng(seed)
    names = np.array(["idle", "left", "right"])
    spells = rng.permuted(np.tile([0, 1, 0, 2], (N_RUNS, 12)), axis=1).ravel()
    label = np.repeat(names[spells], rng.integers(25, 60, spells.size))
    label = label[: N_RUNS * LENGTH]
    x = rng.standard_normal((len(label), 3))
    x[:, :2] *= 1 + strength * (label[:, None] == names[1:])
    time = np.arange(len(x)) / RATE
    run = np.arange(len(x)) * N_RUNS // len(x)
    return as_recording(x, samples={"time": time, "run": run, "task": label})


@pytest.mark.parametrize("folds", ["run", 4])
def test_planted_bursts_are_read(folds):
    rec = planted(0)
    how = {"folds": folds, "test": Test(19), **QUIET}
    found = pseudo_online(rec, "task", WINDOW, **how)
    row, windows = found.finding.table.iloc[0], found.windows
    assert row["nmcc"] > 0.75
    assert row["p"] == 0.05
    assert row["null_mean"] == pytest.approx(0.5, abs=0.05)
    mcc = matthews_corrcoef(windows["label"], windows["predicted"])
    assert row["nmcc"] == pytest.approx((mcc + 1) / 2)
    assert row["bits_per_minute"] == pytest.approx(600 * information_rate(row["accuracy"], 3))
    assert np.allclose(windows["end"] - windows["start"], WINDOW[0])
    for start, label in windows[["start", "label"]].iloc[::40].to_numpy():
        inside = rec["task"].values[round(start * RATE) :][:20]
        assert (inside == label).sum() == max((inside == name).sum() for name in np.unique(inside))
    assert len(found.plot().axes) == 2
    plt.close("all")


def test_false_positives_are_at_the_level():
    how = {"folds": "run", **QUIET}
    p = [
        pseudo_online(planted(seed, 0), "task", (0.4, 0.2), test=Test(19, seed=seed), **how)
        .finding.table["p"]
        .iloc[0]
        for seed in range(20)
    ]
    assert np.mean(np.array(p) <= 0.1) <= 0.3


def test_windows_are_given_to_estimators_and_none_that_overlap_is_fitted():
    seen = []

    class Spy(DummyClassifier):
        def fit(self, x, y):
            seen.append(x[:, 0].round().astype(int))
            return super().fit(x, y)

        def predict(self, x):
            seen.append(x[:, 0].round().astype(int))
            return super().predict(x)

    x = np.random.default_rng(0).standard_normal((600, 2))
    x[:, 0] = np.arange(600)
    label = np.arange(600) // 20 % 2
    spy = make_pipeline(FunctionTransformer(lambda w: w[:, :, 0]), Spy())
    noise = np.abs(np.random.default_rng(1).standard_normal((600, 2)))
    pseudo_online(x, label, (20, 10), folds=3, model=spy, test=Test(2), progress=False)
    fitted, tested = seen[0::2], seen[1::2]
    for train, rest in zip(fitted, tested, strict=True):
        assert np.abs(train[:, None] - rest).min() >= 40
    loud = noise * (1 + 3 * label[:, None])
    svm = make_pipeline(FunctionTransformer(lambda w: w.mean(axis=2)), SVC())
    how = {"model": svm, "test": Test(19), "progress": False}
    assert pseudo_online(loud, label, (10, 5), **how).finding.table["nmcc"][0] > 0.8


def test_bad_input_is_refused():
    rec = planted(0)
    time = rec["time"].values.copy()
    time[5] = time[4]
    cases = [
        (rec.assign_coords(time=("sample", time)), WINDOW, {}, "do not increase"),
        (rec, (1000.0, 1.0), {}, "windows of"),
        (rec, (0.4, 0.0), {}, "windows of"),
        (rec, WINDOW, {"test": Test(19, null=PermutedLabels())}, "answers another question"),
        (rec, WINDOW, {"idle": "rest"}, "no sample is idle"),
        (rec, (20.0, 1.0), {"folds": "run"}, "fewer than two folds"),
    ]
    for given, window, how, said in cases:
        with pytest.raises(NisslError, match=said):
            pseudo_online(given, "task", window, **{**QUIET, **how})
