"""Resample: activity at another rate, with nothing made up where samples are missing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.free_memory import require_memory
from nissl.recording.labels import coordinate
from nissl.recording.preprocess import run_ends
from nissl.recording.recording import Recording, check

__all__ = ["resample"]

Array = np.ndarray[Any, Any]
#: A sample that is missing is bridged, two are not: this many median steps.
BRIDGED = 2.5
#: Attributes that tell how far samples were apart before.
RATES = ("bin", "repetition_time", "tr_s")


def resample(rec: Recording, *, rate: float, gap: float | None = None) -> Recording:
    """Bring every run to one rate, from its first sample on.

    Lines join neighbouring samples. Where samples become fewer, each is a mean of what lies around
    it, weighted by a triangle that ends at its neighbours, so that what is faster than half the new
    rate does not come back as something slow; a sine of a tenth of the rate keeps 0.97 of its size.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Activity with ``time`` in seconds, which need not be evenly spaced; what is missing is NaN.
    rate : float
        Samples a second.
    gap : float, optional
        Samples of a unit further apart than this, in seconds, are not joined; by default 2.5 times
        the median distance, so that one missing sample is bridged.

    Returns
    -------
    Recording, shape (n_new_samples, n_units)
        Floats; NaN in gaps, and no sample where every unit has one. Runs end where ``subject``,
        ``session``, ``run``, ``trial`` and the like change. Other sample coordinates are those of
        the old sample that is nearest in time.

    Raises
    ------
    NisslError
        The rate or the gap is not above zero, times do not increase within a run, nothing is
        finite, or the activity is spikes, which are binned anew instead.
    UnknownName
        There is no coordinate ``time``.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording([[0.0], [2.0], [4.0]], samples={"time": [0.0, 1.0, 2.0]})
    >>> resample(rec, rate=2).values[:, 0].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    check(rec)
    for name, value in (("rate", rate), ("gap", gap)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise NisslError(f"{name}={value} is not above zero", where=name, do="give a number")
    if rec.attrs.get("quantity") == "spikes":
        raise NisslError("counts of spikes cannot be resampled", do="bin the spikes: bin_spikes")
    time, ends = coordinate(rec, "time"), run_ends(rec)
    if time.dtype.kind not in "fiu" or not np.isfinite(time).all():
        raise NisslError("'time' does not hold seconds of samples", where="time", do="give numbers")
    time = time.astype(np.float64)
    apart = np.diff(time)[~ends]
    if not len(apart) or (apart <= 0).any():
        raise NisslError(
            "times do not increase within a run",
            where="time",
            do="sort the samples, or give a sample coordinate 'run' that tells runs apart",
        )
    step = float(np.median(apart))
    runs = np.split(np.arange(len(time)), np.flatnonzero(ends) + 1)
    lengths = [math.floor((time[run[-1]] - time[run[0]]) * rate + 1e-6) + 1 for run in runs]
    n_bytes = 8 * sum(lengths) * rec.sizes["unit"]
    require_memory(n_bytes, "the resampled values", do="give a lower rate, or fewer units")
    values = np.asarray(rec.values, np.float64)
    made, nearest, times = [], [], []
    for run, n in zip(runs, lengths, strict=True):
        at = time[run[0]] + np.arange(n) / rate
        made.append(_resampled(time[run], values[run], at, rate, step, gap or BRIDGED * step))
        nearest.append(run[_nearest(time[run], at)])
        times.append(at)
    found = np.concatenate(made)
    kept = np.isfinite(found).any(axis=1)
    if not kept.any():
        raise NisslError("no unit has a value", do="give activity that is finite somewhere")
    new = rec.isel(sample=np.concatenate(nearest)[kept]).copy(data=found[kept])
    new = new.assign_coords(time=("sample", np.concatenate(times)[kept], rec["time"].attrs))
    new.attrs = {name: v for name, v in rec.attrs.items() if name not in RATES}
    return check(new.assign_attrs(sampling_rate=float(rate)))


def _resampled(time: Array, x: Array, at: Array, rate: float, step: float, gap: float) -> Array:
    """Return a run at other times: lines on a grid as fine as the samples, then the triangle."""
    fine = max(1, math.ceil(1 / (rate * step) - 1e-6))
    places = np.arange(1 - fine, len(at) * fine)  # the triangle's sides reach beyond both ends
    grid = at[0] + places / (rate * fine)
    triangle = fine - np.abs(np.arange(1 - fine, fine))
    new = np.full((len(at), x.shape[1]), np.nan)
    for u, column in enumerate(x.T):
        there = np.isfinite(column)
        if not there.any():
            continue
        t = time[there]
        right = np.searchsorted(t, grid).clip(1, max(len(t) - 1, 1))
        known = np.abs(t[_nearest(t, grid)] - grid) <= 1e-6 * step
        if len(t) > 1:
            within = (grid >= t[0]) & (grid <= t[-1])
            known |= within & (t[right] - t[right - 1] <= gap * (1 + 1e-9))
        lines = np.where(known, np.interp(grid, t, column[there]), 0)
        weight = np.convolve(known, triangle, "valid")[::fine]
        total = np.convolve(lines, triangle, "valid")[::fine]
        np.divide(total, weight, out=new[:, u], where=2 * weight >= triangle.sum())
    return new


def _nearest(time: Array, at: Array) -> Array:
    """Return which of the times, in order, is nearest to each."""
    right = np.searchsorted(time, at).clip(0, len(time) - 1)
    left = (right - 1).clip(0)
    return np.asarray(np.where(at - time[left] <= time[right] - at, left, right))
