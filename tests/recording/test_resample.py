"""Resampling, against sines whose values at every time are known."""

import numpy as np
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.recording import as_recording, concat, resample


def sine(hz, rate, seconds=100.0, jitter=0.0, **samples):
    time = np.arange(0, seconds, 1 / rate)
    time = time + jitter / rate * np.random.default_rng(0).uniform(-1, 1, len(time))
    return as_recording(np.sin(2 * np.pi * hz * time)[:, None], samples={"time": time, **samples})


def spectrum(rec):
    """Return frequency and amplitude of the strongest component."""
    rate, x = rec.attrs["sampling_rate"], rec.values[:, 0]
    size = 2 * np.abs(np.fft.rfft(x - x.mean())) / len(x)
    return np.argmax(size) * rate / len(x), size.max()


@pytest.mark.parametrize(("old", "jitter"), [(2.0, 0), (7.3, 0), (30.0, 0.3), (3.0, 0.2)])
def test_a_sine_keeps_its_frequency_and_size(old, jitter):
    made = resample(sine(0.1, old, jitter=jitter), rate=3)
    assert np.allclose(np.diff(made["time"]), 1 / 3)
    frequency, size = spectrum(made)
    assert frequency == pytest.approx(0.1, abs=0.006)
    assert size == pytest.approx(1, abs=0.07)


def test_what_is_faster_than_half_the_rate_does_not_come_back_slow():
    folded = sine(3.1, 30.0)
    assert spectrum(resample(folded, rate=3))[1] < 0.02
    assert spectrum(folded[::10].assign_attrs(sampling_rate=3.0))[1] > 0.9


def test_the_same_rate_is_the_identity_and_twice_it_are_lines():
    rec = sine(0.2, 4.0)
    assert np.allclose(resample(rec, rate=4).values, rec.values)
    double = resample(rec, rate=8).values[:, 0]
    assert np.allclose(double[1::2], (rec.values[1:, 0] + rec.values[:-1, 0]) / 2)


def test_lines_stay_lines_where_samples_become_fewer():
    time = np.sort(np.random.default_rng(1).uniform(0, 50, 900))
    made = resample(as_recording(time[:, None] * 2 + 1, samples={"time": time}), rate=2.0, gap=1)
    inside = made.values[1:-1, 0]
    assert np.allclose(inside, 2 * made["time"].values[1:-1] + 1)


def test_gaps_stay_gaps_and_one_missing_sample_is_bridged():
    values = np.tile(np.arange(40.0)[:, None], 3)
    values[10, 0] = values[20:25, 1] = np.nan
    values[30:35] = np.nan
    rec = as_recording(values, samples={"time": np.arange(40) / 10, "label": ["a", "b"] * 20})
    made = resample(rec, rate=10)
    assert made["time"].values.tolist() == pytest.approx(
        np.delete(np.arange(40) / 10, range(30, 35))
    )
    want = np.delete(values, range(30, 35), axis=0)
    want[10, 0] = 10
    assert np.array_equal(np.isnan(made.values), np.isnan(want))
    assert np.allclose(made.values, want, equal_nan=True)
    assert made["label"].values[:4].tolist() == ["a", "b", "a", "b"]
    # Frames that are not there at all are a gap, too.
    assert np.allclose(
        resample(rec[np.isfinite(values[:, 2])], rate=10).values, want, equal_nan=True
    )
    assert np.isfinite(resample(rec, rate=10, gap=1).values).all()


def test_runs_are_kept_apart():
    two = concat(
        [sine(0.1, 5, 20, run=np.zeros(100, int)), sine(0.1, 8, 20, run=np.ones(160, int))]
    )
    made = resample(two, rate=4)
    assert made["run"].values.tolist() == [0] * 80 + [1] * 80
    for run, rate in ((0, 5), (1, 8)):
        alone = resample(sine(0.1, rate, 20), rate=4).values
        # The distance that is bridged is of both; elsewhere it makes no difference.
        assert np.allclose(made.values[made["run"].values == run], alone)


def test_attributes_and_float32_and_read_only():
    rec = sine(0.1, 5).astype(np.float32).assign_attrs(quantity="calcium", bin=0.2)
    rec.values.flags.writeable = False
    made = resample(rec, rate=2)
    assert made.attrs == {"quantity": "calcium", "sampling_rate": 2.0}


def test_what_cannot_be_resampled():
    rec = sine(0.1, 5)
    for rate in (0, -1, np.nan):
        with pytest.raises(NisslError, match="above zero"):
            resample(rec, rate=rate)
    with pytest.raises(NisslError, match="GB"):
        resample(rec, rate=1e12)
    with pytest.raises(NisslError, match="bin the spikes"):
        resample(rec.assign_attrs(quantity="spikes"), rate=1)
    with pytest.raises(NisslError, match="do not increase"):
        resample(rec[::-1], rate=1)
    with pytest.raises(NisslError, match="do not increase"):
        resample(rec[:1], rate=1)
    with pytest.raises(NisslError, match="no unit has"):
        resample(rec * np.nan, rate=1)
    with pytest.raises(UnknownName, match="time"):
        resample(rec.drop_vars("time"), rate=1)
