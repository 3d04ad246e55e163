"""Notes and sets are kept in a file that people can read, and come back as they were."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

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


def test_what_others_wrote_meanwhile_is_kept(tmp_path: Path) -> None:
    mine, other = UnitNotes.read(tmp_path), UnitNotes.read(tmp_path)
    mine.write("a[0]", "mine")
    other.keep("set", ["a[0]"])
    other.write("a[1]", "other")
    mine.write("a[2]", "more")
    held = UnitNotes.read(tmp_path)
    assert held.notes == mine.notes == {"a[0]": "mine", "a[1]": "other", "a[2]": "more"}
    assert held.sets == {"set": ["a[0]"]}
    with pytest.raises(NisslError, match="written meanwhile: mine"):
        other.write("a[0]", "other", was="")
    other.write("a[0]", "other", was="mine")
    assert UnitNotes.read(tmp_path).notes["a[0]"] == "other"


def test_many_processes_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from nissl.atlas.unit_notes import UnitNotes\n"
        "for i in range(20): UnitNotes.read(sys.argv[1]).write(f'{sys.argv[2]}[{i}]', 'x')"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "abc"
    ]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    assert len(UnitNotes.read(tmp_path).notes) == 60


def test_a_full_disk_loses_nothing_of_what_was_there(tmp_path: Path) -> None:
    UnitNotes.read(tmp_path).write("a[0]", "kept")
    code = (
        "import resource, signal, sys; from nissl.atlas.unit_notes import UnitNotes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "UnitNotes.read(sys.argv[1]).write('a[1]', 'x' * 9000)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert "the notes cannot be written: File too large" in found.stderr
    assert UnitNotes.read(tmp_path).notes == {"a[0]": "kept"}
    assert [path.name for path in tmp_path.iterdir()] == ["notes.json"]


def test_a_link_in_the_place_of_what_is_written_is_not_followed(tmp_path: Path) -> None:
    atlas, other = tmp_path / "atlas", tmp_path / "other.txt"
    atlas.mkdir()
    other.write_text("theirs")
    (atlas / f"notes.json.{os.getpid()}.partial").symlink_to(other)
    UnitNotes.read(atlas).write("a[0]", "mine")
    assert other.read_text() == "theirs"
    assert not (atlas / "notes.json").is_symlink()
    assert UnitNotes.read(atlas).notes == {"a[0]": "mine"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_refuses_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    held = UnitNotes.read(tmp_path)
    held.write("a[0]", "kept")
    monkeypatch.setattr(Path, "write_text", Mock(side_effect=OSError(number, os.strerror(number))))
    with pytest.raises(NisslError, match=f"cannot be written: {os.strerror(number)}"):
        held.write("a[1]", "x")
    assert held.notes == UnitNotes.read(tmp_path).notes == {"a[0]": "kept"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(NisslError, match="cannot be written"):
        UnitNotes.read(tmp_path).write("a[0]", "x")
