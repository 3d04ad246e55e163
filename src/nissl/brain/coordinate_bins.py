"""Bins of one or two sample coordinates: angles, lines and maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.recording import Recording, check
from nissl.recording.labels import coordinate, is_words, word_codes
from nissl.recording.preprocess import ENDS

__all__ = ["CoordinateBins", "apart", "coordinate_bins", "seconds_of"]

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class CoordinateBins:
    """Which bin every sample lies in.

    Parameters
    ----------
    to : tuple of str
        The coordinates, one or two.
    centres : tuple of arrays
        The centres of the bins along each.
    period : tuple of float
        The whole circle along each; 0 where it is none.
    rows : array of int, shape (n_kept,)
        Samples that have all coordinates.
    code : array of int, shape (n_kept,)
        Their bins, counted along the last coordinate first.

    Examples
    --------
    >>> CoordinateBins(("x",), (np.arange(3.0),), (0.0,), np.arange(2), np.zeros(2, int)).n_bins
    3
    """

    to: tuple[str, ...]
    centres: tuple[Array, ...]
    period: tuple[float, ...]
    rows: NDArray[np.int64]
    code: NDArray[np.int64]

    @property
    def n_bins(self) -> int:
        """How many bins there are in all."""
        return int(np.prod([len(c) for c in self.centres]))

    def smoothed(self, sums: Array, sd: float) -> Array:
        """Spread sums over bins by a Gaussian that keeps their total, around a circle.

        Parameters
        ----------
        sums : array, shape (n_bins, n)
            What was summed in each bin.
        sd : float
            Standard deviation in the coordinates' unit; 0 leaves them as they are.

        Returns
        -------
        array, shape (n_bins, n)
            The spread sums.
        """
        if not sd:
            return sums
        grid: Any = sums.reshape(*map(len, self.centres), -1)
        for axis, (c, p) in enumerate(zip(self.centres, self.period, strict=True)):
            weight = np.exp(-0.5 * (apart(c[:, None], c, p) / sd) ** 2)
            weight /= weight.sum(axis=0)
            grid = np.moveaxis(np.tensordot(weight, grid, (1, axis)), 0, axis)
        return np.asarray(grid.reshape(sums.shape))


def apart(a: Any, b: Any, period: float) -> Array:
    """Return a - b, the shorter way around where there is a circle.

    Parameters
    ----------
    a, b : array
        Values of a coordinate.
    period : float
        The whole circle; 0 for a line.

    Returns
    -------
    array
        Differences; around a circle from minus a half of it to a half.

    Examples
    --------
    >>> apart([350.0, 20.0], [10.0, 10.0], 360).tolist()
    [-20.0, 10.0]
    """
    difference = np.asarray(a, float) - np.asarray(b, float)
    return np.asarray((difference + period / 2) % period - period / 2 if period else difference)


def coordinate_bins(
    rec: Recording, to: str | Sequence[str], n_bins: int | None, period: float | None
) -> CoordinateBins:
    """Put samples into bins of one or two coordinates.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The recording; its values are not read.
    to : str, or pair of str
        The coordinates.
    n_bins : int, optional
        Bins along each: 36 of one, 20 of two. Fewer values, each had twice on average, have a bin
        each.
    period : float, optional
        The whole circle, where the coordinate has no attribute ``period``; 0 for a line.

    Returns
    -------
    CoordinateBins
        Of the samples that have all coordinates.

    Raises
    ------
    UnknownName
        There is no such coordinate.
    NisslError
        Words, more than two coordinates, too few bins, or no sample has a coordinate.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.zeros((4, 1)), samples={"angle": [0.0, 350.0, -10.0, np.nan]})
    >>> coordinate_bins(rec, "angle", 4, 360).code.tolist()
    [0, 3, 3]
    """
    names = (to,) if isinstance(to, str) else tuple(to)
    n = n_bins if n_bins is not None else 36 if len(names) == 1 else 20
    if not 1 <= len(names) <= 2 or n < 2:
        raise NisslError(
            f"{len(names)} coordinates in {n} bins each make no tuning curve",
            do="give one coordinate, or a pair of them, and at least two bins",
        )
    columns = [coordinate(rec, name) for name in names]
    for name, column in zip(names, columns, strict=True):
        if is_words(column):
            raise NisslError(
                f"'{name}' holds words",
                where=name,
                do="give numbers; labels are tested by nissl.statistics.permutation_test",
            )
    has = np.all([np.isfinite(column) for column in columns], axis=0)
    if not has.any():
        raise NisslError("no sample has a value", where=", ".join(names), do="check the reader")
    code, centres, circles = np.zeros(has.sum(), np.int64), [], []
    for name, column in zip(names, columns, strict=True):
        stated = rec[name].attrs.get("period", 0.0) if period is None else period
        circle = float(stated)
        if not np.isfinite(circle) or circle < 0:
            raise NisslError(
                f"a circle of {stated}", where=name, do="give 2 pi, 360, or 0 for a line"
            )
        own, centre = _along(column[has].astype(float), n, circle)
        code = code * len(centre) + own
        centres.append(centre)
        circles.append(circle)
    return CoordinateBins(names, tuple(centres), tuple(circles), np.flatnonzero(has), code)


def seconds_of(rec: Recording) -> float:
    """Return the width of a bin of spikes in seconds, and refuse what is no count in time.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Quantity "spikes"; its attribute ``bin``, or else the distance of its times, is the width.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    NisslError
        The quantity is another, times do not increase inside a trial, run or interval, or nothing
        tells the width.

    Examples
    --------
    >>> from nissl.recording import bin_spikes
    >>> seconds_of(bin_spikes({"time": [0.1, 0.7], "unit": [1, 1]}, bin=0.5, start=0, stop=1))
    0.5
    """
    check(rec)
    if rec.attrs.get("quantity") != "spikes":
        raise NisslError(
            f"these are {rec.attrs.get('quantity')}, not counts of spikes",
            do="give what bin_spikes or a reader returns, or assign_attrs(quantity='spikes')",
        )
    width = rec.attrs.get("bin")
    if "time" in rec.coords:
        times = np.asarray(coordinate(rec, "time"), float)
        steps, same = np.diff(times), np.ones(len(times) - 1, bool)
        for name in ENDS:
            if name in rec.coords and rec[name].dims == ("sample",):
                column = word_codes(coordinate(rec, name))
                same &= column[1:] == column[:-1]
        bad = np.flatnonzero(~(steps > 0) & (same | ~np.isfinite(steps))) + 1
        if len(bad):
            raise NisslError(
                "the times do not increase",
                where=f"sample {bad[0]}",
                do="put samples in order: rec[np.argsort(rec['time'].values)]",
            )
        width = width or (float(np.median(steps)) if len(steps) else None)
    if not isinstance(width, (int, float)) or not width > 0:
        raise NisslError(
            "nothing says how long a bin is",
            do="rec.assign_attrs(bin=seconds), or a sample coordinate 'time' in seconds",
        )
    return float(width)


def _along(column: Array, n: int, period: float) -> tuple[NDArray[np.int64], Array]:
    """Return the bin of every value along one coordinate, and the centres."""
    column = column % period if period else column
    values, code = np.unique(column, return_inverse=True)
    if len(values) <= min(n, len(column) // 2):
        return code.ravel(), values
    low, width = (0.0, period) if period else (values[0], np.ptp(values))
    code = ((column - low) / width * n).astype(np.int64)
    return np.minimum(code, n - 1), low + (np.arange(n) + 0.5) * width / n
