"""Trials cut round events: those of MNE, to the bit, and what may not be cut is counted."""

import warnings

import numpy as np
import pandas as pd
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.recording import as_recording, bin_spikes, epochs, open_store, save


def ramp(times, **samples):
    times = np.asarray(times, dtype=float)
    return as_recording(
        np.arange(len(times), dtype=float)[:, None], samples={"time": times, **samples}
    )


@pytest.mark.parametrize("rate", [100.0, 512 / 3, 1000.0, 29.97])
@pytest.mark.parametrize(("before", "after"), [(0.2, 0.5), (0.0, 0.31), (-0.1, 0.4), (0.137, 0.0)])
@pytest.mark.parametrize("baseline", [None, (None, None)])
def test_trials_are_those_of_mne_to_the_bit(rate, before, after, baseline):
    mne = pytest.importorskip("mne")
    from nissl.recording.readers import read_eeg

    rng = np.random.default_rng(0)
    raw = mne.io.RawArray(
        rng.normal(size=(3, 900)), mne.create_info(3, rate, "eeg"), verbose="error"
    )
    halfway = np.arange(20, 40) / rate + 0.5 / rate  # between two samples
    at = np.sort(np.r_[rng.uniform(0, 900 / rate, 20), halfway])
    samples = np.round(at * rate).astype(int)
    events = np.column_stack([samples, np.zeros_like(samples), np.arange(40)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = mne.Epochs(
            raw, events, tmin=-before, tmax=after, baseline=baseline, preload=True,
            event_repeated="error" if len(set(samples)) == 40 else "drop", verbose="error",
        )  # fmt: skip
        ours = epochs(read_eeg(raw), at, before=before, after=after, baseline=baseline)
    kept = np.isin(ours["trial"].values, theirs.events[:, 2])
    expected = theirs.get_data(verbose="error").transpose(0, 2, 1).reshape(-1, 3)
    assert (ours.values[kept] == expected).all()
    assert set(samples[ours["trial"].values]) == set(theirs.events[:, 0])
    times = ours["time"].values[: len(theirs.times)]
    assert (times == theirs.times).all()


def test_labels_and_units_are_kept_and_names_kept_apart():
    rec = as_recording(
        np.arange(20.0).reshape(10, 2),
        samples={"time": np.arange(10) / 10, "trial": np.arange(10) // 5, "side": ["x"] * 10},
        units={"region": ["V1", "IT"]},
        attrs={"source": "a"},
    )
    table = pd.DataFrame({"onset": [0.5], "side": ["l"], "trial": [7], "region": [2]})
    cut = epochs(rec, table, before=0.1, after=0.1)
    assert cut["trial"].values.tolist() == [0, 0, 0]
    assert cut["recording_trial"].values.tolist() == [0, 1, 1]
    assert cut["event_side"].values.tolist() == ["l"] * 3
    assert cut["event_trial"].values.tolist() == [7] * 3
    assert cut["event_region"].values.tolist() == [2] * 3
    assert cut["region"].values.tolist() == ["V1", "IT"]
    assert cut.attrs == rec.attrs
    assert cut.values.tolist() == rec.values[4:7].tolist()


def test_ends_gaps_and_missing_times_are_counted():
    times = np.r_[np.arange(100) / 10, 50 + np.arange(100) / 10]
    at = [0.0, 5.0, 9.9, 30.0, np.nan, 50.1, 55.0, 59.9, 900.0]
    with pytest.warns(UserWarning, match="7 of 9 .* 1 have no time, 4 lie .* 2 have a gap"):
        cut = epochs(ramp(times), at, before=0.2, after=0.2)
    assert cut["trial"].values[::5].tolist() == [1, 6]
    assert cut.values[:, 0].tolist() == [*range(48, 53), *range(148, 153)]


def test_overlapping_windows_and_any_order_of_events():
    cut = epochs(ramp(np.arange(10) / 10), [0.6, 0.4, 0.5], before=0.2, after=0.2)
    assert cut.values[:, 0].tolist() == [4, 5, 6, 7, 8, 2, 3, 4, 5, 6, 3, 4, 5, 6, 7]


def test_a_jittering_clock_has_the_nearest_samples():
    times = np.arange(200) / 100 + np.random.default_rng(0).uniform(-0.002, 0.002, 200)
    at = np.linspace(0.1, 1.9, 31)
    cut = epochs(ramp(times), at, before=0.0, after=0.0)
    assert cut.values[:, 0].tolist() == [np.abs(times - a).argmin() for a in at]


def test_an_event_lies_in_the_bin_that_begins_with_it():
    spikes = {"time": np.arange(20) / 10 + 0.01, "unit": np.arange(20) % 2}
    rec = bin_spikes(spikes, bin=0.1, start=0.0, stop=2.0)
    at = np.arange(1, 19) * 0.1
    cut = epochs(rec, at, before=0.0, after=0.0)
    assert (cut.values == rec.values[1:19]).all()


def test_samples_without_a_time_lie_in_no_window():
    times = np.arange(30) / 10
    times[15] = np.nan
    with pytest.warns(UserWarning, match="1 of 2 .* gap in their window"):
        cut = epochs(ramp(times), [0.5, 1.4], before=0.2, after=0.2)
    assert cut.values[:, 0].tolist() == [3, 4, 5, 6, 7]


def test_a_store_stays_lazy_and_gives_the_same(tmp_path):
    rec = ramp(np.arange(50) / 10, side=["l", "r"] * 25)
    save(rec, tmp_path / "s", progress=False)
    stored = open_store(tmp_path / "s")
    cut = epochs(stored, [3.0, 1.0, 1.1], before=0.2, after=0.2)
    assert not cut.variable._in_memory
    assert cut.load().identical(epochs(stored.load(), [3.0, 1.0, 1.1], before=0.2, after=0.2))


def test_baseline_of_integers():
    rec = as_recording(np.arange(10)[:, None] ** 2, samples={"time": np.arange(10) / 10})
    cut = epochs(rec, [0.5], before=0.2, after=0.1, baseline=(-0.2, -0.1))
    assert cut.values[:, 0].tolist() == [-3.5, 3.5, 12.5, 23.5]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"events": []}, NisslError, "none is left"),
        ({"events": [np.nan]}, NisslError, "1 have no time"),
        ({"events": ["a"]}, NisslError, "times of events"),
        ({"events": {"at": [1.0]}}, UnknownName, "time or onset"),
        ({"events": {"time": [0.5], "x": [1, 2]}}, NisslError, "1 events"),
        ({"before": -1.0, "after": 0.5}, NisslError, "holds nothing"),
        ({"baseline": (3, 4)}, NisslError, "no sample lies"),
        ({"baseline": 3}, NisslError, "no pair"),
        ({"rec": ramp([0.0, 0.1, 0.0, 0.1])}, NisslError, "do not increase"),
        ({"rec": ramp([0.0])}, NisslError, "fewer than two"),
        ({"rec": as_recording(np.eye(3))}, UnknownName, "time"),
    ],
)  # fmt: skip
def test_what_cannot_be_cut_is_refused(change, error, words):
    given = {"rec": ramp(np.arange(10) / 10), "events": [0.5], "before": 0.1, "after": 0.1} | change
    with pytest.raises(error, match=words):
        epochs(given.pop("rec"), given.pop("events"), **given)
