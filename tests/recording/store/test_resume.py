"""A store that was interrupted, in whatever way, comes out the same to the byte."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.recording import StoreMismatch, open_store
from nissl.recording.store.writer import StoreWriter

PROGRAM = Path(__file__).with_name("killing.py")
spec = importlib.util.spec_from_file_location("killing", PROGRAM)
killing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(killing)


def contents(folder):
    files = [p for p in Path(folder).rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def killed(mode, folder, direct):
    done = subprocess.run(
        [sys.executable, PROGRAM, mode, folder, str(0 if direct else 1 << 30)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "store"
    killing.write(folder)
    return folder


@pytest.mark.parametrize("direct", [True, False])
def test_ten_kills_at_random_moments(tmp_path, whole, direct):
    assert killed("random", tmp_path / "store", direct) == 10
    assert contents(tmp_path / "store") == contents(whole)


@pytest.mark.parametrize("direct", [True, False])
def test_killed_at_changes_of_files(tmp_path, whole, direct):
    calls = killed("every", tmp_path, direct)
    assert calls > 60
    expected = contents(whole)
    for call in range(1, calls + 1, killing.STEP):
        assert contents(tmp_path / str(call)) == expected, call


def test_what_was_recorded_reads_back(whole):
    recs = open_store(whole)
    assert set(recs) == set(killing.SITES)
    for site, rec in recs.items():
        np.testing.assert_array_equal(rec.values, killing.values(site))
        assert rec.attrs["nonfinite"] == 4


SETTINGS = {
    "sites": {"a": 3},
    "n_samples": 40,
    "boundaries": [10, 20, 30, 40],
    "samples": {"token": np.arange(40)},
    "provenance": {"network": "n", "seed": 1},
    "_layout": killing.LAYOUT,
}
VALUES = np.arange(120, dtype="float32").reshape(40, 3)


def record(folder, batches, **changes):
    with StoreWriter(folder, **{**SETTINGS, **changes}) as writer:
        for batch in range(writer.batch, batches):
            writer.append("a", VALUES[10 * batch : 10 * batch + 10])
        return writer.batch


def test_an_exception_loses_no_whole_batch_and_no_byte_differs(tmp_path):
    record(tmp_path / "whole", 4)

    def interrupted():
        with StoreWriter(tmp_path / "cut", **SETTINGS) as writer:
            for batch in range(3):
                writer.append("a", VALUES[10 * batch : 10 * batch + 10])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    # 30 rows are three whole chunks and six rows of a fourth: all are kept.
    with StoreWriter(tmp_path / "cut", **SETTINGS) as writer:
        assert writer.batch == 3
        writer.append("a", VALUES[30:])
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_stopping_early_says_so_and_resumes(tmp_path):
    with pytest.warns(UserWarning, match="2 of 4 batches"):
        assert record(tmp_path, 2) == 2
    with pytest.warns(UserWarning, match="2 of 4 batches"):
        rec = open_store(tmp_path)
    assert rec.attrs["complete"] is False
    np.testing.assert_array_equal(rec.values, VALUES[:20])
    assert rec["token"].values.tolist() == list(range(20))
    record(tmp_path, 4)
    np.testing.assert_array_equal(open_store(tmp_path).values, VALUES)


def test_a_complete_store_has_nothing_left_to_do(tmp_path):
    record(tmp_path, 4)
    before = contents(tmp_path)
    assert record(tmp_path, 4) == 4
    assert contents(tmp_path) == before


def test_a_site_that_lags_holds_the_others_back(tmp_path):
    settings = {**SETTINGS, "sites": {"a": 3, "b": 3}}
    writer = StoreWriter(tmp_path, **settings)
    writer.append("a", VALUES[:10])
    writer.append("b", VALUES[:10])
    writer.append("a", VALUES[10:20])
    with pytest.warns(UserWarning, match="1 of 4 batches"):
        writer.close()
    with pytest.warns(UserWarning, match="batches"), StoreWriter(tmp_path, **settings) as writer:
        assert writer.batch == 1


def test_a_damaged_end_is_written_again(tmp_path):
    with pytest.warns(UserWarning, match="batches"):
        record(tmp_path, 3)
    partial = tmp_path / "a" / "c" / "0" / "0.partial"
    with open(partial, "r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"\0\0\0\0\0")
    with StoreWriter(tmp_path, **SETTINGS) as writer:
        assert writer.batch == 2
        writer.append("a", VALUES[20:30])
        writer.append("a", VALUES[30:])
    np.testing.assert_array_equal(open_store(tmp_path).values, VALUES)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("provenance.network", {"provenance": {"network": "m", "seed": 1}}),
        ("provenance.temperature", {"provenance": {"network": "n", "seed": 1, "temperature": 0}}),
        ("dtype", {"dtype": "float16"}),
        ("axes", {"boundaries": [20, 40]}),
        ("axes", {"samples": {"token": np.arange(1, 41)}}),
        ("sites.b.n_units", {"sites": {"a": 3, "b": 1}}),
        ("sites.a.fingerprints.layer", {"units": {"a": {"layer": [0, 1, 2]}}}),
    ],
)
def test_another_run_is_refused_by_what_differs(tmp_path, field, changes):
    with pytest.warns(UserWarning, match="batches"):
        record(tmp_path, 1)
    before = contents(tmp_path)
    with pytest.raises(StoreMismatch) as caught:
        StoreWriter(tmp_path, **{**SETTINGS, **changes})
    assert any(field in f for f in caught.value.fields), caught.value.fields
    assert contents(tmp_path) == before


def test_resume_false_overwrites_nothing(tmp_path):
    record(tmp_path, 4)
    with pytest.raises(NisslError, match="there already"):
        StoreWriter(tmp_path, **SETTINGS, resume=False)


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("words")
    with pytest.raises(NisslError, match="other things"):
        StoreWriter(tmp_path, **SETTINGS)
    assert os.listdir(tmp_path) == ["thesis.txt"]
