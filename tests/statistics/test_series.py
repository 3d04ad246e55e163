"""Series: runs, windows and parts of a recording, and series moved against each other, by loops."""

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.progress import tracked
from nissl.recording import as_recording
from nissl.recording.align import rows_of
from nissl.statistics import CircularShift, NotExchangeable, PermutedLabels, PhaseRandomised, Test
from nissl.statistics.series import (
    bin_seconds,
    centred,
    gapless_windows,
    labels_in_time,
    lagged_counts,
    moved_series,
    null_of_series,
    parts_of,
    require_movable,
    window_starts,
)

RUN = np.repeat([0, 1, 2], [10, 7, 3])


def test_windows_and_means_stay_inside_runs():
    x = np.random.default_rng(0).standard_normal((20, 2)) + RUN[:, None]
    left = centred(x, RUN)
    for run in range(3):
        np.testing.assert_allclose(left[run == RUN], x[run == RUN] - x[run == RUN].mean(axis=0))
    slow = [
        s for s in range(17) if RUN[s] == RUN[s + 3] and (s - np.argmax(RUN[s] == RUN)) % 2 == 0
    ]
    assert window_starts(RUN, 4, 2).tolist() == slow
    parts, about = parts_of(x, RUN, None, window=4, step=2)
    assert [part[0] for part in parts] == slow
    assert about["run"].tolist() == RUN[slow].tolist()
    with pytest.raises(NisslError, match="no run holds"):
        parts_of(x, RUN, None, window=11)


def test_counts_at_delays_are_those_of_a_loop():
    counts = np.random.default_rng(1).poisson(0.3, (20, 3))
    at, unit = (np.repeat(i, counts[counts > 0]) for i in np.nonzero(counts))
    found = lagged_counts(at, unit, RUN, 3, 4).toarray().reshape(20, 3, 4)
    for t, u, d in np.ndindex(20, 3, 4):
        inside = t + d < 20 and RUN[t] == RUN[min(t + d, 19)]
        assert found[t, u, d] == (counts[t + d, u] if inside else 0)


def test_units_are_moved_each_by_itself_in_any_batches():
    x = np.random.default_rng(2).standard_normal((40, 3))
    run = np.repeat([0, 1], 20)
    for null in (CircularShift(), PermutedLabels(), PhaseRandomised()):
        whole = list(moved_series(x, null, run, 5, seed=3))
        later = list(moved_series(x, null, run, 2, seed=3, start=3))
        np.testing.assert_array_equal(whole[3:], later)
        for series in whole:
            assert not np.allclose(series, x)
            if not isinstance(null, PhaseRandomised):
                for half in (slice(20), slice(20, 40)):
                    np.testing.assert_array_equal(
                        np.sort(series[half], axis=0), np.sort(x[half], axis=0)
                    )
    null, within, least = null_of_series(Test(), None, run)
    assert null.name.startswith("CircularShift")
    assert np.array_equal(within, run)
    assert least < 1e-2
    with pytest.raises(NotExchangeable):
        require_movable(x.cumsum(axis=0), PermutedLabels(), run)


def test_labels_of_trials_are_permuted_and_others_shifted():
    trial = np.repeat(np.arange(30), 4)
    rng = np.random.default_rng(4)
    rec = as_recording(rng.standard_normal((120, 2)), samples={"trial": trial})
    n, drawn, about = labels_in_time(rec, rng.integers(0, 3, 30)[trial], Test(19))
    assert (n, about["null"]) == (19, "PermutedLabels(exchange='trial')")
    assert all((row.reshape(30, 4) == row[::4, None]).all() for row in drawn())
    assert labels_in_time(rec.drop_vars("trial"), trial, None)[0] == 0
    moving = rng.integers(0, 3, 120)
    assert labels_in_time(rec, moving, Test(19))[2]["null"].startswith("CircularShift(within=")


def test_windows_of_bins_do_not_bridge_gaps():
    time = np.delete(np.arange(12) * 0.1, 6)
    rec = as_recording(np.ones((11, 1)), samples={"time": time}, quantity="spikes")
    assert bin_seconds(rec) == pytest.approx(0.1)
    k, starts, middle = gapless_windows(rec, 0.3, 0.1)
    assert (k, starts.tolist()) == (3, [0, 1, 2, 3, 6, 7, 8])
    assert middle[0] == pytest.approx(0.1)
    with pytest.raises(NisslError, match="no multiple"):
        gapless_windows(rec, 0.25, 0.1)


def test_rows_are_found_by_name_and_a_bar_changes_nothing(capsys):
    rec = as_recording(np.eye(3), samples={"stimulus": ["c", "a", "b"]})
    assert rows_of(rec, "stimulus", np.array(["a", "a", "c"])).tolist() == [1, 1, 0]
    with pytest.raises(NisslError, match="no features: d"):
        rows_of(rec, "stimulus", np.array(["a", "d"]))
    assert list(tracked(iter("ab"), "Reading", total=2)) == ["a", "b"]
    assert "Reading" in capsys.readouterr().err
