"""Tuning curves: mean activity over bins of one or two coordinates, what they say, and the decoder.

Of spikes the mean is a rate, sums by seconds; of other activity a sample may count as one second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.statistics.design import column_of
from nissl.statistics.finding import Finding
from nissl.statistics.pvalues import against_null
from nissl.statistics.shift import CircularShift
from nissl.statistics.test import Test

__all__ = [
    "CoordinateBins",
    "apart",
    "coordinate_bins",
    "distance",
    "distance_by_chance",
    "information_per_spike",
    "mean_vector_length",
    "posterior",
    "window_means",
]

Array = NDArray[np.floating[Any]]
Codes = NDArray[np.int64]
WINDOWS = 8192  # whose posteriors are computed at a time


@dataclass(frozen=True)
class CoordinateBins:
    """Which bin every sample lies in that has all coordinates.

    Parameters
    ----------
    to : tuple of str
        What the coordinates are called.
    centres : tuple of array
        Of the bins along each coordinate.
    period : tuple of float
        The whole circle of each; 0 where there is none.
    rows, code : array, shape (n_samples,)
        The samples, and the bin of each, the last coordinate counted first.

    Examples
    --------
    >>> bins = coordinate_bins([[0, 90, 180, 270] * 2], ["direction"], period=[360])
    >>> rates, number = bins.curves(np.tile([[4.0], [0.0], [0.0], [0.0]], (2, 1)))
    >>> rates[:, 0].tolist(), bins.described(rates)["preferred"].tolist()
    ([4.0, 0.0, 0.0, 0.0], [0.0])
    """

    to: tuple[str, ...]
    centres: tuple[Array, ...]
    period: tuple[float, ...]
    rows: Codes
    code: Codes

    @property
    def shape(self) -> tuple[int, ...]:
        """How many bins there are along each coordinate."""
        return tuple(map(len, self.centres))

    @property
    def n_bins(self) -> int:
        """How many bins there are in all."""
        return int(np.prod(self.shape))

    @property
    def occupancy(self) -> Codes:
        """How many samples lie in each bin, shape (n_bins,)."""
        return np.bincount(self.code, minlength=self.n_bins)

    def smoothed(self, sums: Array, sd: float) -> Array:
        """Spread sums, shape (n_bins, n), by a Gaussian that keeps their total."""
        if not sd:
            return sums
        grid: Any = sums.reshape(*self.shape, -1)
        for axis, (c, p) in enumerate(zip(self.centres, self.period, strict=True)):
            weight = np.exp(-0.5 * (apart(c[:, None], c, p) / sd) ** 2)
            grid = np.moveaxis(np.tensordot(weight / weight.sum(axis=0), grid, (1, axis)), 0, axis)
        return np.asarray(grid.reshape(sums.shape))

    def curves(
        self,
        x: Array,
        code: Codes | None = None,
        *,
        seconds: float = 1.0,
        smooth: float = 0.0,
        least: float = 0.0,
    ) -> tuple[Array, Array]:
        """Return what units did in each bin by the time spent there, (n_bins, n_units), and that.

        Parameters
        ----------
        x : array, shape (n_samples, n_units)
            Activity of the samples that have a bin.
        code : array, shape (n_samples,), optional
            Other bins of the samples: of a null.
        seconds : float
            That a sample lasts.
        smooth : float
            Deviation of the Gaussian that smooths both.
        least : float
            Seconds; bins of less are NaN in both.

        Returns
        -------
        curves, spent : array, shape (n_bins, n_units) and (n_bins, 1)
            Rates, and seconds.
        """
        from scipy.sparse import csc_array

        n, code = len(x), self.code if code is None else code
        member = csc_array((np.ones(n), code, np.arange(n + 1)), (self.n_bins, n))
        spent = np.bincount(code, minlength=self.n_bins)[:, None] * seconds
        weight = np.where(spent >= least, self.smoothed(spent, smooth), np.nan)
        return self.smoothed(member @ x, smooth) / weight, weight

    def with_null(
        self, x: Array, drawn: Iterable[Codes], n: int, **options: Any
    ) -> tuple[Array, Array, Array]:
        """Return curves, bits per spike, and what `n` draws of the bins of samples make of both.

        Parameters
        ----------
        x : array, shape (n_samples, n_units)
            Counts of spikes.
        drawn : iterable of array, shape (n_samples,)
            Bins of the samples under the null.
        n : int
            How many.
        **options
            Of `curves`.

        Returns
        -------
        curves : array, shape (n_bins, n_units)
            Rates.
        bits : array, shape (1 + n, n_units)
            Of a spike; those of the curves first.
        null : array of float32, shape (n, n_bins, n_units)
            Curves of the draws.
        """
        seconds = options.get("seconds", 1.0)
        rates, spent = self.curves(x, **options)
        bits = np.tile(information_per_spike(rates, np.nan_to_num(spent / seconds)), (n + 1, 1))
        null = np.empty((n, *rates.shape), np.float32)
        for d, code in enumerate(drawn):
            moved, spent = self.curves(x, code, **options)
            null[d] = moved
            bits[d + 1] = information_per_spike(moved, np.nan_to_num(spent / seconds))
        # A draw may have put all spikes of a unit where too little time was spent.
        bits[1:] = np.where(np.isfinite(bits[0]), np.nan_to_num(bits[1:]), np.nan)
        return rates, bits, null

    def described(self, curves: Array) -> dict[str, Array]:
        """Return peak rate, preferred value, and how concentrated the curve of an angle is."""
        lowest = np.where(np.isfinite(curves), curves, -np.inf)
        peak, best = lowest.max(axis=0), lowest.argmax(axis=0)
        told = {"peak_rate": np.where(np.isfinite(peak), peak, np.nan)}
        places = np.unravel_index(best, self.shape)
        for name, centres, place in zip(self.to, self.centres, places, strict=True):
            column = "preferred" if len(self.to) == 1 else f"preferred_{name}"
            told[column] = np.where(peak > 0, centres[place], np.nan)
        if len(self.to) == 1 and self.period[0]:
            (centres,), (period,) = self.centres, self.period
            turn = np.exp(2j * np.pi * centres / period)
            angle = np.angle(np.nan_to_num(curves).T @ turn) % (2 * np.pi)
            told["preferred"] = np.where(peak > 0, angle * period / (2 * np.pi), np.nan)
            told["vector_length"] = mean_vector_length(curves, centres, period)
        return told


def coordinate_bins(
    columns: Sequence[ArrayLike],
    names: Sequence[str],
    *,
    n_bins: int | None = None,
    period: float | Sequence[float] = 0.0,
) -> CoordinateBins:
    """Put samples into bins of one or two coordinates.

    Parameters
    ----------
    columns : sequence of array, shape (n_samples,)
        One coordinate, or two; a sample without both is left out.
    names : sequence of str
        What they are called.
    n_bins : int, optional
        Bins along a coordinate: 36, and 20 each of two. A coordinate of fewer values that are had
        twice or more (directions of a grating) has a bin for each.
    period : float, or sequence of float
        The whole circle, or that of each; 0 for a line.

    Returns
    -------
    CoordinateBins
        Bins, and that of each sample.

    Raises
    ------
    NisslError
        There are more coordinates than two, fewer bins than two, words, or no numbers.

    Examples
    --------
    >>> coordinate_bins([[0.0, 1.0, np.nan, 3.0]], ["x"], n_bins=2).code.tolist()
    [0, 0, 1]
    """
    n = n_bins if n_bins is not None else 36 if len(names) == 1 else 20
    if not 1 <= len(names) <= 2 or n < 2 or n != int(n):
        raise NisslError(
            f"no tuning curve has {len(names)} coordinates in {n} bins each",
            do="give one coordinate, or a pair of them, and a whole number of bins, at least two",
        )
    circles = np.broadcast_to(np.asarray(period, float), len(names)).tolist()
    n_samples = len(np.asarray(columns[0]))
    given = [column_of(name, x, n_samples, None) for name, x in zip(names, columns, strict=True)]
    for name, column, circle in zip(names, given, circles, strict=True):
        numbers = column.dtype.kind in "fiub"
        if not numbers or not 0 <= circle < np.inf:
            said = f"is a circle of {circle:g}" if numbers else "holds words"
            raise NisslError(f"'{name}' {said}", do="give numbers, and 2 pi, 360 or 0 for a line")
    has = np.all([np.isfinite(column) for column in given], axis=0)
    if not has.any():
        raise NisslError("no sample has a value", where=", ".join(names), do="check the reader")
    code, centres = np.zeros(has.sum(), np.int64), []
    for column, circle in zip(given, circles, strict=True):
        own, centre = _along(column[has].astype(float), int(n), circle)
        code = code * len(centre) + own
        centres.append(centre)
    return CoordinateBins(tuple(names), tuple(centres), tuple(circles), np.flatnonzero(has), code)


def _along(column: Array, n: int, period: float) -> tuple[Codes, Array]:
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


def distance(a: Array, b: Array, period: Sequence[float]) -> Array:
    """Return how far places are from each other, shape (n, n_coordinates), around circles."""
    steps = [apart(a[:, i], b[:, i], p) for i, p in enumerate(period)]
    return np.asarray(np.linalg.norm(steps, axis=0))


def distance_by_chance(
    value: Array, truth: Array, period: Sequence[float], *, unit: str = "all", test: Test = Test()
) -> Finding | None:
    """Compare the median distance from true places with that from true places shifted in time.

    Parameters
    ----------
    value, truth : array, shape (n, n_coordinates)
        Decoded and true places in the order of time.
    period : sequence of float
        The whole circle of each coordinate, or 0.
    unit : str
        What the row is called.
    test : Test
        `CircularShift`, 1,000 draws, tail, seed.

    Returns
    -------
    Finding or None
        One row, ``median_error``; None of fewer than 20 places.

    Examples
    --------
    >>> x = np.random.default_rng(0).random((50, 1))
    >>> distance_by_chance(x, x, [0], test=Test(19)).table["p"].tolist()
    [0.05]
    """
    n = min(test.draws(1000), len(truth) - 1)
    if n < 19:
        return None
    null, same = test.null_or(CircularShift()), np.arange(len(truth))
    orders = [same, *(null.draw(same, 1, seed=test.seed, start=d)[0] for d in range(n))]
    medians = [np.median(distance(value, truth[order], period)) for order in orders]
    how: Any = {"score": "median_error", "method": "Bayesian decoder", "null": null.name}
    how |= {"units": [unit], "alternative": "less", "test": test, "least_p": 1 / len(truth)}
    return against_null(medians[:1], np.c_[medians[1:]], **how)


def window_means(column: ArrayLike, starts: Codes, n: int, *, period: float = 0.0) -> Array:
    """Return the mean of windows of n samples of a coordinate, on the circle where it is an angle.

    Examples
    --------
    >>> window_means([350.0, 20.0, 80.0], np.array([0, 1]), 2, period=360).round(6).tolist()
    [5.0, 50.0]
    """
    parts = np.lib.stride_tricks.sliding_window_view(np.asarray(column, float), n)[starts]
    if not period:
        return np.asarray(parts.mean(axis=1))
    turns = np.exp(2j * np.pi * parts / period).mean(axis=1)
    return np.asarray(np.angle(turns) * period / (2 * np.pi) % period)


def mean_vector_length(curve: Array, levels: Array, period: float) -> Array:
    """Return how concentrated the curves of an angle are: 0 flat, 1 in one direction, NaN silent.

    Curves have shape (n_levels, n_units). Each level counts alike, however often it was visited.

    Examples
    --------
    >>> curve = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    >>> mean_vector_length(curve, np.array([0, 90, 180, 270]), 360).round(6)
    array([0., 1.])
    """
    total = np.nansum(curve, axis=0)
    phase = np.exp(2j * np.pi * levels / period)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            np.abs(np.nansum(curve * phase, axis=0)) / np.where(total > 0, total, np.nan)
        )


def information_per_spike(curve: Array, number: NDArray[Any]) -> Array:
    """Return how many bits a spike tells about the level: Skaggs et al. 1993, NIPS 5.

    Curves are mean counts or rates, shape (n_levels, n_units); `number` is how many observations
    each is of. Biased upwards where those are few; NaN for a unit that is silent.

    Examples
    --------
    >>> information_per_spike(np.array([[2.0], [0.0]]), np.array([[10], [10]])).tolist()
    [1.0]
    """
    share = number / np.maximum(number.sum(axis=0), 1)
    rate = np.where(number > 0, np.maximum(curve, 0.0), 0.0)  # rounding leaves zeros below zero
    mean = (share * rate).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = rate / np.where(mean > 0, mean, np.nan)
        bits = ratio * np.log2(np.where(ratio == 0, 1.0, ratio))
    return np.asarray((share * bits).sum(axis=0))


def posterior(
    counts: Array, curves: Array, seconds: float, occupancy: Array, *, prior: Array | None = None
) -> Array:
    """Return the probability of each bin, shape (n_windows, n_bins), from the spikes of windows.

    Curves are in Hz, (n_cells, n_bins); bins where one is NaN have probability 0. No rate is taken
    to be below half a spike in the time that was spent in a bin. Poisson cells, Bayes' rule: Zhang
    et al. 1998, J. Neurophysiology 79, 1017.

    Examples
    --------
    >>> curves, spent = np.array([[8.0, 0.0], [0.0, 8.0]]), np.array([10.0, 10.0])
    >>> posterior(np.array([[2, 0]]), curves, 0.5, spent)[0].round(3).tolist()
    [1.0, 0.0]
    """
    prior = np.ones(len(occupancy)) if prior is None else prior
    usable = np.isfinite(curves).all(axis=0) & (prior > 0)
    rate = np.maximum(curves[:, usable], 0.5 / occupancy[usable])
    expected = np.log(prior[usable]) - seconds * rate.sum(axis=0)
    found = np.zeros((len(counts), curves.shape[1]), np.float32)
    for a in range(0, len(counts), WINDOWS):
        score = counts[a : a + WINDOWS] @ np.log(rate) + expected
        score = np.exp(score - score.max(axis=1, keepdims=True))
        found[a : a + WINDOWS, usable] = score / score.sum(axis=1, keepdims=True)
    return found
