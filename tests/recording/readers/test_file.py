"""A file finds its reader by its suffix, and what cannot be read is said."""

import sys

import numpy as np
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.recording.readers import read_file
from nissl.recording.readers.file import SUFFIXES


def test_unknown_suffix_lists_the_known(tmp_path):
    path = tmp_path / "cells.abc"
    path.write_bytes(b"MATLAB 5.0")
    with pytest.raises(NisslError, match=r"end in '\.abc'") as caught:
        read_file(path)
    assert all(suffix in caught.value.do for suffix in SUFFIXES)


def test_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "session1.nwb").write_bytes(b"x")
    with pytest.raises(NisslError, match="no such file") as caught:
        read_file(tmp_path / "sesion1.nwb")
    assert "session1.nwb" in caught.value.do
    with pytest.raises(NisslError, match="folder"):
        read_file(tmp_path)


def test_unknown_option_names_the_nearest(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.eye(2))
    with pytest.raises(UnknownName, match="did you mean 'samples'"):
        read_file(path, sample="time")


@pytest.mark.parametrize(
    ("name", "library"), [("a.nwb", "pynwb"), ("a.nii.gz", "nibabel"), ("a.edf", "mne")]
)
def test_missing_library_names_the_extra(tmp_path, monkeypatch, name, library):
    (tmp_path / name).write_bytes(b"x")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(NisslError, match=f"needs {library}") as caught:
        read_file(tmp_path / name)
    assert "nissl[brain]" in caught.value.do


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_bytes_under_a_known_name_are_refused(tmp_path, suffix):
    path = tmp_path / f"recording{suffix}"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(NisslError, match="damaged, cut short, or of another kind") as caught:
        read_file(path)
    assert "again" in caught.value.do
