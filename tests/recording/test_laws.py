"""Laws that hold for every recording: what is taken apart and put together is as it was."""

import warnings

import numpy as np
import pytest
import xarray as xr

from nissl.recording import (
    aggregate,
    align,
    as_recording,
    bin_spikes,
    chunks,
    concat,
    samples_table,
    select,
    units_table,
)

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
numpy_st = pytest.importorskip("hypothesis.extra.numpy")

quick = hypothesis.settings(max_examples=40, deadline=None, database=None, derandomize=True)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
DTYPES = st.sampled_from([np.float16, np.float32, np.float64, np.int16, np.int64, np.bool_])


@st.composite
def recordings(draw, min_samples=0):
    shape = draw(st.tuples(st.integers(min_samples, 9), st.integers(1, 5)))
    dtype = draw(DTYPES)
    small = st.integers(0, 1) if dtype == np.bool_ else st.integers(-1000, 1000)
    values = draw(numpy_st.arrays(dtype, shape, elements=small))
    n = shape[0]
    return as_recording(
        values,
        samples={
            "stimulus": np.array(draw(st.lists(NAMES, min_size=n, max_size=n)), dtype=str),
            "trial": draw(numpy_st.arrays(np.int32, n, elements=st.integers(0, 3))),
            "time": draw(numpy_st.arrays(np.float64, n, elements=st.floats(-5, 5))),
            "place": np.arange(n),
        },
        units={"region": np.array(["V1", "V2", "V1", "", "V4"])[: shape[1]]},
    )


def same(a: xr.DataArray, b: xr.DataArray) -> None:
    """Two recordings hold the same numbers and words."""
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a.values, b.values)
    assert samples_table(a).equals(samples_table(b))
    assert units_table(a).equals(units_table(b))


@quick
@hypothesis.given(recordings(), st.integers(1, 10))
def test_blocks_concatenated_are_the_values(rec, size):
    seen = list(chunks(rec, size=size))
    np.testing.assert_array_equal(
        np.concatenate([np.zeros((0, rec.sizes["unit"])), *(b.values for b in seen)]), rec.values
    )
    assert [b.start for b in seen] == list(range(0, rec.sizes["sample"], size))
    for chunk in seen:
        assert chunk.values.dtype in (np.float32, np.float64)
        for name, column in chunk.samples.items():
            rows = slice(chunk.start, chunk.start + size)
            np.testing.assert_array_equal(column, rec[name].values[rows])


@quick
@hypothesis.given(recordings(), recordings(), st.integers(1, 5))
def test_select_gives_back_what_concat_put_together(a, b, n_units):
    n_units = min(n_units, a.sizes["unit"], b.sizes["unit"])
    a, b = a[:, :n_units], b[:, :n_units].astype(a.dtype)
    rec = concat([a, b])
    n = a.sizes["sample"]
    same(select(rec, samples=slice(n)), a)
    same(select(rec, samples=np.arange(rec.sizes["sample"]) >= n), b)


@quick
@hypothesis.given(recordings(), st.data())
def test_sides_taken_apart_and_put_together_are_as_they_were(rec, data):
    cut = data.draw(st.integers(0, rec.sizes["unit"]))
    same(concat([rec[:, :cut], rec[:, cut:]], along="unit"), rec)
    cut = data.draw(st.integers(0, rec.sizes["sample"]))
    same(concat([rec[:cut], rec[cut:]]), rec)


@quick
@hypothesis.given(recordings(min_samples=1))
def test_selecting_every_name_selects_everything(rec):
    names = np.unique(rec["stimulus"].values).tolist()
    same(select(rec, samples={"stimulus": names}, units="*"), rec)
    parts = [select(rec, samples={"stimulus": name}) for name in names]
    assert sum(part.sizes["sample"] for part in parts) == rec.sizes["sample"]


@quick
@hypothesis.given(recordings(), st.sampled_from(["mean", "last", "max"]))
def test_aggregating_what_is_single_changes_nothing(rec, how):
    result = aggregate(rec, by="place", how=how)
    expected = rec.astype(np.float64) if how == "mean" and rec.dtype.kind != "f" else rec
    same(result, expected)


@quick
@hypothesis.given(recordings())
def test_aggregating_twice_is_aggregating_once(rec):
    once = aggregate(rec, how="max")
    same(aggregate(once, how="max"), once)


@quick
@hypothesis.given(recordings(), st.randoms(use_true_random=False))
def test_aligned_with_itself_is_itself(rec, random):
    left, right = align(rec, rec, on="place")
    assert left.identical(rec)
    assert right.identical(rec)
    rows = list(range(rec.sizes["sample"]))
    random.shuffle(rows)
    _, back = align(rec, rec.isel(sample=rows), on="place", order="first")
    same(back, rec)


def test_the_laws_hold_for_what_lies_in_a_store(tmp_path):
    from nissl.recording import open_store, save

    rng = np.random.default_rng(0)
    rec = as_recording(
        rng.normal(size=(50, 6)).astype(np.float32),
        samples={"stimulus": np.array(list("cadb"))[rng.integers(0, 4, 50)], "place": range(50)},
        units={"site": ["a"] * 4 + ["b"] * 2, "index": [0, 1, 2, 3, 0, 1]},
    )
    lazy = open_store(save(rec, tmp_path / "store", progress=False))
    np.testing.assert_array_equal(
        np.concatenate([b.values for b in chunks(lazy, size=7)]), rec.values
    )
    for how in ("mean", "last", "max"):
        same(aggregate(lazy, how=how), aggregate(rec, how=how))
    same(concat([lazy[:20], lazy[20:]]), rec)
    same(concat([lazy[:, :4], lazy[:, 4:]], along="unit"), rec)
    same(
        select(lazy, samples={"stimulus": "a"}, units="b"),
        select(rec, samples={"stimulus": "a"}, units="b"),
    )
    same(align(rec, lazy[::-1], on="place", order="first")[1], rec)


@quick
@hypothesis.given(
    rate=st.sampled_from([100, 250, 1000, 2000, 24414, 30000]),
    start=st.integers(0, 10_000_000),
    width=st.integers(1, 500),
    ticks=st.lists(st.integers(0, 20_000), min_size=1, max_size=50),
    divided=st.booleans(),
)
def test_spikes_on_whole_samples_are_counted_in_whole_numbers(rate, start, width, ticks, divided):
    """However times and edges were computed, what lies on the samples is counted exactly."""
    at = start + np.array(ticks)
    times = at / rate if divided else at * (1 / rate)
    n, first = 20_000 // width, start / rate
    events = {"time": times, "unit": np.zeros(len(times))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no spike is within
        rec = bin_spikes(events, bin=width / rate, start=first, stop=first + n * (width / rate))
    expected = np.bincount(np.array(ticks) // width, minlength=n + 1)[:n]
    assert rec.sizes["sample"] == n
    np.testing.assert_array_equal(rec[:, 0], expected)
