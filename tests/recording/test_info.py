"""What is described is what is there, and it can be written as JSON."""

import json

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.recording import NotARecording, as_recording, info


@pytest.fixture
def rec():
    made = as_recording(
        np.zeros((4, 3), np.float32),
        samples={
            "stimulus": ["dog", "cat", "", "dog"],
            "pitch": [1.5, np.nan, 3.0, 1.5],
            "trial": [0, 0, 1, 1],
        },
        units={"site": ["a", "a", "b"], "index": [0, 1, 0], "region": ["V1", "", "V4"]},
        quantity="calcium",
        attrs={"seed": np.int64(3), "network": "smollm2"},
    )
    return made.assign_coords(subject=7)


def test_every_column_is_summed_up(rec):
    found = info(rec)
    assert (found["samples"], found["units"], found["bytes"]) == (4, 3, 48)
    assert (found["quantity"], found["type"]) == ("calcium", "float32")
    assert found["sample coordinates"] == {
        "stimulus": {"type": "words", "different": 2, "missing": 1, "words": ["dog", "cat"]},
        "pitch": {"type": "float64", "different": 2, "missing": 1, "from": 1.5, "to": 3.0},
        "trial": {"type": "int64", "different": 2, "missing": 0, "from": 0, "to": 1},
    }
    assert list(found["unit coordinates"]) == ["site", "index", "region", "unit"]
    assert found["sites"] == {"a": 2, "b": 1}
    assert found["regions"] == {"": 1, "V1": 1, "V4": 1}
    assert found["provenance"] == {"seed": 3, "network": "smollm2", "subject": 7}
    assert json.loads(json.dumps(found)) == found


def test_it_reads_well(rec):
    lines = str(info(rec)["sample coordinates"]).splitlines()
    assert lines == [
        "stimulus: 2 words: dog, cat, 1 missing",
        "pitch: 1.5 to 3 (float64, 2 different), 1 missing",
        "trial: 0 to 1 (int64, 2 different)",
    ]


def test_values_are_not_read():
    dask_array = pytest.importorskip("dask.array")

    def fail(block):
        raise AssertionError("read")

    lazy = dask_array.zeros((4, 3)).map_blocks(fail, meta=np.zeros((0, 0)))
    assert info(as_recording(lazy))["units"] == 3


def test_empty_recordings_can_be_described():
    found = info(as_recording(np.zeros((0, 2)), samples={"time": np.zeros(0)}))
    assert "nothing" in str(found["sample coordinates"])
    with pytest.raises(NotARecording):
        info(np.zeros((2, 2)))


def test_files_and_stores_are_described_by_their_path(tmp_path, rec):
    from nissl.recording import save

    (tmp_path / "cells.csv").write_text("label,a,b\ncat,1,2\n")
    found = info(tmp_path / "cells.csv")
    assert (found["samples"], found["units"]) == (1, 2)
    assert found["source"].endswith("cells.csv")
    save(rec, tmp_path / "store", progress=False)
    assert info(str(tmp_path / "store"))["sites"] == {"a": 2, "b": 1}


def test_sites_of_other_samples_are_described_one_by_one(rec):
    found = info({"a": rec, "b": rec[:2]})
    assert (found["a"]["samples"], found["b"]["samples"]) == (4, 2)
    assert "samples: 4" in str(found["a"]).splitlines()


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(NisslError, match="no such file"):
        info(tmp_path / "missing.nwb")
    with pytest.raises(NisslError, match="not a store"):
        info(tmp_path)


def test_dates_are_printed_as_dates():
    when = np.array(["2020-01-01", "NaT", "2021-06-01"], "datetime64[s]")
    found = info(as_recording(np.zeros((3, 1)), samples={"when": when}))
    assert str(found["sample coordinates"]["when"]) == (
        "2020-01-01T00:00:00 to 2021-06-01T00:00:00 (datetime64[s], 2 different), 1 missing"
    )
    json.dumps(found)
