"""What is read block by block is what the libraries read at once, whatever the size of a block."""

import datetime
import importlib

import mne
import nibabel
import numpy as np
import pynwb
import pytest

import nissl
from nissl.recording.readers.eeg import read_eeg

BLOCKS = [1, 100, 1000, 1 << 19]


@pytest.fixture(params=BLOCKS)
def in_blocks(request, monkeypatch):
    for name in ("eeg", "nifti", "_series"):
        module = importlib.import_module(f"nissl.recording.readers.{name}")
        monkeypatch.setattr(module, "IN_CACHE", request.param)


def test_channels_are_laid_out_few_at_a_time():
    values = np.random.default_rng(0).standard_normal((11, 40))
    raw = mne.io.RawArray(values, mne.create_info(11, 32.0, "eeg"), verbose="error")
    found = read_eeg(raw, start=0.5)
    assert np.array_equal(found.values, values.T[16:])
    assert found.values.flags.c_contiguous


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("slope", [None, 0.37])
def test_nifti(in_blocks, tmp_path, name, slope):
    rng = np.random.default_rng(0)
    values = rng.integers(-50, 50, (5, 4, 3, 7)).astype(np.int16)
    values[0], values[:, 1, 2] = 0, 0
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.set_slope_inter(slope, None if slope is None else 0.0)
    nibabel.save(image, tmp_path / name)
    whole = nibabel.load(tmp_path / name).get_fdata(dtype=np.float32)
    for mask in (None, rng.random((5, 4, 3)) > 0.4):
        inside = (whole != 0).any(axis=3) if mask is None else mask
        found = nissl.read(tmp_path / name, tr=2.0, mask=mask)
        assert np.array_equal(found.values, whole[inside].T)
        assert [*zip(*(found[a].values for a in "ijk"), strict=True)] == [
            *map(tuple, np.argwhere(inside))
        ]


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_nwb(in_blocks, tmp_path, dtype):
    day = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    file = pynwb.NWBFile(session_description="a", identifier="b", session_start_time=day)
    values = np.random.default_rng(0).integers(-9, 9, (50, 7)).astype(dtype)
    series = pynwb.TimeSeries(
        name="field", data=values, unit="volts", rate=10.0, conversion=-1.5e-3, offset=0.25
    )
    file.add_acquisition(series)
    with pynwb.NWBHDF5IO(tmp_path / "a.nwb", "w") as io:
        io.write(file)
    found = nissl.read(tmp_path / "a.nwb").values
    wide = np.float64 if dtype is np.int32 else np.float32
    assert found.dtype == wide
    assert np.array_equal(found, values.astype(wide) * wide(-1.5e-3) + wide(0.25))
