"""Rasters: planted spikes lie in their column, rows end where trials end, and time is the order."""

import base64
import json
import re

import numpy as np
import pytest

from nissl.atlas.page.raster import rasters_of
from nissl.atlas.page.write import write_page
from nissl.atlas.raster import raster
from nissl.atlas.recording_atlas import recording_atlas
from nissl.recording import as_recording
from nissl.statistics import Test

BIN = 0.01


def trials(n=12, longest=100, *, late=False, latency=31, seed=0):
    """Spikes at one bin of every trial, and others at random; trials end early, 3 s apart."""
    rng = np.random.default_rng(seed)
    length = rng.integers(60, longest, n)
    length[0] = longest
    trial = np.repeat(np.arange(n), length)
    when = np.concatenate([np.arange(k) for k in length])
    spikes = np.stack([rng.poisson(0.01, len(when)), rng.poisson(0.01, len(when))], axis=1)
    spikes[when == latency, 0] = 3
    time = trial * 3.0 + when * BIN if not late else when * BIN - 0.2
    return as_recording(
        spikes,
        samples={"trial": trial, "time": time, "side": np.array(["l", "r"])[trial % 2]},
        quantity="spikes",
        attrs={"bin": BIN},
    )


def values(drawn, unit=0):
    """What was put in, from levels and range; NaN where there is nothing."""
    low, high = drawn.ranges[unit]
    levels = drawn.levels[unit].astype(float)
    return np.where(levels > 0, low + (levels - 1) / 254 * (high - low), np.nan)


def in_rows(rec, unit=0):
    """The same as a loop over trials of one sample a column."""
    trial = rec["trial"].values
    found = [rec.values[trial == t, unit] for t in dict.fromkeys(trial)]
    return [np.r_[row, np.full(max(map(len, found)) - len(row), np.nan)] for row in found]


def test_spikes_at_a_latency_lie_in_its_column_and_rows_end_with_their_trials():
    rec = trials()
    drawn = raster(rec)
    assert (drawn.rows, drawn.n, drawn.each, drawn.measure) == ("trial", 12, 1, "s")
    np.testing.assert_allclose(drawn.edges, np.arange(101) * BIN)
    np.testing.assert_array_equal(drawn.starts, np.arange(12))
    for unit in range(2):
        np.testing.assert_array_equal(values(drawn, unit), in_rows(rec, unit))
    assert np.nanargmax(drawn.mean[0]) == 31
    assert drawn.mean[0, 31] == 3
    assert np.isnan(drawn.mean[0, 99])  # of one trial
    there = np.isfinite(np.array(in_rows(rec))).sum(axis=0) >= 6
    np.testing.assert_array_equal(np.isfinite(drawn.mean[0]), there)


def test_the_order_is_time_whatever_the_order_of_samples():
    rec = trials()
    by_side = np.lexsort((rec["trial"].values, rec["side"].values))
    np.testing.assert_array_equal(raster(rec[by_side]).levels, raster(rec).levels)


def test_time_around_an_event_in_each_trial_is_told_from_there():
    drawn = raster(trials(late=True))
    assert drawn.edges[0] == pytest.approx(-0.2 - BIN / 2)
    at = np.nanargmax(drawn.mean[0])
    assert drawn.edges[at] < 0.11 < drawn.edges[at + 1]
    np.testing.assert_array_equal(drawn.levels, raster(trials()).levels)


def test_many_long_trials_share_rows_and_columns():
    rec = trials(n=90, longest=500)
    drawn = raster(rec)
    assert (drawn.n, drawn.each, drawn.levels.shape) == (90, 3, (2, 30, 125))
    assert drawn.starts.tolist() == list(range(0, 90, 3))
    assert np.nansum(values(drawn)) == rec.values[:, 0].sum()
    assert (values(drawn)[:, 31 // 4] >= 9).all()


def test_runs_that_number_their_trials_anew_have_trials_of_their_own():
    rec = trials()
    run = rec["trial"].values // 6
    again = rec.assign_coords(run=("sample", run), trial=("sample", rec["trial"].values % 6))
    drawn = raster(again)
    np.testing.assert_array_equal(drawn.levels, raster(rec).levels)
    assert drawn.starts.tolist() == list(range(1, 13))


def test_samples_between_trials_are_left_out():
    rec = trials()
    trial = rec["trial"].values.copy()
    trial[trial == 5] = -1
    for missing in (trial, np.where(trial < 0, np.nan, trial)):
        drawn = raster(rec.assign_coords(trial=("sample", missing)))
        np.testing.assert_array_equal(drawn.levels, np.delete(raster(rec).levels, 5, axis=1))


def test_two_trials_are_stretches_of_time():
    rec = trials(n=2)
    assert raster(rec).rows == ""
    one_each = trials().isel(sample=slice(None, None, 50))
    one_each = one_each.assign_coords(trial=("sample", np.arange(len(one_each))))
    assert raster(one_each).rows == ""


def test_a_continuous_recording_is_cut_into_equal_stretches_and_a_gap_stays_empty():
    rng = np.random.default_rng(1)
    time = np.r_[np.arange(4000), np.arange(5000, 12000)] * 0.1 + 60
    data = rng.standard_normal((len(time), 1)) + (time[:, None] > 700)
    drawn = raster(as_recording(data, samples={"time": time}))
    assert drawn.levels.shape == (1, 40, 150)
    assert (drawn.rows, drawn.measure, drawn.mean.shape) == ("", "s", (1, 0))
    np.testing.assert_allclose(drawn.starts, 60 + 30 * np.arange(40))
    whole = np.full(12000, np.nan)
    whole[np.rint((time - time[0]) * 10).astype(int)] = data[:, 0]
    expected = whole.reshape(40, 150, 2).mean(axis=2)
    step = np.ptp(drawn.ranges[0]) / 254
    np.testing.assert_allclose(values(drawn), expected, atol=0.51 * step)


@pytest.mark.parametrize(
    "time",
    [
        None,
        np.tile(np.arange(500.0), 2),
        np.r_[np.arange(999.0), np.nan],
        np.repeat(np.arange(500.0), 2),
        np.arange(1e3) + 1e6 * (np.arange(1e3) > 500),
        np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, 1000)),
    ],
)
def test_without_a_time_that_rises_evenly_samples_are_counted(time):
    samples = {} if time is None else {"time": time}
    drawn = raster(as_recording(np.arange(1000.0)[:, None], samples=samples))
    assert drawn.measure == "samples"
    assert drawn.levels.shape == (1, 16, 63)
    np.testing.assert_allclose(values(drawn).ravel()[:1000], np.arange(1000), atol=2)
    assert drawn.starts[1] == 63


def test_missing_values_are_no_silence():
    rec = trials()
    holes = rec.astype(float).copy()
    holes[rec["trial"] == 3, 0] = np.nan
    holes[:, 1] = np.inf
    drawn = raster(holes)
    assert not drawn.levels[0, 3].any()
    np.testing.assert_array_equal(np.delete(values(drawn), 3, 0), np.delete(in_rows(rec), 3, 0))
    assert not drawn.levels[1].any()
    assert np.isnan(drawn.ranges[1]).all()
    assert np.isnan(drawn.mean[1]).all()


def test_many_spikes_or_expected_ones_are_drawn_between_their_ends():
    rec = as_recording(np.arange(900.0)[:, None] * [1, 0.001], quantity="spikes")
    drawn = raster(rec)
    np.testing.assert_allclose(drawn.ranges, [[0, 899], [0, 0.899]], rtol=1e-6)


def test_one_sample_makes_none_and_too_many_units_are_refused_in_words():
    assert raster(as_recording(np.ones((1, 2)))) == "one sample makes no row"
    assert raster(as_recording(np.ones((2, 2)))).levels.shape == (2, 1, 2)
    said = raster(trials(), most=2399)
    assert said == "12 rows of 100 columns for 2 units would take 0.0024 MB, more than 0.0024"
    assert not isinstance(raster(trials(), most=2400), str)


def test_units_are_read_in_batches(monkeypatch):
    rec = trials()
    whole = raster(rec)
    monkeypatch.setattr("nissl.atlas.raster.AT_ONCE", 1)
    drawn = raster(rec)
    np.testing.assert_array_equal(drawn.levels, whole.levels)
    np.testing.assert_array_equal(drawn.mean, whole.mean)


def test_the_page_holds_it_and_an_atlas_says_why_it_has_none(tmp_path, monkeypatch):
    rec = trials()
    about = recording_atlas(rec, tmp_path, test=Test(n_permutations=19), progress=False)
    assert about["raster"] == {"rows": "trial", "n": 12, "each": 1, "measure": "s"}
    page = write_page(tmp_path).read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert "Nothing was permuted" in data["against"]["raster"]
    (card,) = [c for c in data["cards"] if c["row"] == 0]
    drawn = card["raster"]
    cells = np.frombuffer(base64.b64decode(drawn["cells"]), np.uint8)
    np.testing.assert_array_equal(cells.reshape(12, 100), raster(rec).levels[0])
    assert (drawn["counts"], drawn["what"], drawn["rate"]) == (True, "spikes", "Hz")
    assert drawn["mean"][31] == 300
    assert drawn["ends"] == [0, 1]
    monkeypatch.setattr("nissl.atlas.raster.raster.__kwdefaults__", {"most": 1})
    about = recording_atlas(rec, tmp_path, test=Test(n_permutations=19), progress=False)
    assert "0.0024 MB, more than 1e-06" in about["raster"]["left_out"]
    assert rasters_of(tmp_path, [0]) == {}
    assert "would take 0.0024 MB" in write_page(tmp_path).read_text()
