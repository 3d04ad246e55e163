"""Any Recording is kept as it is."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from nissl.errors import NisslError
from nissl.recording import NotARecording, as_recording, open_store, save

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_a_brain_recording_comes_back_identical(tmp_path, dtype):
    rec = as_recording(
        (RNG.random((30, 5)) * 10).astype(dtype),
        samples={
            "time": np.arange(30) / 10,
            "stimulus": ["face", "house", "shoe"] * 10,
            "awake": np.arange(30) < 20,
        },
        units={"unit": list("abcde"), "x": RNG.random(5), "region": ["V1", "V2", "V1", "", "é"]},
        quantity="calcium",
        attrs={"subject": "s1", "rate": 10.0, "sorted": True, "trials": 3},
    )
    rec["time"].attrs["units"] = "s"
    rec["x"].attrs["units"] = "mm"
    xr.testing.assert_identical(open_store(save(rec, tmp_path, progress=False)), rec)


def test_sites_become_arrays_and_their_order_stays(tmp_path):
    units = {"site": ["b"] * 2 + ["a"] * 3, "index": [5, 7, 0, 1, 2]}
    rec = as_recording(RNG.random((30, 5)), samples={"trial": np.arange(30)}, units=units)
    save(rec, tmp_path, progress=False)
    assert set(xr.open_zarr(tmp_path, chunks=None)) == {"a", "b"}
    xr.testing.assert_identical(open_store(tmp_path), rec)


def test_sites_that_alternate_are_kept_as_one_array(tmp_path):
    rec = as_recording(RNG.random((30, 3)), units={"site": ["a", "b", "a"], "index": [0, 0, 1]})
    save(rec, tmp_path, progress=False)
    xr.testing.assert_identical(open_store(tmp_path), rec)


def test_a_lazy_recording_is_saved_in_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("nissl.recording.store.saving.ROWS", 7)
    rec = as_recording(RNG.random((30, 5)), samples={"trial": np.arange(30)})
    first = open_store(save(rec, tmp_path / "first", progress=False))
    second = open_store(save(first[::-1, [3, 1]], tmp_path / "second", progress=False))
    xr.testing.assert_identical(second, rec[::-1, [3, 1]])


def test_it_is_cast_on_request(tmp_path):
    rec = as_recording(RNG.random((30, 5)))
    np.testing.assert_array_equal(
        open_store(save(rec, tmp_path, dtype="float32", progress=False)).values,
        rec.values.astype("float32"),
    )


def test_what_is_there_is_not_overwritten(tmp_path):
    rec = as_recording(RNG.random((30, 5)))
    save(rec, tmp_path, progress=False)
    with pytest.raises(NisslError, match="there already"):
        save(rec, tmp_path, progress=False)
    with pytest.raises(NotARecording):
        save(np.zeros((2, 2)), tmp_path / "other", progress=False)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_and_durations_come_back_and_every_reader_shows_them(tmp_path, unit):
    when = np.array(["2020-01-01T10:00:00", "NaT", "1969-07-20T20:17:40"], f"M8[{unit}]")
    took = np.array([5, 0, -3], f"m8[{unit}]")
    rec = as_recording(np.eye(3), samples={"when": when, "took": took}, units={"born": when})
    save(rec, tmp_path, progress=False)
    xr.testing.assert_identical(open_store(tmp_path), rec)
    shown = xr.open_zarr(tmp_path, chunks=None)["when"].values
    np.testing.assert_array_equal(shown.astype("M8[ns]"), when.astype("M8[ns]"))
