"""EEG files written here come back channel by channel; MNE is the judge of the values."""

import struct
import sys

import numpy as np
import pytest

import nissl
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


def write_edf(path, data, *, units=("uV", "uV"), onsets=None, notes=()):
    """Write channels as EDF or BDF in records of a second (the format of 1992).

    `data` has shape (n_channels, n_records * rate), or is a list of channels of several rates;
    `onsets` are the times of the records, where it has gaps, with `notes` (onset, text) in the
    first record.
    """
    width = 3 if path.suffix == ".bdf" else 2
    n_records = 5 if onsets is None else len(onsets)
    names, units = ["Fz", "Cz", "SpO2"][: len(data)], list(units)
    rates = [len(channel) // n_records for channel in data]
    records = [np.reshape(channel, (n_records, -1)) for channel in data]
    if onsets is not None:
        names, units, rates = [*names, "EDF Annotations"], [*units, ""], [*rates, 60 // width]
    n = len(names)
    plus = "" if onsets is None else "EDF+D"
    fields = [("0", 8), ("X X X X", 80), ("", 80), ("01.01.20", 8), ("00.00.00", 8)]
    fields += [(str(256 * (n + 1)), 8), (plus, 44), (str(n_records), 8), ("1", 8), (str(n), 4)]
    top = 2 ** (8 * width - 1) - 1
    per_channel = [(names, 16), ([""] * n, 80), (units, 8), (["-100"] * n, 8)]
    per_channel += [(["100"] * n, 8), ([str(-top - 1)] * n, 8), ([str(top)] * n, 8)]
    per_channel += [([""] * n, 80), ([str(r) for r in rates], 8), ([""] * n, 32)]
    for texts, wide in per_channel:
        fields += [(text, wide) for text in texts]
    body = b""
    for i in range(n_records):
        for channel in records:
            cells = channel[i].astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width]
            body += cells.tobytes()
        if onsets is not None:
            told = f"+{onsets[i]:g}\x14\x14\x00"
            told += "".join(f"+{t:g}\x15\x30.5\x14{w}\x14\x00" for t, w in notes if i == 0)
            body += told.encode().ljust(60, b"\0")
    header = "".join(text.ljust(wide) for text, wide in fields).encode("latin-1")
    path.write_bytes(header + body)
    return path


def write_gdf(path, data, units):
    """Write channels of several rates as GDF 1.25, in records of a second."""
    n, n_records = len(data), 5
    records = [np.reshape(channel, (n_records, -1)).astype("<i2") for channel in data]
    head = b"GDF 1.25" + b"X".ljust(160) + b"2020010100000000" + struct.pack("<q", 256 * (n + 1))
    head += bytes(44) + struct.pack("<qIII", n_records, 1, 1, n)
    each = [
        [name.encode().ljust(16) for name in ("Fz", "Cz", "SpO2")[:n]], [b" " * 80] * n,
        [unit.encode().ljust(8) for unit in units], [struct.pack("<d", -100)] * n,
        [struct.pack("<d", 100)] * n, [struct.pack("<q", -32768)] * n,
        [struct.pack("<q", 32767)] * n, [b" " * 80] * n,
        [struct.pack("<i", r.shape[1]) for r in records], [struct.pack("<i", 3)] * n,
        [bytes(32)] * n,
    ]  # fmt: skip
    body = b"".join(channel[i].tobytes() for i in range(n_records) for channel in records)
    path.write_bytes(head + b"".join(b"".join(field) for field in each) + body + bytes(8))
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


@pytest.mark.parametrize("date", [None, 1_600_000_000])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("saved", [False, True])
def test_annotations_lie_where_mnes_own_events_do(tmp_path, date, when, saved):
    source = raw()
    source.set_annotations(None).set_meas_date(date)
    if when == "before":
        source.set_annotations(mne.Annotations([3.0, 4.0], [0.5, 0.0], ["a", "b"]))
    source.crop(2.0)
    if when == "after":
        source.set_annotations(mne.Annotations([1.0, 2.0], [0.5, 0.0], ["a", "b"]))
    if saved:
        source.save(tmp_path / "s_raw.fif", verbose="error")
        source = mne.io.read_raw_fif(tmp_path / "s_raw.fif", verbose="error")
    events, code = mne.events_from_annotations(source, verbose="error")
    event = read_eeg(source)["event"].values
    for name in "ab":
        (begins,) = events[events[:, 2] == code[name], 0] - source.first_samp
        assert np.flatnonzero(event == name)[0] == begins
    assert (event == "a").sum() == 50


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_gaps_of_a_file_stay_gaps(tmp_path, suffix):
    data = np.arange(300).reshape(1, 300)
    notes = [(1.5, "before"), (50.0, "within"), (102.25, "after")]
    path = tmp_path / f"s{suffix}"
    write_edf(path, data, units=["uV"], onsets=[0, 1, 102], notes=notes)
    with pytest.warns(RuntimeWarning):  # of MNE, which would close the gap
        rec = read_file(path)
    expected = np.concatenate([np.arange(200) / 100, 102 + np.arange(100) / 100])
    np.testing.assert_allclose(rec["time"], expected)
    event = dict.fromkeys(rec["event"].values)
    assert list(event) == ["", "before", "after"]
    np.testing.assert_allclose(rec["time"].values[rec["event"].values == "after"][0], 102.25)
    with pytest.warns(RuntimeWarning):
        part = read_eeg(path, start=1.5, stop=102.5)
    np.testing.assert_array_equal(part.values, rec.values[150:250])


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_a_recording_has_one_rate(tmp_path, suffix):
    fast, slow = np.arange(1000), np.arange(5) * 1000
    path = write_edf(tmp_path / f"s{suffix}", [fast, slow, slow[::-1]], units=["uV", "%", "%"])
    with pytest.raises(NisslError, match="200 Hz: Fz; 1 Hz: Cz, SpO2"):
        read_eeg(path)
    with pytest.raises(NisslError, match="several rates"):
        read_eeg(path, channels=["Fz", "SpO2"])
    rec = read_eeg(path, channels=["SpO2", "Cz"])
    assert rec.shape == (5, 2)
    assert rec.attrs["sampling_rate"] == 1.0
    np.testing.assert_array_equal(rec["time"], np.arange(5))
    np.testing.assert_allclose(np.diff(rec[:, 1]), -np.diff(rec[:, 0]), rtol=1e-6)
    part = read_eeg(path, channels=["SpO2", "Cz"], start=2.0)
    np.testing.assert_array_equal(part.values, rec.values[2:])
    with pytest.raises(UnknownName):
        read_eeg(path, channels="eeg")


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
@pytest.mark.parametrize(
    ("unit", "measured_in", "factor"),
    [
        ("uV", "V", 1e-6), ("mV", "V", 1e-3), ("V", "V", 1.0), ("nV", "V", 1e-9), ("UV", "V", 1e-6),
        ("\xb5V", "V", 1e-6), ("\xc2\xb5V", "V", 1e-6), ("%", "%", 1.0), ("bpm", "bpm", 1.0),
        ("", "", 1.0), ("degC", "degC", 1.0),
    ],
)  # fmt: skip
def test_channels_are_in_the_unit_that_is_said(tmp_path, suffix, unit, measured_in, factor):
    data = np.linspace(-30000, 30000, 500).astype(int)[None]
    top = 2 ** (15 if suffix == ".edf" else 23)
    rec = read_eeg(write_edf(tmp_path / f"s{suffix}", data, units=[unit]))
    assert rec["measured_in"].values.tolist() == [measured_in]
    stated = (data[0] + top) * 200 / (2 * top - 1) - 100
    np.testing.assert_allclose(rec[:, 0], stated * factor, atol=1e-9 * factor)


@pytest.mark.parametrize(
    ("unit", "measured_in", "factor"),
    [("uV", "V", 1e-6), ("mV", "V", 1e-3), ("nV", "V", 1e-9), ("%", "%", 1), ("", "", 1)],
)
def test_gdf_has_its_units_and_one_rate(tmp_path, unit, measured_in, factor):
    fast, slow = np.arange(500) * 10, np.arange(5) * 1000
    path = write_gdf(tmp_path / "s.gdf", [fast, slow], [unit, "uV"])
    with pytest.raises(NisslError, match="100 Hz: Fz; 1 Hz: Cz"):
        read_file(path)
    rec = read_file(path, channels="Fz")
    assert rec["measured_in"].values.tolist() == [measured_in]
    np.testing.assert_allclose(rec[:, 0], ((fast + 32768) * 200 / 65535 - 100) * factor)
    with pytest.raises(NisslError, match="1 Hz cannot be read at their own rate"):
        read_file(path, channels="Cz")


def test_what_mne_knows_of_channels_and_trials_is_kept():
    source = raw()
    source.info["bads"] = ["Cz"]
    source.set_annotations(
        mne.Annotations([1.0, 2.0], [0.5, 0.5], ["all", "one"], ch_names=[[], ["Fz", "M1"]])
    )
    rec = read_eeg(source)
    assert rec["bad"].values.tolist() == [False, True, False]
    assert set(rec["event"].values) == {"", "all"}
    assert np.flatnonzero(rec["event_Fz"].values == "one").tolist() == list(range(200, 250))
    assert "event_Cz" not in rec.coords
    pandas = pytest.importorskip("pandas")
    epochs = mne.make_fixed_length_epochs(source, 1.0, preload=True, verbose="error")
    epochs.metadata = pandas.DataFrame(
        {"trial": range(5), "event": list("vwxyz"), "type": 1.5, "metadata_trial": 7}
    )
    rec = read_eeg(epochs)
    assert rec["trial"].values[::100].tolist() == [0, 1, 2, 3, 4]
    assert rec["metadata_event"].values[::100].tolist() == list("vwxyz")
    assert rec["metadata_metadata_trial"].values[::100].tolist() == [0, 1, 2, 3, 4]
    assert rec["metadata_trial"].values[0] == 7
    assert rec["metadata_type"].values[0] == 1.5


def test_channels_called_as_our_own_coordinates_are_kept_apart():
    info = mne.create_info(["Fz", "time", "x"], RATE, ["eeg", "stim", "stim"])
    rec = read_eeg(mne.io.RawArray(np.arange(300.0).reshape(3, 100), info, verbose="error"))
    np.testing.assert_array_equal(rec["time"], np.arange(100) / 100)
    np.testing.assert_array_equal(rec["channel_time"], np.arange(100, 200))
    np.testing.assert_array_equal(rec["channel_x"], np.arange(200, 300))


@pytest.mark.parametrize("kind", ["ave", "eve"])
def test_files_of_mne_that_are_no_recordings_are_named(tmp_path, kind):
    path = tmp_path / f"s-{kind}.fif"
    if kind == "ave":
        mne.EvokedArray(np.zeros((4, 9)), raw().info, verbose="error").save(path, verbose="error")
    else:
        mne.write_events(path, np.array([[1, 0, 1]]), verbose="error")
    with pytest.raises(NisslError, match=r"holds (averages|events), not a recording"):
        read_file(path)


@pytest.mark.parametrize("damage", ["circle", "negative", "flipped"])
def test_damaged_fif_is_refused_at_once(tmp_path, damage):
    path = tmp_path / ("s_raw.fif.gz" if damage == "flipped" else "s_raw.fif")
    raw().save(path, verbose="error")
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[-8] ^= 1  # of the checksum, as if a bit before it had turned
    elif damage == "circle":
        data[:16] = np.array([100, 31, 0, 0], ">i4").tobytes()
        data[16:32] = np.array([100, 31, 0, 16], ">i4").tobytes()
    else:
        data[8:12] = np.array([-16], ">i4").tobytes()
    path.write_bytes(bytes(data))
    with pytest.raises(NisslError, match="damaged"):
        read_file(path)


@pytest.mark.parametrize("part", [0.01, 0.2, 0.5, 0.999])
def test_truncated_files_are_refused(tmp_path, part):
    edf = write_edf(tmp_path / "s.edf", np.zeros((2, 500)))
    raw().save(tmp_path / "s_raw.fif", verbose="error")
    for path in (edf, tmp_path / "s_raw.fif"):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(NisslError, match="damaged, cut short"):
            read_file(path)


@pytest.mark.parametrize(
    ("unit", "measured_in", "factor"),
    [("nV", "V", 1e-9), ("C", "C", 1), ("µS", "S", 1e-6), ("%", "%", 1), ("", "V", 1e-6)],
)
def test_brainvision_channels_are_in_the_unit_that_is_said(tmp_path, unit, measured_in, factor):
    header = write_brainvision(tmp_path, np.ones((3, 200)))
    header.write_text(header.read_text("utf-8").replace("E1,,1,µV", f"1,,1,{unit}"), "utf-8")
    rec = read_file(header)
    np.testing.assert_allclose(rec[:, 1], factor, rtol=1e-6)
    assert rec["measured_in"].values.tolist() == ["V", measured_in, "V"]


def test_brainvision_of_another_codepage_and_other_numbers(tmp_path):
    header = write_brainvision(tmp_path, np.ones((3, 200)))
    (tmp_path / "s.eeg").rename(tmp_path / "Jürgen.eeg")
    text = header.read_text(encoding="utf-8").replace("DataFile=s", "DataFile=Jürgen")
    header.write_bytes(text.replace("Codepage=UTF-8\n", "").encode("latin-1"))
    np.testing.assert_allclose(read_file(header), 1e-6)
    header.write_text(text.replace("IEEE_FLOAT_32", "UINT_16"), encoding="utf-8")
    with pytest.raises(NisslError, match="UINT_16 are not read"):
        read_file(header)


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


@pytest.mark.parametrize("in_cache", [1, 200])
def test_records_are_read_a_few_at_a_time(tmp_path, monkeypatch, in_cache):
    monkeypatch.setattr(sys.modules["nissl.recording.readers.eeg"], "IN_CACHE", in_cache)
    write_edf(tmp_path / "a.edf", np.random.default_rng(0).integers(-99, 99, (2, 160)))
    raw = mne.io.read_raw_edf(tmp_path / "a.edf", verbose="error")
    for options, rows in (({}, slice(None)), ({"start": 0.5, "stop": 3.25}, slice(16, 104))):
        found = nissl.read(tmp_path / "a.edf", **options)
        assert np.array_equal(found.values, raw.get_data().T[rows])
        assert np.array_equal(found["time"], raw.times[rows])
