"""Epochs: a continuous recording cut into trials round events."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording._times import reaching
from nissl.recording.free_memory import require_memory
from nissl.recording.labels import apart, as_column, as_variable, coordinate, is_words
from nissl.recording.recording import Recording, check

__all__ = ["epochs", "event_times"]

Array = np.ndarray[Any, Any]


def epochs(
    rec: Recording,
    events: Any,
    *,
    before: float,
    after: float,
    baseline: tuple[float | None, float | None] | None = None,
) -> Recording:
    """Cut a continuous recording into trials round events.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        With `time` in seconds, which increases. A lazy recording stays lazy without `baseline`.
    events : DataFrame, mapping, or array of shape (n_events,)
        Times of events in seconds, on the clock of `time`; of a table the column ``time``,
        ``onset`` or ``start``, and its other columns become sample coordinates.
    before, after : float
        Seconds from the event to the first and to the last sample, both of which are in; a
        negative `before` starts after the event.
    baseline : pair of float, optional
        Seconds from the event, both ends in (None: the first or last sample): the mean of each
        unit over this stretch of a trial is subtracted from the trial, in floats.

    Returns
    -------
    Recording, shape (n_kept * n_times, n_units)
        Trial after trial. ``trial`` is the row of the event, ``time`` the seconds from the sample
        nearest to it (of spikes: from the bin in which it lies). Windows may overlap. Other
        coordinates are kept; labels called as one of these become ``event_NAME``, and a ``trial``
        of `rec` becomes ``recording_trial``. Events without a time, and those whose window reaches
        beyond the recording or over a gap in it, are left out with a warning that counts them.

    Raises
    ------
    NisslError
        `time` does not increase, no event is left, or the window or baseline holds nothing.
    UnknownName
        The recording has no ``time``, or the table neither ``time`` nor ``onset``.

    Source: samples are chosen as in ``mne.Epochs`` of MNE-Python.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.arange(10.0)[:, None], samples={"time": np.arange(10) / 10})
    >>> cut = epochs(rec, {"time": [0.3, 0.6], "side": ["l", "r"]}, before=0.1, after=0.1)
    >>> cut.values[:, 0].tolist(), cut["side"].values.tolist()
    ([2.0, 3.0, 4.0, 5.0, 6.0, 7.0], ['l', 'l', 'l', 'r', 'r', 'r'])
    """
    check(rec)
    at, labels = event_times(events)
    rows, times, rate = _clock(rec)
    if not (np.isfinite([before, after]).all() and -before <= after):
        raise NisslError(
            f"a window from {-before} to {after} s holds nothing",
            do="give before= and after= in seconds; before counts backwards from the event",
        )
    steps = np.arange(round(-before * rate), round(after * rate) + 1)
    inside, centre = _nearest(rec, at, times, rate)
    window = centre[:, None] + steps
    inside &= (window[:, 0] >= 0) & (window[:, -1] < len(times))
    window = np.where(inside[:, None], window, 0)
    # Within half a sample of where it should be, all the way: there is no gap.
    off = np.abs(times[window] - times[window[:, :1]] - np.arange(len(steps)) / rate)
    whole = inside & (off < 0.5 / rate).all(axis=1)
    _say(np.isfinite(at), inside, whole, (times[0], times[-1]))
    window, trial = window[whole], np.flatnonzero(whole)
    places = rows[window.ravel()]
    if baseline is not None or rec.variable._in_memory:
        width = max(rec.dtype.itemsize, 0 if baseline is None else 8)
        require_memory(
            len(places) * rec.sizes["unit"] * width,
            f"cutting {len(trial):,} trials of {len(steps):,} samples",
            do="cut shorter windows, or fewer units",
        )
    own = {str(n) for n, c in rec.coords.items() if c.dims == ("sample",)} - {"time"}
    cut = rec.drop_vars("time").isel(sample=places)
    if "trial" in own:
        (free,) = apart({"trial": 0}, {*map(str, rec.coords)}, "recording")
        cut = cut.rename(trial=free)
        own = (own - {"trial"}) | {free}
    labels = apart(labels, {"trial", "time", *own, *map(str, cut.coords)}, "event")
    each = np.repeat(trial, len(steps))
    columns = {"trial": each, "time": np.tile(steps / rate, len(trial))}
    columns |= {name: column[each] for name, column in labels.items()}
    cut = cut.assign_coords({n: as_variable("sample", c) for n, c in columns.items()})
    if baseline is not None:
        cut = cut.copy(data=_from_baseline(cut, len(trial), steps / rate, baseline))
    return check(cut)


def event_times(events: Any) -> tuple[Array, dict[str, Array]]:
    """Return the times of the events, and the other columns."""
    labels: dict[str, Array] = {}
    if isinstance(events, Mapping) or hasattr(events, "columns"):
        known = [str(n) for n in events]
        clock = next((n for n in ("time", "onset", "start") if n in known), None)
        if clock is None:
            raise UnknownName("column of events", "time", known, do="give a column time or onset")
        labels = {str(n): as_column(events[n]) for n in events if n != clock}
        events = events[clock]
    at = as_column(events)
    if is_words(at) and at.ndim == 1 and not at.astype(bool).any():  # all are missing, or none is
        at = np.full(len(at), np.nan)
    if at.dtype.kind not in "fiu" or at.ndim != 1:
        raise NisslError(
            f"the times of events are {at.dtype} of shape {at.shape}",
            do="give one number of seconds for each event",
        )
    for name, column in labels.items():
        if column.shape != at.shape:
            raise NisslError(
                f"column '{name}' has shape {column.shape}, but there are {len(at)} events",
                do="give one value for each event",
            )
    return at.astype(np.float64), labels


def _clock(rec: Recording) -> tuple[Array, Array, float]:
    """Return the samples that have a time, their times, and how many there are a second."""
    times = coordinate(rec, "time")
    if is_words(times) or times.dtype.kind not in "fiu":
        raise NisslError(f"'time' holds {times.dtype}", where="time", do="give seconds, as numbers")
    times = times.astype(np.float64)
    rows = np.flatnonzero(np.isfinite(times))
    times = times[rows]
    steps = np.diff(times)
    if len(steps) == 0 or not (steps > 0).all():
        back = int(np.argmin(steps > 0)) + 1 if len(steps) else 0
        raise NisslError(
            "the times do not increase" if len(steps) else "fewer than two samples have a time",
            where=f"sample {rows[back]}" if len(rows) else "time",
            do="cut a continuous recording: one run, session or interval at a time",
        )
    step = float(np.median(steps))
    # What the file states is exact, where that is what the times show.
    for name, power in (("sampling_rate", 1), ("bin", -1), ("repetition_time", -1)):
        stated = rec.attrs.get(name)
        if isinstance(stated, (int, float)) and stated > 0:
            rate = float(stated) ** power
            if abs(rate * step - 1) < 1e-3:
                return rows, times, rate
    return rows, times, 1 / step


def _nearest(rec: Recording, at: Array, times: Array, rate: float) -> tuple[Array, Array]:
    """Return which events lie in the recording, and the sample nearest to each."""
    finite = np.where(np.isfinite(at), at, times[0])
    half = 0.5 / rate
    if "bin" in rec.attrs:  # times are middles of bins, and a bin has the events from its start on
        edges = np.append(reaching(times - half, step=2 * half), np.inf)
        found = np.searchsorted(edges, finite, side="right") - 1
    else:
        # As MNE rounds: half a sample goes to the even one.
        found = np.round((finite - times[0]) * rate).astype(np.int64)
    found = np.clip(found, 0, len(times) - 1)
    # Behind a gap, or where the clock jitters, samples are not where counting puts them.
    after = np.clip(np.searchsorted(times, finite), 1, len(times) - 1)
    near = np.where(finite - times[after - 1] <= times[after] - finite, after - 1, after)
    slack = half * (1 + 1e-6)
    found = np.where(np.abs(times[found] - finite) <= slack, found, near)
    return np.isfinite(at) & (np.abs(times[found] - finite) <= slack), found


def _say(timed: Array, inside: Array, whole: Array, ends: tuple[float, float]) -> None:
    """Warn of the events that are left out; refuse where none is left."""
    counts = {
        "have no time": int((~timed).sum()),
        f"lie too near the ends ({ends[0]:g} to {ends[1]:g} s), beyond them, or in a gap": int(
            (timed & ~inside).sum()
        ),
        "have a gap in their window": int((inside & ~whole).sum()),
    }
    why = ", ".join(f"{n} {words}" for words, n in counts.items() if n)
    if not whole.any():
        raise NisslError(
            f"of {len(whole)} events none is left" + (f": {why}" if why else ""),
            do="give times in seconds on the recording's clock, or a shorter window",
        )
    if why:
        n = int((~whole).sum())
        warnings.warn(f"{n} of {len(whole)} events are left out: {why}", stacklevel=3)


def _from_baseline(rec: Recording, n_trials: int, times: Array, baseline: Any) -> Array:
    if not (isinstance(baseline, Sequence) and len(baseline) == 2):
        raise NisslError("baseline= is no pair of seconds", do="baseline=(-0.2, 0)")
    first, last = baseline
    # A nanosecond forgives what 0.1 and 1 / 10 differ by.
    here = times >= (-np.inf if first is None else first - 1e-9)
    here &= times <= (np.inf if last is None else last + 1e-9)
    if not here.any():
        raise NisslError(
            f"no sample lies in the baseline from {first} to {last} s",
            do=f"the window goes from {times[0]:g} to {times[-1]:g} s",
        )
    dtype = np.result_type(rec.dtype, np.float32) if rec.dtype.kind == "f" else np.float64
    values = np.asarray(rec.values, dtype).reshape(n_trials, len(times), -1)
    # Summed along time as MNE does, so that the last bit is the same.
    part = slice(int(here.argmax()), int(here.argmax() + here.sum()))
    mean = np.ascontiguousarray(values.transpose(0, 2, 1))[..., part].mean(axis=-1)
    return np.asarray(values - mean[:, None]).reshape(rec.shape)
