"""Aggregating agrees with a loop over groups, in memory and lazily."""

import numpy as np
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.recording import aggregate, as_recording, chunks, select

REDUCE = {
    "mean": lambda v: v.astype(np.float64).mean(axis=0),
    "max": lambda v: v.max(axis=0),
    "last": lambda v: v[-1],
}


def made(n=57, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    stimulus = rng.integers(0, 7, n)
    return as_recording(
        rng.normal(size=(n, 5)).astype(dtype)
        if np.dtype(dtype).kind == "f"
        else rng.integers(-9, 9, (n, 5)).astype(dtype),
        samples={
            "stimulus": np.array(list("gfedcba"))[stimulus],
            "category": stimulus % 2,
            "position": np.arange(n),
            "pitch": np.where(stimulus == 3, np.nan, stimulus * 1.5),
        },
        units={"x": np.arange(5.0)},
        attrs={"seed": seed},
    )


@pytest.mark.parametrize("how", REDUCE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.float16])
def test_equal_to_a_loop_over_groups(how, dtype):
    rec = made(dtype=dtype)
    labels = rec["stimulus"].values
    order = list(dict.fromkeys(labels.tolist()))
    result = aggregate(rec, how=how)
    by_hand = np.stack([REDUCE[how](rec.values[labels == name]) for name in order])
    np.testing.assert_allclose(result.values, by_hand, rtol=1e-3 if dtype == np.float16 else 1e-6)
    assert result["stimulus"].values.tolist() == order
    expected = np.float64 if how == "mean" and np.dtype(dtype).kind == "i" else dtype
    assert result.dtype == expected


def test_blocks_change_nothing(monkeypatch):
    rec = made()
    whole = {how: aggregate(rec, how=how).values for how in REDUCE}
    module = __import__("sys").modules["nissl.recording.aggregate"]
    monkeypatch.setattr(module, "chunks", lambda r: chunks(r, size=4))
    for how, values in whole.items():
        np.testing.assert_allclose(aggregate(rec, how=how).values, values, rtol=1e-6)


def test_lazy_recordings_give_the_same():
    pytest.importorskip("dask")
    rec = made()
    for how in REDUCE:
        lazily = aggregate(rec.chunk({"sample": 10}), how=how)
        np.testing.assert_array_equal(lazily.values, aggregate(rec, how=how).values)


def test_what_is_constant_within_groups_is_kept():
    rec = made()
    result = aggregate(rec)
    assert set(result.coords) == {"stimulus", "category", "pitch", "unit", "x"}
    assert result.attrs == {"quantity": "activity", "seed": 0, "aggregated": "mean by stimulus"}


def test_not_a_number_stays():
    rec = as_recording([[np.nan, 1.0], [2.0, 3.0]], samples={"trial": [0, 0]})
    for how, expected in {"mean": [np.nan, 2.0], "max": [np.nan, 3.0], "last": [2, 3]}.items():
        np.testing.assert_array_equal(aggregate(rec, by="trial", how=how).values[0], expected)


def test_bad_input_is_said():
    rec = made()
    with pytest.raises(UnknownName, match="did you mean 'stimulus'"):
        aggregate(rec, by="stimuli")
    with pytest.raises(UnknownName, match="did you mean 'mean'"):
        aggregate(rec, how="means")
    with pytest.raises(NisslError, match="samples have no 'pitch'"):
        aggregate(rec, by="pitch")


def test_combinations_of_several_coordinates():
    rec = made()
    both = aggregate(rec, by=["category", "stimulus"])
    np.testing.assert_array_equal(both.values, aggregate(rec, by="stimulus").values)
    runs = rec.assign_coords(run=("sample", np.arange(57) // 20))
    result = aggregate(runs, by=["run", "stimulus"])
    pairs = list(dict.fromkeys(zip(runs["run"].values, runs["stimulus"].values, strict=True)))
    assert list(zip(result["run"].values, result["stimulus"].values, strict=True)) == pairs
    assert result.attrs["aggregated"] == "mean by run, stimulus"
    with pytest.raises(NisslError, match="nothing is named"):
        aggregate(rec, by=[])


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("trial", [-1, 0, 0]),
        ("epoch", [-1, 0, 0]),
        ("when", np.array(["NaT", "2020-01-01", "2020-01-01"], "datetime64[ns]")),
        ("took", np.array(["NaT", 1, 1], "timedelta64[s]")),
        ("dose", [np.nan, 1.0, 1.0]),
    ],
)
def test_samples_without_a_value_are_refused_and_said_how_to_leave_out(name, column):
    rec = as_recording([[1.0], [2.0], [4.0]], samples={name: column})
    with pytest.raises(NisslError, match=f"1 samples have no '{name}'") as caught:
        aggregate(rec, by=name)
    kept = eval(caught.value.do.removeprefix("leave them out: "), {"select": select, "rec": rec})
    assert aggregate(kept, by=name).values.tolist() == [[3.0]]


def test_a_contrast_of_minus_one_is_a_value():
    rec = as_recording([[1.0], [2.0]], samples={"contrast": [-1, 1]})
    assert aggregate(rec, by="contrast").shape == (2, 1)
