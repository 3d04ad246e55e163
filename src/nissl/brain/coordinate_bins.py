"""Bins of one or two sample coordinates, angles, lines and maps, and how long a bin of time is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.recording import Recording, check
from nissl.recording.labels import coordinate, is_words
from nissl.recording.preprocess import ENDS
from nissl.statistics.nulls import codes

__all__ = ["CoordinateBins", "apart", "coordinate_bins", "seconds_of", "stretches"]

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class CoordinateBins:
    """Which bin every sample lies in that has all coordinates."""

    to: tuple[str, ...]
    centres: tuple[Array, ...]  # along each coordinate
    period: tuple[float, ...]  # the whole circle; 0 where there is none
    rows: NDArray[np.int64]  # the samples, and the bin of each, the last coordinate counted first
    code: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """How many bins there are along each coordinate."""
        return tuple(map(len, self.centres))

    @property
    def n_bins(self) -> int:
        """How many bins there are in all."""
        return int(np.prod(self.shape))

    def smoothed(self, sums: Array, sd: float) -> Array:
        """Spread sums, shape (n_bins, n), by a Gaussian that keeps their total."""
        if not sd:
            return sums
        grid: Any = sums.reshape(*self.shape, -1)
        for axis, (c, p) in enumerate(zip(self.centres, self.period, strict=True)):
            weight = np.exp(-0.5 * (apart(c[:, None], c, p) / sd) ** 2)
            grid = np.moveaxis(np.tensordot(weight / weight.sum(axis=0), grid, (1, axis)), 0, axis)
        return np.asarray(grid.reshape(sums.shape))


def coordinate_bins(
    rec: Recording, to: str | Sequence[str], n_bins: int | None, period: float | None
) -> CoordinateBins:
    """Put samples into bins of one or two coordinates; `nissl.brain.tuning` says how."""
    names = (to,) if isinstance(to, str) else tuple(to)
    n = n_bins if n_bins is not None else 36 if len(names) == 1 else 20
    if not 1 <= len(names) <= 2 or n < 2 or n != int(n):
        raise NisslError(
            f"no tuning curve has {len(names)} coordinates in {n} bins each",
            do="give one coordinate, or a pair of them, and a whole number of bins, at least two",
        )
    columns, circles = [coordinate(rec, name) for name in names], []
    for name, column in zip(names, columns, strict=True):
        circles.append(float(rec[name].attrs.get("period", 0.0) if period is None else period))
        if is_words(column) or not 0 <= circles[-1] < np.inf:
            words = "holds words" if is_words(column) else f"is a circle of {circles[-1]:g}"
            raise NisslError(f"'{name}' {words}", do="give numbers, and 2 pi, 360 or 0 for a line")
    has = np.all([np.isfinite(column) for column in columns], axis=0)
    if not has.any():
        raise NisslError("no sample has a value", where=", ".join(names), do="check the reader")
    code, centres = np.zeros(has.sum(), np.int64), []
    for column, circle in zip(columns, circles, strict=True):
        own, centre = _along(column[has].astype(float), int(n), circle)
        code = code * len(centre) + own
        centres.append(centre)
    return CoordinateBins(names, tuple(centres), tuple(circles), np.flatnonzero(has), code)


def _along(column: Array, n: int, period: float) -> tuple[NDArray[np.int64], Array]:
    """Return the bin of every value along one coordinate, and the centres."""
    column = column % period if period else column
    values, code = np.unique(column, return_inverse=True)
    if len(values) <= max(1, min(n, len(column) // 2)):
        return code.ravel(), values
    low, width = (0.0, period) if period else (values[0], np.ptp(values))
    code = ((column - low) / width * n).astype(np.int64)
    return np.minimum(code, n - 1), low + (np.arange(n) + 0.5) * width / n


def apart(a: Any, b: Any, period: float) -> Array:
    """Return a - b, the shorter way around where there is a circle."""
    difference = np.asarray(a, float) - np.asarray(b, float)
    return np.asarray((difference + period / 2) % period - period / 2 if period else difference)


def stretches(rec: Recording) -> dict[str, NDArray[np.int64]]:
    """Return the sample coordinates that tell trials, runs and intervals apart, as codes."""
    there = [n for n in ENDS if n in rec.coords and rec[n].dims == ("sample",)]
    return {name: codes(coordinate(rec, name)) for name in there}


def seconds_of(rec: Recording) -> float:
    """Return the width of a bin of spikes in seconds, and refuse what is no count in time."""
    quantity = check(rec).attrs.get("quantity")
    if quantity != "spikes":
        raise NisslError(
            f"these are {quantity}, not counts of spikes",
            do="give what bin_spikes or a reader returns, or assign_attrs(quantity='spikes')",
        )
    width = rec.attrs.get("bin")
    if "time" in rec.coords:
        steps = np.diff(np.asarray(coordinate(rec, "time"), float))
        same = np.ones(len(steps), bool)  # another trial may begin before the last one ended
        for column in stretches(rec).values():
            same &= column[1:] == column[:-1]
        bad = np.flatnonzero(~(steps > 0) & (same | ~np.isfinite(steps))) + 1
        if len(bad):
            where = f"sample {bad[0]}"
            raise NisslError("the times do not increase", where=where, do="put samples in order")
        width = width or (float(np.median(steps)) if len(steps) else None)
    if not isinstance(width, (int, float)) or not width > 0:
        raise NisslError(
            "nothing says how long a bin is", do="rec.assign_attrs(bin=seconds), or give 'time'"
        )
    return float(width)
