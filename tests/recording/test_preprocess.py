"""Rates, smoothing and cleaning, against scipy and least squares."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfiltfilt

from nissl.errors import NisslError, UnknownName
from nissl.recording import as_recording, bin_spikes, clean, epochs, rates, smooth


def noise(n, n_units=3, **samples):
    values = np.random.default_rng(0).normal(size=(n, n_units))
    return as_recording(values, samples={"time": np.arange(n) / 10, **samples})


def test_rates_are_counts_by_the_width_of_a_bin():
    rec = bin_spikes({"time": [0.1, 0.2, 0.9], "unit": [1, 1, 2]}, bin=0.25, start=0.0, stop=1.0)
    hz = rates(rec)
    assert (hz.values == rec.values * 4).all()
    assert (hz.attrs["quantity"], hz.attrs["measured_in"]) == ("activity", "Hz")
    with pytest.raises(NisslError, match="not counts"):
        rates(hz)
    with pytest.raises(NisslError, match="not counts"):
        rates(noise(5))


def gap():
    times = np.r_[np.arange(20) / 10, 9 + np.arange(15) / 10]
    return noise(35).assign_coords(time=("sample", times)), [20]


def trials():
    return noise(30, trial=np.arange(30) // 10), [10, 20]


def words():
    return noise(30, run=["a"] * 12 + ["b"] * 18), [12]


def windows():
    return epochs(noise(40), [1.0, 1.2, 3.0], before=0.3, after=0.4), [8, 16]


def jitter():
    rec = noise(30)
    times = rec["time"].values + np.random.default_rng(1).uniform(-0.01, 0.01, 30)
    return rec.assign_coords(time=("sample", times)), []


@pytest.mark.parametrize("make", [gap, trials, words, windows, jitter])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_smoothing_is_that_of_scipy_in_each_stretch(make, dtype):
    rec, starts = make()
    rec = rec.astype(dtype)
    found = smooth(rec, sd=0.17)
    step = np.median(np.diff(rec["time"].values)[np.diff(rec["time"].values) > 0])
    parts = np.split(rec.values, starts)
    assert found.dtype == dtype
    assert (found.values == np.concatenate(
        [gaussian_filter1d(p, 0.17 / step, axis=0) for p in parts]
    )).all()  # fmt: skip
    assert found.coords.equals(rec.coords)


@pytest.mark.parametrize("sd", [0.0, -1.0, np.nan])
def test_a_gaussian_has_a_width(sd):
    with pytest.raises(NisslError, match="sd="):
        smooth(noise(5), sd=sd)


def test_smoothing_needs_times():
    with pytest.raises(UnknownName, match="time"):
        smooth(as_recording(np.eye(3)), sd=1.0)
    with pytest.raises(NisslError, match="do not increase"):
        smooth(as_recording(np.eye(3), samples={"time": [1.0, 1.0, 1.0]}), sd=1.0)


@pytest.mark.parametrize("by", ["run", "block", "half"])
def test_cleaning_is_least_squares_in_each_run(by):
    pytest.importorskip("nilearn")
    run = np.repeat([1, 2], [40, 50])
    rng = np.random.default_rng(2)
    motion = rng.normal(size=90)
    rec = noise(90, motion=motion, **{by: run})
    rec = rec.copy(data=rec.values + 5 * motion[:, None] + np.arange(90)[:, None] * run[:, None])
    found = clean(
        rec, detrend=True, standardise=True, confounds="motion", by="half" if by == "half" else None
    )
    for value in (1, 2):
        here = run == value
        line = np.c_[np.ones(here.sum()), np.arange(here.sum()), motion[here]]
        left = rec.values[here] - line @ np.linalg.lstsq(line, rec.values[here], rcond=None)[0]
        np.testing.assert_allclose(found.values[here], left / left.std(axis=0, ddof=1), atol=1e-9)
    assert found.coords.equals(rec.coords)


def test_a_band_is_that_of_a_butterworth_filter():
    pytest.importorskip("nilearn")
    rec = noise(300, run=np.repeat([0, 1], 150))
    found = clean(rec, low=0.5, high=2.0)
    sos = butter(5, [0.5, 2.0], "band", fs=10.0, output="sos")
    for here in (slice(0, 150), slice(150, 300)):
        part = rec.values[here] - rec.values[here].mean(axis=0)
        theirs = sosfiltfilt(sos, part, axis=0)
        assert np.corrcoef(found.values[here][20:-20, 0], theirs[20:-20, 0])[0, 1] > 0.999


def test_nothing_asked_for_changes_nothing():
    pytest.importorskip("nilearn")
    rec = noise(20)
    assert (clean(rec).values == rec.values).all()


@pytest.mark.parametrize(
    ("rec", "options", "error", "words"),
    [
        (noise(20).where(np.arange(20)[:, None] > 0), {"detrend": True}, NisslError, "sample 0"),
        (gap()[0], {"high": 1.0}, NisslError, "has a gap"),
        (noise(60), {"high": 50.0}, NisslError, "below 5 Hz"),
        (noise(60), {"low": 2.0, "high": 1.0}, NisslError, "low be below high"),
        (noise(5), {"high": 1.0}, NisslError, "cannot be cleaned"),
        (noise(20, m=["a"] * 20), {"confounds": "m"}, NisslError, "confound 'm'"),
        (noise(20), {"confounds": "m"}, UnknownName, "m"),
        (noise(20), {"by": "m"}, UnknownName, "m"),
    ],
)
def test_what_cannot_be_cleaned_is_refused(rec, options, error, words):
    pytest.importorskip("nilearn")
    with pytest.raises(error, match=words):
        clean(rec, **options)
