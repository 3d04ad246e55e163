"""EEGLAB files written by scipy as pop_saveset lays them out; MNE is the judge of the values."""

import warnings

import numpy as np
import pytest
import scipy.io

from nissl.errors import NisslError
from nissl.recording.readers import read_eeg, read_file

mne = pytest.importorskip("mne")

RATE = 100.0
#: Kept as EEGLAB does by default, as before 2020, and with the numbers apart.
FORMS = ["fields", "struct", "fdt"]


def structs(**fields):
    rows = len(next(iter(fields.values())))
    made = np.empty((1, rows), dtype=[(name, object) for name in fields])
    for name, column in fields.items():
        for i, cell in enumerate(column):
            made[0, i][name] = cell
    return made


def write(path, form="fields", trials=1, events=(), types=("EEG", "EOG"), stated=()):
    """Write 200 points of two channels; `events` are type, latency (from 1) and duration."""
    data = np.random.default_rng(0).normal(size=(2, 200, trials)) * 50
    empty = np.empty((0, 0))
    eeg = {
        "setname": "s", "nbchan": 2.0, "trials": float(trials), "pnts": 200.0, "srate": RATE,
        "xmin": -0.5 if trials > 1 else 0.0, "xmax": 1.49 if trials > 1 else 1.99,
        "data": data if trials > 1 else data[:, :, 0], "epoch": empty,
        "chanlocs": structs(labels=["Fz", "B"], type=list(types), X=[0.085, empty], Y=[0.0, empty],
                            Z=[0.04, empty]),
        "event": empty,
    }  # fmt: skip
    if events:
        kinds, latency, duration = zip(*events, strict=True)
        duration = [empty if d is None else float(d) for d in duration]
        eeg["event"] = structs(type=kinds, latency=latency, duration=duration)
        if trials > 1:
            eeg["epoch"] = structs(event=range(1, trials + 1), eventtype=kinds)
    if form == "fdt":
        path.with_suffix(".fdt").write_bytes(data.astype("<f4").tobytes("F"))
        eeg["data"] = path.with_suffix(".fdt").name
    eeg |= dict(stated)
    scipy.io.savemat(path, eeg if form == "fields" else {"EEG": eeg}, appendmat=False)
    return path, data if form != "fdt" else data.astype("<f4").astype(float)


@pytest.mark.parametrize("form", FORMS)
def test_continuous_files_are_what_mne_says_at_full_precision(tmp_path, form):
    path, data = write(tmp_path / "s.set", form, events=[("go", 51.0, 20.0), ("stop", 101.0, None)])
    rec = read_file(path)
    raw = mne.io.read_raw_eeglab(path, preload=True, verbose="error")
    np.testing.assert_array_equal(rec.values, raw.get_data().T)
    np.testing.assert_allclose(rec.values, data[:, :, 0].T * 1e-6, rtol=1e-14)
    assert rec["unit"].values.tolist() == ["Fz", "B"]
    assert rec["type"].values.tolist() == ["eeg", "eog"]
    assert rec["measured_in"].values.tolist() == ["V", "V"]
    expected = [""] * 200
    expected[50:70], expected[100] = ["go"] * 20, "stop"
    assert rec["event"].values.tolist() == expected
    np.testing.assert_allclose(rec["time"], np.arange(200) / RATE)
    assert np.isfinite(rec["x"].values).tolist() == [True, False]


@pytest.mark.parametrize("form", FORMS)
def test_epochs_become_trials(tmp_path, form):
    kinds = [("left", 51.0, 0), ("right", 251.0, 0), ("left", 451.0, 0)]
    path, data = write(tmp_path / "s.set", form, trials=3, events=kinds)
    rec = read_file(path)
    epochs = mne.read_epochs_eeglab(path, verbose="error")
    np.testing.assert_array_equal(rec.values, np.concatenate(epochs.get_data(copy=False), axis=1).T)
    np.testing.assert_allclose(rec.values[200:400], data[:, :, 1].T * 1e-6, rtol=1e-14)
    assert rec["event"].values[::200].tolist() == ["left", "right", "left"]
    assert rec["trial"].values[::200].tolist() == [0, 1, 2]
    np.testing.assert_allclose(rec["time"].values[200:400], np.arange(200) / RATE - 0.5)


def test_boundaries_are_gaps_in_time(tmp_path):
    """Ten seconds were cut out between samples 99 and 100, half a second before sample 150."""
    events = [("boundary", 0.5, 300.0), ("go", 91.0, 20.0), ("boundary", 100.5, 1000.0)]
    events += [("stop", 101.0, 0.0), ("boundary", 150.5, 50.0)]
    rec = read_file(write(tmp_path / "s.set", events=events)[0])
    expected = np.arange(200) / RATE
    expected[100:] += 10
    expected[150:] += 0.5
    np.testing.assert_allclose(rec["time"], expected)
    go = ["go"] * 10 + ["stop"] + ["go"] * 9  # the samples that MNE would label
    assert rec["event"].values[88:112].tolist() == ["", "", *go, "", ""]
    assert set(rec["event"].values[112:]) == {""}
    inside = read_eeg(tmp_path / "s.set", start=10.5, stop=12.0)
    np.testing.assert_allclose(inside["time"], expected[(expected > 10.4) & (expected < 12.0)])


@pytest.mark.parametrize("duration", [None, 0.0, np.nan])
def test_boundaries_without_a_length_are_said(tmp_path, duration):
    path, _ = write(tmp_path / "s.set", events=[("boundary", 100.5, duration), ("go", 150.0, 0.0)])
    with pytest.warns(UserWarning, match="1 boundaries do not say how much"):
        rec = read_file(path)
    steps = np.diff(rec["time"].values)
    assert np.flatnonzero(steps > 1.5 / RATE).tolist() == [99]
    assert np.flatnonzero(rec["event"].values == "go").tolist() == [149]
    assert np.flatnonzero(rec["event"].values == "boundary").tolist() == [100]


def test_what_is_no_voltage_keeps_the_number_of_the_file(tmp_path):
    data = np.stack([np.arange(200) % 3, np.full(200, 36.6)])
    for types, other in ((("STIM", "EEG"), None), (("EEG", "MISC"), "")):
        path, _ = write(tmp_path / "s.set", types=types, stated={"data": data})
        rec = read_file(path)
        if other is None:
            np.testing.assert_array_equal(rec["Fz"].values, data[0])
        else:
            np.testing.assert_allclose(rec.values[:, 1], 36.6, rtol=1e-12)
            assert rec["measured_in"].values.tolist() == ["V", ""]


@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", [{"pnts": 1e9}, {"pnts": 199.0}, {"trials": 7.0}, {"nbchan": 0}])
def test_other_sizes_than_stated_are_refused(tmp_path, form, trials, change):
    path, _ = write(tmp_path / "s.set", form, trials=trials, stated=change)
    with pytest.raises(NisslError, match=r"it states|numbers need"):
        read_file(path)


def test_numbers_that_are_not_beside_are_refused(tmp_path):
    path, _ = write(tmp_path / "s.set", "fdt")
    (tmp_path / "s.fdt").rename(tmp_path / "t.fdt")
    with pytest.raises(NisslError, match=r"'s\.fdt', which is not beside it"):
        read_file(path)
    (tmp_path / "in").mkdir()
    path, _ = write(tmp_path / "in" / "s.set", "fdt", stated={"data": "../t.fdt"})
    with pytest.raises(NisslError, match="which is not beside it"):
        read_file(path)


def test_other_versions_and_studies_are_named(tmp_path):
    path = tmp_path / "s.set"
    path.write_bytes(b"MATLAB 7.3".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(NisslError, match=r"MATLAB 7\.3, which is not read") as caught:
        read_file(path)
    assert "'version', '6'" in caught.value.do
    scipy.io.savemat(path, {"ALLEEG": np.zeros((1, 1))}, appendmat=False)
    with pytest.raises(NisslError, match="no EEG of EEGLAB, but ALLEEG"):
        read_file(path)


def test_a_file_without_events_says_nothing_of_them(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rec = read_file(write(tmp_path / "s.set", types=("EEG", "EEG"))[0])
    assert "event" not in rec.coords
