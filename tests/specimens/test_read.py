"""`nissl.read`: a file, a folder or a name, and what it says of anything else."""

from pathlib import Path

import pytest

import nissl
from nissl.errors import NisslError


def test_a_file_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cells.csv").write_text("a,b\n1,2\n3,4\n")
    monkeypatch.chdir(tmp_path)
    assert nissl.read("cells.csv").shape == (2, 2)


def test_neither_file_nor_name(tmp_path: Path) -> None:
    with pytest.raises(NisslError, match="neither a file nor a specimen") as raised:
        nissl.read("wurm")
    assert "'worm'" in str(raised.value)
    with pytest.raises(NisslError, match="not a store"):
        nissl.read(tmp_path)
