"""Rates, smoothing, and what is taken out of a run before it is analysed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from nissl.errors import NisslError, first_line
from nissl.recording.free_memory import require_memory
from nissl.recording.labels import coordinate, is_words, word_codes
from nissl.recording.recording import Recording, check

__all__ = ["clean", "rates", "run_ends", "smooth"]

Array = np.ndarray[Any, Any]

#: Sample coordinates at whose changes a stretch ends, whatever the times say.
ENDS = ("subject", "session", "run", "block", "document", "interval", "trial", "epoch")


def rates(rec: Recording) -> Recording:
    """Turn spike counts into spikes a second.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Counts of quantity "spikes", with the width of a bin in seconds as its attribute ``bin``:
        what `bin_spikes` and the readers make.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        float64, quantity "activity", ``measured_in`` Hz.

    Raises
    ------
    NisslError
        They are no counts, or the width of a bin is not stated.

    Examples
    --------
    >>> from nissl.recording import bin_spikes
    >>> rec = bin_spikes({"time": [0.1, 0.2, 0.7], "unit": [1, 1, 1]}, bin=0.5, start=0, stop=1)
    >>> rates(rec).values.tolist()
    [[4.0], [2.0]]
    """
    check(rec)
    width = rec.attrs.get("bin")
    if rec.attrs.get("quantity") != "spikes" or not isinstance(width, (int, float)) or width <= 0:
        raise NisslError(
            f"these are {rec.attrs.get('quantity')} in bins of {width} s, not counts of spikes",
            do="give what bin_spikes returns, or assign_attrs(quantity='spikes', bin=seconds)",
        )
    found = rec.copy(data=np.asarray(rec.values, np.float64) / width)
    return check(found.assign_attrs(quantity="activity", measured_in="Hz"))


def smooth(rec: Recording, *, sd: float) -> Recording:
    """Smooth each unit along time with a Gaussian, inside each stretch of samples.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        With `time` in seconds.
    sd : float
        Standard deviation of the Gaussian, in seconds; it is cut off at four of them.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        Floats. A stretch ends where the times jump by more than half a step, or where ``trial``,
        ``interval``, ``run``, ``block``, ``epoch``, ``document``, ``session`` or ``subject``
        change; at its ends the values are mirrored. Not a number spreads as far as the Gaussian.

    Raises
    ------
    NisslError
        `sd` is not above zero, or the times do not tell how far samples are apart.
    UnknownName
        There is no coordinate ``time``.

    Source: `scipy.ndimage.gaussian_filter1d`.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.eye(5)[:, 2:3], samples={"time": np.arange(5) / 10})
    >>> smooth(rec, sd=0.05).values[:, 0].round(2).tolist()
    [0.0, 0.11, 0.79, 0.11, 0.0]
    """
    from scipy.ndimage import gaussian_filter1d

    check(rec)
    if not (np.isfinite(sd) and sd > 0):
        raise NisslError(f"a Gaussian of {sd} s cannot smooth", do="give sd= in seconds, above 0")
    step, starts = _stretches(rec)
    values = _floats(rec)
    for part in np.split(np.arange(len(values)), starts):
        rows = slice(part[0], part[-1] + 1)
        values[rows] = gaussian_filter1d(values[rows], sd / step, axis=0)
    return check(rec.copy(data=values))


def clean(
    rec: Recording,
    *,
    detrend: bool = False,
    standardise: bool = False,
    confounds: str | Sequence[str] = (),
    low: float | None = None,
    high: float | None = None,
    by: str | None = None,
) -> Recording:
    """Take trends, other frequencies and confounds out of every run.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The samples of a run in the order of time.
    detrend : bool
        Subtract each unit's straight line, its mean with it.
    standardise : bool
        Divide what is left of each unit by its standard deviation (of a sample), about its mean.
    confounds : str or sequence of str
        Sample coordinates (numbers) that are regressed out: motion, physiology, a mean signal.
    low, high : float, optional
        Ends of the band that is kept, in Hz: slower than `low` and faster than `high` are taken
        out, by a Butterworth filter of fifth order that runs both ways.
    by : str, optional
        The sample coordinate that tells runs apart; ``run`` or ``block`` where there is one, else
        all samples are one run.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        Floats. In this order: the trend, the band, the confounds (detrended and filtered alike,
        so that they bring nothing back), the standard deviation.

    Raises
    ------
    NisslError
        Values or confounds are not finite, a run that is filtered has a gap or is too short, a
        frequency lies beyond half the rate, or nilearn is not installed.
    UnknownName
        There is no such sample coordinate.

    Source: `nilearn.signal.clean`, called once a run; Lindquist et al. 2018 on the order.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> values = np.arange(6.0)[:, None] + [[0], [1], [0], [0], [1], [0]]
    >>> clean(as_recording(values), detrend=True).values.mean().round(9) == 0
    np.True_
    """
    check(rec)
    by = by or next((n for n in ("run", "block") if n in rec.coords), None)
    n = rec.sizes["sample"]
    run = np.zeros(n, int) if by is None else word_codes(coordinate(rec, by))
    names = [confounds] if isinstance(confounds, str) else list(confounds)
    columns = [coordinate(rec, name) for name in names]
    for name, column in zip(names, columns, strict=True):
        if is_words(column) or not np.isfinite(column.astype(np.float64)).all():
            raise NisslError(
                f"the confound '{name}' is not a finite number in every sample",
                where=name,
                do="fill it first: rec.assign_coords, or leave those samples out",
            )
    step = None
    if low is not None or high is not None:
        step, starts = _stretches(rec)
        if (
            not 0 <= (low or 0) < (np.inf if high is None else high)
            or max(low or 0, high or 0) >= 0.5 / step
        ):
            raise NisslError(
                f"the band from {low} to {high} Hz is none of samples {step:g} s apart",
                do=f"let low be below high, and both below {0.5 / step:g} Hz",
            )
        same = run[starts] == run[starts - 1]
        if same.any():
            raise NisslError(
                "a run that is filtered has a gap, or several trials",
                where=f"sample {starts[int(same.argmax())]}",
                do="filter before epochs are cut, or give by= a coordinate of what lies together",
            )
    try:
        from nilearn.signal import clean as clean_run
    except ImportError as error:
        raise NisslError(
            f"cleaning needs nilearn, which does not import: {error}",
            do="pip install 'nissl[brain]'",
        ) from error
    values = _floats(rec)
    if not np.isfinite(values).all():
        row, unit = np.argwhere(~np.isfinite(values))[0]
        raise NisslError(
            "some values are not finite",
            where=f"sample {row}, unit {rec['unit'].values[unit]}",
            do="leave those samples or units out with select",
        )
    regressors = np.stack(columns, axis=1).astype(np.float64) if columns else None
    for value in np.unique(run):
        rows = np.flatnonzero(run == value)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=DeprecationWarning)
                warnings.filterwarnings("ignore", category=FutureWarning)
                values[rows] = clean_run(
                    values[rows],
                    detrend=detrend,
                    standardize="zscore_sample" if standardise else None,
                    confounds=None if regressors is None else regressors[rows],
                    filter="butterworth" if step else False,
                    high_pass=low,
                    low_pass=high,
                    t_r=step,
                )
        except ValueError as error:
            raise NisslError(
                f"a run of {len(rows)} samples cannot be cleaned: {first_line(error)}",
                where="" if by is None else f"{by} {value}",
                do="give longer runs, or frequencies below half the rate",
            ) from error
    return check(rec.copy(data=values))


def run_ends(rec: Recording) -> Array:
    """Return whether a run ends between each sample and the next, whatever the times say.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Its values and times are not read.

    Returns
    -------
    array of bool, shape (n_samples - 1,)
        Whether ``subject``, ``session``, ``run``, ``trial`` or the like changes there.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> run_ends(as_recording(np.zeros((3, 1)), samples={"run": [0, 0, 1]})).tolist()
    [False, True]
    """
    ends = np.zeros(max(rec.sizes["sample"] - 1, 0), bool)
    for name in ENDS:
        if name in rec.coords and rec[name].dims == ("sample",):
            column = word_codes(coordinate(rec, name))
            ends |= column[1:] != column[:-1]
    return ends


def _floats(rec: Recording) -> Array:
    """Return a copy of the values, float32 where they are, else float64."""
    dtype = np.float32 if rec.dtype == np.float32 else np.float64
    n_bytes = rec.sizes["sample"] * rec.sizes["unit"] * np.dtype(dtype).itemsize
    require_memory(n_bytes, "the copy", do="take fewer units at a time")
    return np.array(rec.values, dtype=dtype, order="C")


def _stretches(rec: Recording) -> tuple[float, Array]:
    """Return the seconds between samples, and the first sample of every stretch but the first."""
    times = coordinate(rec, "time")
    if times.dtype.kind not in "fiu" or len(times) < 2:
        raise NisslError("'time' does not hold seconds of samples", where="time", do="give numbers")
    apart = np.diff(times.astype(np.float64))
    step = float(np.median(apart[apart > 0])) if (apart > 0).any() else np.nan
    if not np.isfinite(step):
        raise NisslError("the times do not increase", where="time", do="give times in seconds")
    ends = ~(np.abs(apart - step) <= step / 2) | run_ends(rec)
    return step, np.flatnonzero(ends) + 1
