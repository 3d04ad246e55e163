"""EEG files written here come back channel by channel; MNE is the judge of the values."""

import numpy as np
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.recording.readers import read_eeg, read_file

mne = pytest.importorskip("mne")

RATE = 100.0


def raw():
    info = mne.create_info(["Fz", "Cz", "STI", "M1"], RATE, ["eeg", "eeg", "stim", "mag"])
    info["chs"][0]["loc"][:3] = [0.01, 0.02, 0.1]
    data = np.random.default_rng(0).normal(size=(4, 500)) * 1e-5
    data[2] = np.arange(500) // 100
    made = mne.io.RawArray(data, info, verbose="error")
    made.set_annotations(mne.Annotations([1.0, 3.0, 3.5], [0.5, 1.0, 0.0], ["a", "b", "click"]))
    return made


def write_edf(path, data, n_records=5, stated=None):
    """Write two channels of 100 Hz as 16-bit EDF in records of a second (the format of 1992)."""
    n = len(data)
    fields = [("0", 8), ("", 80), ("", 80), ("01.01.20", 8), ("00.00.00", 8)]
    fields += [(str(256 * (n + 1)), 8), ("", 44), (str(stated or n_records), 8), ("1", 8)]
    fields += [(str(n), 4)]
    per_channel = [(["Fz", "Cz"], 16), ([""] * n, 80), (["uV"] * n, 8), (["-100"] * n, 8)]
    per_channel += [(["100"] * n, 8), (["-32768"] * n, 8), (["32767"] * n, 8), ([""] * n, 80)]
    per_channel += [(["100"] * n, 8), ([""] * n, 32)]
    for texts, width in per_channel:
        fields += [(text, width) for text in texts]
    header = "".join(text.ljust(width) for text, width in fields).encode("ascii")
    records = data.reshape(n, n_records, 100).transpose(1, 0, 2).astype("<i2")
    path.write_bytes(header + records.tobytes())
    return path


def write_brainvision(folder, data):
    (folder / "s.eeg").write_bytes(data.T.astype("<f4").tobytes())
    (folder / "s.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=s.eeg\n"
        "[Marker Infos]\nMk1=Stimulus,S  1,101,1,0\n"
    )
    channels = "".join(f"Ch{i + 1}=E{i},,1,µV\n" for i in range(len(data)))
    (folder / "s.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        "DataFile=s.eeg\nMarkerFile=s.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(data)}\nSamplingInterval=10000\n[Binary Infos]\n"
        f"BinaryFormat=IEEE_FLOAT_32\n[Channel Infos]\n{channels}",
        encoding="utf-8",
    )
    return folder / "s.vhdr"


def test_continuous_recordings_keep_their_channels_and_annotations():
    source = raw()
    rec = read_eeg(source)
    np.testing.assert_array_equal(rec.values, source.get_data(picks=["Fz", "Cz", "M1"]).T)
    assert rec["unit"].values.tolist() == ["Fz", "Cz", "M1"]
    assert rec["type"].values.tolist() == ["eeg", "eeg", "mag"]
    assert rec["measured_in"].values.tolist() == ["V", "V", "T"]
    np.testing.assert_allclose([rec[a].values[0] for a in "xyz"], [10, 20, 100], rtol=1e-6)
    assert np.isnan(rec["x"].values[1])
    np.testing.assert_array_equal(rec["STI"].values, np.arange(500) // 100)
    event = rec["event"].values
    expected = np.array([""] * 500, dtype=object)
    expected[100:150], expected[300:400], expected[350] = "a", "b", "click"
    assert event.tolist() == expected.tolist()


def test_a_stretch_and_some_channels():
    source = raw()
    rec = read_eeg(source, channels=["eeg"], start=1.0, stop=2.0)
    np.testing.assert_array_equal(rec.values, source.get_data(picks="eeg")[:, 100:200].T)
    assert rec["time"].values[[0, -1]].tolist() == [1.0, 1.99]
    assert rec["event"].values.tolist() == ["a"] * 50 + [""] * 50
    with pytest.raises(NisslError, match="from 9 to None"):
        read_eeg(source, start=9)
    with pytest.raises(UnknownName, match="did you mean 'Fz' or 'Cz'"):
        read_eeg(source, channels="cz")
    with pytest.raises(NisslError, match="only stimulus"):
        read_eeg(source, channels="stim")


def test_epochs_become_trials():
    data = np.random.default_rng(0).normal(size=(6, 2, 30))
    events = np.stack([np.arange(6), np.zeros(6), [1, 2, 1, 2, 1, 2]], axis=1).astype(int)
    epochs = mne.EpochsArray(
        data,
        mne.create_info(["a", "b"], RATE, "mag"),
        events,
        tmin=-0.1,
        event_id={"go": 1, "stop": 2},
        verbose="error",
    )
    rec = read_eeg(epochs)
    np.testing.assert_array_equal(rec.values.reshape(6, 30, 2).transpose(0, 2, 1), data)
    assert rec["trial"].values.tolist() == np.repeat(range(6), 30).tolist()
    assert rec["event"].values[::30].tolist() == ["go", "stop"] * 3
    np.testing.assert_allclose(rec["time"].values[:30], epochs.times)
    assert rec.attrs["quantity"] == "field"
    part = read_eeg(epochs, start=0.0, stop=0.1)
    np.testing.assert_array_equal(part.values, rec.values[np.tile(np.arange(30) // 10 == 1, 6)])


def test_fif_of_both_kinds(tmp_path):
    source = raw()
    source.save(tmp_path / "s_raw.fif", verbose="error")
    rec = read_file(tmp_path / "s_raw.fif")
    np.testing.assert_allclose(rec.values, read_eeg(source).values, rtol=1e-6)
    assert rec["event"].values.tolist() == read_eeg(source)["event"].values.tolist()
    epochs = mne.make_fixed_length_epochs(source, 1.0, preload=True, verbose="error")
    epochs.save(tmp_path / "s-epo.fif", verbose="error")
    loaded = read_file(tmp_path / "s-epo.fif")
    np.testing.assert_allclose(loaded.values, read_eeg(epochs).values, rtol=1e-6)


def test_annotations_follow_a_crop():
    source = raw()
    source.set_meas_date(1_600_000_000)
    cropped = source.copy().crop(0.5, 4.0)
    event = read_eeg(cropped)["event"].values
    np.testing.assert_array_equal(event, read_eeg(source)["event"].values[50:401])


def test_edf(tmp_path):
    data = np.random.default_rng(0).integers(-30000, 30000, size=(2, 500))
    rec = read_file(write_edf(tmp_path / "s.edf", data))
    microvolts = (data + 32768) * 200 / 65535 - 100
    np.testing.assert_allclose(rec.values, microvolts.T * 1e-6, atol=1e-12)
    assert rec["unit"].values.tolist() == ["Fz", "Cz"]
    assert rec.attrs == {"quantity": "voltage", "sampling_rate": 100.0, "source": "s.edf"}


def test_brainvision(tmp_path):
    data = np.random.default_rng(0).normal(size=(3, 200))
    rec = read_file(write_brainvision(tmp_path, data))
    np.testing.assert_allclose(rec.values, data.T * 1e-6, rtol=1e-6)
    assert rec["event"].values[100] == "Stimulus/S  1"


@pytest.mark.parametrize("part", [0.01, 0.2, 0.5, 0.999])
def test_truncated_files_are_refused(tmp_path, part):
    edf = write_edf(tmp_path / "s.edf", np.zeros((2, 500)))
    raw().save(tmp_path / "s_raw.fif", verbose="error")
    for path in (edf, tmp_path / "s_raw.fif"):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(NisslError, match="damaged, cut short"):
            read_file(path)


def test_brainvision_data_that_is_cut_or_missing_is_refused(tmp_path):
    header = write_brainvision(tmp_path, np.zeros((3, 200)))
    data = tmp_path / "s.eeg"
    data.write_bytes(data.read_bytes()[:-5])
    with pytest.raises(NisslError, match="multiple of 12"):
        read_file(header)
    data.unlink()
    with pytest.raises(NisslError, match=r"data file 's.eeg' is not beside it"):
        read_file(header)


def test_other_objects_are_refused():
    with pytest.raises(NisslError, match="neither Raw nor Epochs"):
        read_eeg(42)
