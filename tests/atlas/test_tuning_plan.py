"""Which coordinates can be tested, and what is exchanged."""

import numpy as np
import pytest

from nissl.atlas.nesting import nested_groups, nesting_coordinates
from nissl.atlas.tuning_plan import plan_tuning
from nissl.errors import NisslError
from nissl.recording import as_recording
from nissl.statistics import CircularShift, PermutedLabels


def make(n=60, **samples):
    return as_recording(np.zeros((n, 1)), samples=samples)


def test_label_of_a_trial_is_permuted_over_trials_inside_a_subject():
    trial = np.repeat(np.arange(20), 3)
    rec = make(
        subject=np.repeat([0, 1], 30),
        trial=trial % 10,
        time=np.tile([0.0, 0.1, 0.2], 20),
        side=np.tile(["left", "right"], 10)[trial],
    )
    (plan,), skipped = plan_tuning(rec)
    assert plan.name == "side"
    assert plan.null == PermutedLabels(exchange="trial", within="subject")
    assert len(plan.codes) == 20  # trial 3 of another subject is another trial
    assert plan.within.tolist() == [0] * 10 + [1] * 10
    assert plan.names == ["left", "right"]
    assert plan.observation.tolist() == trial.tolist()
    assert set(skipped) == {"subject", "trial", "time"}


def test_what_varies_in_a_run_is_shifted_in_it():
    rec = make(run=np.repeat([0, 1], 30), time=np.arange(60.0), picture=np.arange(60) // 5 % 3)
    (plan,), _ = plan_tuning(rec)
    assert plan.null == CircularShift(within="run", min_shift=1)
    assert plan.kind == "categorical"


def test_samples_without_a_block_are_shifted_and_never_permuted():
    rng = np.random.default_rng(0)
    (plan,), _ = plan_tuning(make(label=rng.integers(0, 2, 60)))
    assert plan.null == CircularShift(min_shift=1)
    (plan,), _ = plan_tuning(make(label=rng.integers(0, 2, 60), stimulus=np.arange(60)))
    assert plan.null == PermutedLabels(exchange="stimulus")
    (plan,), _ = plan_tuning(
        make(label=np.arange(60) // 15 % 2, fact=np.arange(60) // 5), exchange="fact"
    )
    assert (plan.name, plan.null) == ("label", PermutedLabels(exchange="fact"))


def test_samples_are_put_in_order_of_time():
    rng = np.random.default_rng(1)
    order = rng.permutation(60)
    (plan,), _ = plan_tuning(make(time=order * 1.0, label=order // 10 % 2))
    assert order[plan.rows].tolist() == list(range(60))
    assert plan.codes.tolist() == [t // 10 % 2 for t in range(60)]


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ({"label": np.zeros(60)}, "does not vary"),
        ({"label": np.full(60, np.nan)}, "does not vary"),
        ({"trial": np.arange(60), "label": [f"w{i}" for i in range(60)]}, "level of its own"),
        ({"run": np.arange(60) // 20, "label": np.arange(60) // 20}, "run"),
        ({"run": np.arange(60) // 30, "label": np.arange(60) // 30}, "run"),
        ({"trial": np.arange(60) // 20, "label": [0] * 40 + [1] * 20}, "too few trials"),
    ],
)
def test_unsuitable_coordinates_are_skipped_and_say_why(samples, says):
    plans, skipped = plan_tuning(make(**samples))
    assert plans == []
    assert says in skipped["label"] or "level of its own" in skipped["label"]


def test_angles_quantities_and_categories_become_levels():
    rng = np.random.default_rng(2)
    rec = make(480, time=np.arange(480), angle=rng.uniform(-180, 180, 480), speed=rng.random(480))
    rec["angle"].attrs["period"] = 360.0
    angle, speed = plan_tuning(rec)[0]
    assert (angle.kind, speed.kind) == ("circular", "continuous")
    assert angle.levels.tolist() == (15 * (np.arange(24) + 0.5)).tolist()
    at = rec["angle"].values[angle.rows] % 360
    assert np.abs(at - angle.levels[angle.codes]).max() <= 7.5
    assert np.bincount(speed.codes).tolist() == [40] * 12  # as many in every bin
    missing = rec.assign_coords(
        speed=("sample", np.where(np.arange(480) < 100, np.nan, rec["speed"]))
    )
    assert plan_tuning(missing, labels=["speed"])[0][0].rows.tolist() == list(range(100, 480))


def test_rare_categories_are_left_out():
    label = np.array(["a", "b"] * 29 + ["c", "a"])
    (plan,), _ = plan_tuning(make(label=label, trial=np.arange(60)))
    assert plan.names == ["a", "b"]
    assert len(plan.codes) == 59


def test_blocks_are_nested_and_found_by_name():
    rec = make(6, run=[0, 0, 1, 0, 0, 1], subject=[0, 0, 0, 1, 1, 1], stimulus=[0, 1, 2, 0, 1, 2])
    assert nesting_coordinates(rec) == ["subject", "run", "stimulus"]
    assert nested_groups(rec, ["subject", "run"])[1].tolist() == [0, 0, 1, 2, 2, 3]
    assert nesting_coordinates(rec.assign_coords(trial=("sample", range(6)))) == [
        "subject",
        "run",
        "trial",
    ]


def test_too_few_bins_are_refused():
    with pytest.raises(NisslError, match="2 bins"):
        plan_tuning(make(label=np.arange(60)), n_bins=2)
