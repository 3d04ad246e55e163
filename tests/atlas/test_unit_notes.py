"""Notes and sets are kept in a file that people can read, and come back as they were."""

import json
import os
from pathlib import Path

import pytest

from nissl.atlas import UnitNotes
from nissl.errors import NisslError


def test_notes_and_sets_come_back_and_are_taken_away(tmp_path: Path) -> None:
    UnitNotes.read(tmp_path).write("a[0]", " écrit </script> ")
    UnitNotes.read(tmp_path).keep("my set", ["a[0]", "a[1]", "a[0]"])
    held = UnitNotes.read(tmp_path)
    assert held.notes == {"a[0]": "écrit </script>"}
    assert held.sets == {"my set": ["a[0]", "a[1]"]}
    assert json.loads((tmp_path / "notes.json").read_text())["sets"] == held.sets
    held.write("a[0]", "")
    held.keep("my set", [])
    again = UnitNotes.read(tmp_path)
    assert (again.notes, again.sets) == ({}, {})
    assert [p.name for p in tmp_path.iterdir()] == ["notes.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "other"}', '{"format": "nissl.notes"}']
)
def test_a_damaged_file_is_said_and_left(tmp_path: Path, text: str) -> None:
    (tmp_path / "notes.json").write_text(text)
    with pytest.raises(NisslError, match="the notes cannot be read"):
        UnitNotes.read(tmp_path)
    assert (tmp_path / "notes.json").read_text() == text


def test_what_is_out_of_bounds_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    held = UnitNotes.read(tmp_path)
    held.write("a[0]", "kept")
    for bad in (
        lambda: held.write("a[0]", "x" * 10_001),
        lambda: held.keep("", ["a[0]"]),
        lambda: held.keep("this and that", ["a[0]"]),
        lambda: held.keep("x" * 101, ["a[0]"]),
        lambda: held.keep("large", [str(i) for i in range(10_001)]),
    ):
        with pytest.raises(NisslError):
            bad()
    assert UnitNotes.read(tmp_path).notes == {"a[0]": "kept"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(NisslError, match="cannot be written"):
        UnitNotes.read(tmp_path).write("a[0]", "x")
