"""Binning agrees with counting by hand, and no bin reaches over the edge of an interval."""

import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nissl.errors import NisslError, UnknownName
from nissl.recording import bin_spikes
from nissl.recording._times import reaching


def slowly(times, ids, bounds, bin, units):
    """Count in exact decimals, so that nothing is rounded."""
    rows, spikes = [], [(Decimal(str(t)), i) for t, i in zip(times, ids, strict=True)]
    bin = Decimal(str(bin))
    for bound in bounds:
        left, right = (Decimal(str(b)) for b in bound)
        k = 0
        while left + bin * (k + 1) <= right:
            low, high = left + bin * k, left + bin * (k + 1)
            rows.append([sum(1 for t, i in spikes if i == u and low <= t < high) for u in units])
            k += 1
    return np.array(rows)


@pytest.mark.parametrize("seed", range(3))
def test_counts_equal_a_loop_over_bins_and_spikes(seed):
    rng = np.random.default_rng(seed)
    times = np.round(rng.uniform(0, 10, 300), 2)  # many exactly on an edge
    ids = rng.integers(0, 4, 300)
    bounds = np.array([[0.0, 1.25], [1.25, 3.0], [2.5, 4.0], [7.01, 9.9]])  # two overlap
    rec = bin_spikes({"time": times, "unit": ids}, bin=0.1, intervals=bounds, units=range(5))
    np.testing.assert_array_equal(rec.values, slowly(times, ids, bounds, 0.1, range(5)))
    assert rec.attrs == {"quantity": "spikes", "bin": 0.1}
    assert rec["unit"].values.tolist() == list("01234")


@pytest.mark.parametrize(
    ("write", "bin", "start"),
    [
        (lambda k: k / 1000, 0.001, 0.0),  # whole milliseconds
        (lambda k: k * 0.001, 0.001, 0.0),
        (lambda k: k / 1000, 0.007, 1.4),
        (lambda k: k / 30000, 1 / 30000, 0.0),  # samples of a probe
        (lambda k: k * (1 / 30000), 1 / 30000, 100 / 30000),
        (lambda k: 1.7e9 + k / 1000, 0.001, 1.7e9),  # dates
        (lambda k: np.float32(k / 1000), 0.001, 0.0),
        (lambda k: np.cumsum(np.full(20000, 0.001))[k] - 0.001, 0.001, 0.0),
    ],
)
def test_spikes_on_an_edge_lie_in_the_bin_that_begins_there(write, bin, start):
    """The reference counts in whole samples, where nothing is rounded."""
    ticks = np.random.default_rng(0).integers(0, 20000, 20000)
    rate = 30000 if bin == 1 / 30000 else 1000
    wide, first = round(bin * rate), round((start % 1e9 if start < 1e9 else 0) * rate)
    n = (20000 - first) // wide
    rec = bin_spikes(
        {"time": write(ticks), "unit": np.zeros(20000)}, bin=bin, start=start, stop=start + n * bin
    )
    place = (ticks - first) // wide
    expected = np.bincount(place[(ticks >= first) & (place < n)], minlength=n)
    np.testing.assert_array_equal(rec.values[:, 0], expected)


@pytest.mark.parametrize("kind", [float, int, str, object, np.float32, "Int64"])
@pytest.mark.parametrize("wanted", [[1, 2, 11], [1.0, 2.0, 11.0], ["1", "2", "11"]])
def test_ids_are_matched_as_numbers(kind, wanted):
    ids = pd.Series([1, 11, 2, 1]).astype(kind)
    events = {"time": [0.1, 0.2, 0.3, 0.4], "unit": ids}
    rec = bin_spikes(events, bin=1.0, start=0, stop=1, units=wanted)
    assert rec["unit"].values.tolist() == ["1", "2", "11"]
    assert rec.values.tolist() == [[2, 1, 1]]
    alone = bin_spikes(events, bin=1.0, start=0, stop=1)
    assert set(alone["unit"].values) == {"1", "2", "11"}


@pytest.mark.parametrize("ids", [[1.0, np.nan], ["a", None], ["a", ""], [1, pd.NA], [pd.NaT, 1]])
def test_missing_ids_are_refused(ids):
    with pytest.raises(NisslError, match="ids are missing"):
        bin_spikes({"time": [0.1, 0.2], "unit": ids}, bin=0.1)
    with pytest.raises(NisslError, match="ids are missing"):
        bin_spikes({"time": [0.1], "unit": [1]}, bin=0.1, start=0, stop=1, units=ids)


def test_bins_keep_inside_their_interval():
    bounds = np.array([[0.0, 0.95], [1.0, 2.33]])
    events = {"time": [0.97, 0.99, 2.31], "unit": [0, 0, 0]}
    with pytest.warns(UserWarning, match="none of the 3 spikes"):
        rec = bin_spikes(events, bin=0.1, intervals=bounds)
    left, right = bounds[rec["interval"].values].T
    time = rec["time"].values
    assert (time - 0.05 >= left - 1e-9).all()
    assert (time + 0.05 <= right + 1e-9).all()
    assert np.bincount(rec["interval"].values).tolist() == [9, 13]
    np.testing.assert_allclose(rec["time_in_interval"].values, time - left)


def test_every_spike_is_counted_without_bounds():
    times = np.random.default_rng(0).exponential(size=100).cumsum()
    rec = bin_spikes({"time": times, "unit": np.zeros(100)}, bin=0.25)
    assert rec.values.sum() == 100


def test_columns_of_both_tables_become_coordinates():
    intervals = pd.DataFrame(
        {"start": [0.0, 1.0], "stop": [0.2, 1.1], "trial": [7, 8], "condition": ["go", "stop"]}
    )
    units = pd.DataFrame({"unit": ["b", "silent"], "region": ["ADN", "CA1"]})
    events = {"time": [0.15, 0.05], "unit": ["b", "a"]}
    rec = bin_spikes(events, bin=0.1, intervals=intervals, units=units)
    assert rec.values.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert rec["trial"].values.tolist() == [7, 7, 8]
    assert rec["condition"].values.tolist() == ["go", "go", "stop"]
    assert rec["region"].values.tolist() == ["ADN", "CA1"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bin": 0.0}, "bin of 0.0 s"),
        ({"bin": 100.0, "start": 0.0, "stop": 1.0}, "no interval is as long"),
        ({"intervals": [[1.0, 0.5]]}, "from 1 to 0.5 s"),
        ({"intervals": [0.0, 1.0]}, "shape"),
        ({"intervals": [[0.0, 1.0]], "start": 0.0}, "both intervals"),
        ({"intervals": [["a", "b"]]}, "not pairs of numbers"),
        ({"units": [0, 0]}, "twice"),
        ({"units": []}, "no units"),
        ({"events": {"time": [0.0, np.nan], "unit": [0, 0]}}, "1 spikes have no finite time"),
        ({"events": {"time": [0.0], "unit": [0, 1]}}, r"\(1,\) times and \(2,\) units"),
        ({"events": {"time": [], "unit": []}, "units": [1]}, "no spikes"),
    ],
)
def test_bad_input_is_said(change, says):
    options = {"events": {"time": [0.1, 0.3], "unit": [0, 1]}, "bin": 0.1, **change}
    with pytest.raises(NisslError, match=says):
        bin_spikes(**options)


def test_a_missing_column_is_named():
    with pytest.raises(UnknownName, match="'time'; did you mean 'times'"):
        bin_spikes({"times": [0.1], "unit": [0]}, bin=0.1)


def test_intervals_of_pynapple():
    class IntervalSet:  # as pynapple's: no mapping, with its columns in `metadata`
        start, end = np.array([0.0, 1.0]), np.array([0.2, 1.1])
        columns = ("start", "end")
        metadata = pd.DataFrame({"condition": ["go", "stop"], "time": [7, 8]})

    events = {"time": [0.15, 1.05], "unit": [0, 0]}
    rec = bin_spikes(events, bin=0.1, intervals=IntervalSet())
    assert rec.values.ravel().tolist() == [0, 1, 1]
    assert rec["condition"].values.tolist() == ["go", "go", "stop"]
    assert rec["interval_time"].values.tolist() == [7, 7, 8]


def test_intervals_of_pandas():
    pairs = [(0.0, 0.2), (1.0, 1.1)]
    events = {"time": [0.15, 1.05], "unit": [0, 0]}
    rec = bin_spikes(events, bin=0.1, intervals=pd.IntervalIndex.from_tuples(pairs))
    np.testing.assert_array_equal(rec, bin_spikes(events, bin=0.1, intervals=pairs))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=30),
    st.sampled_from([1e-9, 1e-4, 1 / 3, 0.1, 7.0]),
    st.sampled_from([0.0, -3.0, 1e6, 1.7e9]),
    st.lists(st.integers(0, 99), min_size=1, max_size=3),
)
def test_any_order_and_any_intervals_count_what_a_search_among_the_edges_counts(
    steps, bin, first, cuts
):
    times = first + np.array(steps) * (bin / 4)
    ids = np.arange(len(times)) % 3
    bounds = np.array([[first + c * bin, first + (c + 20) * bin] for c in cuts])
    if not (bounds[:, 1] - bounds[:, 0] > 0).all():
        return  # nanoseconds beside dates
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = bin_spikes({"time": times, "unit": ids}, bin=bin, intervals=bounds)
        except NisslError:  # no whole bin is left
            return
    for i, (left, _) in enumerate(bounds):
        here = found.values[found["interval"].values == i]
        edges = reaching(left + bin * np.arange(len(here) + 1), step=bin)
        for u in range(found.shape[1]):
            expected = np.zeros(len(here), int)
            for t in times[ids == u]:
                place = np.searchsorted(edges, t, side="right") - 1
                if 0 <= place < len(here):
                    expected[place] += 1
            assert here[:, u].tolist() == expected.tolist()
