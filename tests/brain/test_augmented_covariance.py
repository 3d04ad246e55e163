"""Augmented covariance: classes of other lagged covariances are told apart; pyriemann; refusals."""

import numpy as np
import pytest
from pyriemann.classification import MDM
from pyriemann.estimation import Covariances, TimeDelayCovariances
from pyriemann.tangentspace import TangentSpace
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from nissl.brain import AugmentedCovariance, decode
from nissl.errors import NisslError, TooFewSamples
from nissl.recording import as_recording
from nissl.statistics import Test

N, LATE, TIMES = 48, 2, 60
QUICK = {"folds": 3, "test": Test(19), "progress": False}


def planted(seed=0, signal=1.2):
    """Channel 1 follows channel 0 in class b, goes before it in class a; at no lag all is alike."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.repeat(["a", "b"], N // 2))
    x = rng.standard_normal((N, 3, TIMES + LATE))
    late = np.where(label == "b", LATE, 0)
    source = rng.standard_normal((N, TIMES + 2 * LATE))
    for trial, shift in enumerate(late):
        x[trial, 0] += signal * source[trial, shift : shift + TIMES + LATE]
        x[trial, 1] += signal * source[trial, LATE - shift :][: TIMES + LATE]
    return x[:, :, :TIMES], label


def recorded(x, label):
    trial = np.repeat(np.arange(len(x)), x.shape[2])
    flat = x.transpose(0, 2, 1).reshape(-1, x.shape[1])
    return as_recording(flat, samples={"trial": trial, "hand": label[trial]})


def read(model, x, label, **how):
    return decode(recorded(x, label), "hand", items="trial", model=model, **{**QUICK, **how})


def test_lagged_covariance_is_read_and_plain_covariance_is_at_chance():
    x, label = planted()
    found = read(AugmentedCovariance(2, LATE), x, label)
    assert found.score > 0.85
    assert found.finding.table["p"][0] == 0.05
    assert found.finding.table["null_mean"][0] == pytest.approx(0.5, abs=0.08)
    plain = [read(AugmentedCovariance(1), *planted(s), test=None).score for s in range(8)]
    assert np.mean(plain) == pytest.approx(0.5, abs=0.08)


def test_order_and_lag_are_chosen_by_inner_folds():
    x, label = planted()
    fitted = AugmentedCovariance((1, 2), (1, LATE)).fit(x, label)
    assert (fitted.order_, fitted.lag_) == (2, LATE)
    assert read(AugmentedCovariance((1, 2), (1, LATE)), x, label, test=None).score > 0.85
    short = AugmentedCovariance((1, 2), 58).fit(x, label)
    assert short.order_ == 1


def test_nothing_is_read_where_labels_are_moved():
    x, label = planted()
    moved = [np.random.default_rng(s).permutation(label) for s in range(12)]
    model = AugmentedCovariance(2, LATE)
    scores = [read(model, x, y, test=None).score for y in moved]
    assert np.mean(scores) == pytest.approx(0.5, abs=0.08)
    assert read(model, x, moved[0]).finding.table["p"][0] > 0.05


def test_it_is_the_obvious_form():
    x, label = planted()
    made = []
    for trial in x:
        rows = [trial[:, 3 * k : TIMES - 6 + 3 * k] for k in range(3)]
        made.append(Covariances("sch").transform(np.concatenate(rows)[None])[0])
    made = np.stack(made)
    obvious = make_pipeline(TangentSpace(), LogisticRegression(max_iter=1000)).fit(
        made[:40], label[:40]
    )
    fitted = AugmentedCovariance(order=3, lag=3).fit(x[:40], label[:40])
    assert (fitted.predict(x[40:]) == obvious.predict(made[40:])).all()
    nearest = AugmentedCovariance(3, 3, MDM()).fit(x[:40], label[:40])
    assert (nearest.predict(x[40:]) == MDM().fit(made[:40], label[:40]).predict(made[40:])).all()


def test_units_type_and_order_of_memory_change_nothing():
    x, label = planted()
    right = AugmentedCovariance(2, LATE).fit(x, label).predict(x)
    for same in (x * 1e-13, np.asfortranarray(x), x[::-1][::-1], x.astype(np.float32)):
        same.flags.writeable = False
        assert (AugmentedCovariance(2, LATE).fit(same, label).predict(same) == right).all()


@pytest.mark.parametrize(
    "steps",
    [
        (Covariances("oas"), MDM()),
        (TimeDelayCovariances([LATE], "lwf"), TangentSpace(), LogisticRegression(max_iter=1000)),
    ],
)
def test_any_pipeline_of_pyriemann_is_a_decoder(steps):
    x, label = planted()
    delayed = len(steps) == 3
    if not delayed:
        x[:, 2] *= np.where(label == "b", 1.5, 1)[:, None]
    assert read(make_pipeline(*steps), x, label, test=None).score > 0.8


def test_bad_input_is_refused():
    x, label = planted()
    flat, hole = x.copy(), x.copy()
    flat[3, 1], hole[0, 0, 0] = 0.1, np.nan
    for model, given, y, said in (
        ({}, x[:, :1], label, "n_channels > 1"),
        ({}, x, np.repeat("a", N), "1 classes"),
        ({}, x, label[:-1], "labels"),
        ({}, x[0], label, "trials"),
        ({}, x[:, :, :0], label, "0\\)"),
        ({}, x[:0], label[:0], "trials"),
        ({}, flat, label, "constant"),
        ({}, hole, label, "finite"),
        ({"order": 0}, x, label, "whole numbers"),
        ({"lag": 1.5}, x, label, "whole numbers"),
        ({"lag": "x"}, x, label, "whole numbers"),
    ):
        with pytest.raises(NisslError, match=said):
            AugmentedCovariance(**model).fit(given, y)
    for model, given, y in (
        ({"order": 3, "lag": 39}, x, label),
        ({"order": []}, x, label),
        ({}, x, np.append(label[1:], "c")),
        ({}, x[:, :, :2], label),
    ):
        with pytest.raises(TooFewSamples):
            AugmentedCovariance(**model).fit(given, y)
