"""Tuning: a cell's firing rate as a function of where the animal looks, is or does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.brain.coordinate_bins import CoordinateBins, coordinate_bins, seconds_of, stretches
from nissl.brain.tuning_curve import Tuning, information_per_spike, mean_vector_length
from nissl.errors import NisslError
from nissl.progress import progress_bar
from nissl.recording import Recording, units_table
from nissl.statistics import CircularShift, Finding, PermutedLabels, Test, against_null
from nissl.statistics.design import NOT_FINITE, Design
from nissl.statistics.exchangeability import NotExchangeable
from nissl.statistics.nulls import LabelNull

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["tuning"]

Array = NDArray[np.floating[Any]]

BAND = (2.5, 97.5)  # percentiles of the null's curves
BYTES = 2**28  # that the activity of a batch of cells, or its curves under the null, may take
SCORE = "bits_per_spike"


def tuning(
    rec: Recording,
    to: str | Sequence[str],
    *,
    n_bins: int | None = None,
    smooth: float = 0.0,
    min_occupancy: float = 0.1,
    period: float | None = None,
    test: Test | None = Test(),
    progress: bool = True,
) -> Tuning:
    """Make tuning curves of every cell, and tell which cells are tuned.

    The rate at each bin of the coordinate is spikes by time spent there. Its score is the
    information that a spike carries about the bin, against the same with labels shifted in time.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Counts of spikes, with `time` in seconds or the attribute ``bin``; what `bin_spikes` and
        the readers make. Samples without a coordinate are left out, and counted in the finding's
        provenance.
    to : str, or pair of str
        The sample coordinate, or the two of a map. One with an attribute ``period`` (2 pi or 360)
        is an angle.
    n_bins : int, optional
        Bins along a coordinate: 36, and 20 each of two. A coordinate of fewer values that are had
        twice or more (directions of a grating) has a bin for each.
    smooth : float
        Standard deviation of the Gaussian by which spikes and time are smoothed before they are
        divided, in the coordinate's unit; around the circle of an angle.
    min_occupancy : float
        Seconds that must have been spent in a bin.
    period : float, optional
        The whole circle, where the coordinate does not say: 2 pi or 360; 0 for a line. Angles are
        taken from 0 on.
    test : Test or None
        Null, draws (1,000), tail, correction over cells, seed. The null is `CircularShift`, within
        intervals, trials or runs where there are several; of a coordinate that is constant in each
        of them, `PermutedLabels` of those. None: curves alone.
    progress : bool
        Show a bar.

    Returns
    -------
    Tuning
        Its finding has a row for each cell, in their order: the units' own columns,
        ``bits_per_spike`` (biased upwards where spikes are few), ``effect`` (less the null's mean,
        which takes the bias off), ``null_mean``, ``null_sd``, ``p``, ``q``; ``n_spikes``,
        ``mean_rate`` (by time) and ``peak_rate`` in Hz; ``preferred``, the direction of the curve's
        mean vector or the centre of the highest bin (``preferred_x``, ... of two), and
        ``vector_length`` of an angle's curve, from 0 to 1. A cell without spikes, or with counts
        that are not finite, has NaN, p = 1 and a ``note``.

    Raises
    ------
    NotExchangeable
        Intervals are too short for how slowly cells and coordinate change.
    UnknownName
        There is no such coordinate.
    NisslError
        These are no counts of spikes, times do not increase, the coordinate does not vary, or no
        bin has enough time.

    Notes
    -----
    Source: bits per spike, Skaggs et al. 1993, NIPS 5; shifts, Harris 2020, bioRxiv
    2020.08.13.249235.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> angle = np.cumsum(rng.normal(0, 0.4, 4000)) % (2 * np.pi)
    >>> rates = np.stack([np.exp(2 * np.cos(angle - 1)), np.ones(4000)], axis=1)
    >>> rec = as_recording(rng.poisson(rates), quantity="spikes", attrs={"bin": 0.1},
    ...                    samples={"angle": angle})
    >>> tuned = tuning(rec, "angle", period=2 * np.pi, test=Test(199), progress=False)
    >>> tuned.finding.significant().units, tuned.finding.table["preferred"][0].round(1)
    (['unit[0]'], np.float64(1.0))
    """
    from scipy.sparse import csc_array

    seconds = seconds_of(rec)
    bins = coordinate_bins(rec, to, n_bins, period)
    if not (0 <= smooth < np.inf and rec.sizes["unit"]):
        raise NisslError(
            f"{rec.sizes['unit']} cells cannot be smoothed by {smooth}",
            do="give a recording with cells, and smooth= 0 or more",
        )
    n_given, rec = rec.sizes["sample"], rec[bins.rows]
    occupancy = np.bincount(bins.code, minlength=bins.n_bins) * seconds
    least = min_occupancy * (1 - 1e-9)  # ten tenths are one second
    enough = int((occupancy >= least).sum())
    if enough < 2:
        raise NisslError(
            f"{enough} of {bins.n_bins} bins have at least {min_occupancy:g} s",
            where=", ".join(bins.to),
            do="give fewer bins with n_bins=, a smaller min_occupancy= in seconds, or more time",
        )
    shifted = _Shifted.of(rec, bins.code, test)

    def curve(x: Array, code: NDArray[Any]) -> tuple[Array, Array]:
        """Return rates, shape (n_bins, n_cells), and the samples that each bin counts for."""
        spikes = csc_array((np.ones(len(x)), code, np.arange(len(x) + 1)), (bins.n_bins, len(x)))
        spent = np.bincount(code, minlength=bins.n_bins)[:, None] * seconds
        weight = np.where(spent >= least, bins.smoothed(spent, smooth), np.nan)
        return bins.smoothed(spikes @ x, smooth) / weight, np.nan_to_num(weight / seconds)

    parts = []
    step = max(16, BYTES // (8 * len(bins.code) + 4 * shifted.n * bins.n_bins))
    with progress_bar("Tuning", total=len(rec.unit), unit="cells", progress=progress) as advance:
        for a in range(0, len(rec.unit), step):
            parts.append(_part(np.array(rec[:, a : a + step].values, float), shifted, curve))
            advance(len(parts[-1][0]))
    total, bits, curves, band = (np.concatenate(c, axis=-1) for c in zip(*parts, strict=True))
    table = units_table(rec).reset_index(drop=True).assign(n_spikes=total)
    table["mean_rate"] = total / len(bins.code) / seconds
    about: dict[str, str | int | float] = {
        "to": ", ".join(bins.to),
        "n_bins": bins.n_bins,
        "seconds": len(bins.code) * seconds,
        "n_samples": len(bins.code),
        "n_without_coordinate": n_given - len(bins.code),
    }
    return Tuning(
        finding=_finding(table.assign(**_described(curves, bins)), bits, test, shifted, about),
        curves=curves.T.reshape(-1, *bins.shape),
        null_band=band.swapaxes(1, 2).reshape(2, -1, *bins.shape) if shifted.n else None,
        occupancy=occupancy.reshape(bins.shape),
        to=bins.to,
        bins=bins.centres,
        period=bins.period,
        times=np.asarray(rec["time"].values, float) if "time" in rec.coords else np.zeros(0),
    )


def _part(
    x: Array, shifted: _Shifted, curve: Callable[..., tuple[Array, Array]]
) -> tuple[Array, Array, Array, Array]:
    """Return spikes, information (observed, then drawn), curves and band of the null of cells."""
    if (x < 0).any():
        raise NisslError("there are counts below zero", do="give counts of spikes, not deviations")
    x[:, ~np.isfinite(x).all(axis=0)] = np.nan  # no curve, rather than a part of one
    curves, weight = curve(x, shifted.data.labels)
    bits = np.tile(information_per_spike(curves, weight), (shifted.n + 1, 1))
    drawn = np.empty((shifted.n, *curves.shape), np.float32)
    for d, code in enumerate(shifted.draws()):
        one, weight = curve(x, code)
        drawn[d], bits[d + 1] = one, information_per_spike(one, weight)
    # A draw may have put all spikes of a cell where too little time was spent.
    bits[1:] = np.where(np.isfinite(bits[0]), np.nan_to_num(bits[1:]), np.nan)
    band = np.percentile(drawn, BAND, axis=0) if shifted.n else np.empty((2, 0, x.shape[1]))
    return x.sum(axis=0), bits, curves, band


@dataclass(frozen=True)
class _Shifted:
    """The null: how often labels are drawn, and the draws."""

    data: Design
    null: LabelNull
    n: int
    least_p: float
    seed: int

    @classmethod
    def of(cls, rec: Recording, code: NDArray[np.int64], test: Test | None) -> _Shifted:
        """Choose what is drawn, and refuse what would not hold the level."""
        columns = stretches(rec)
        finest = max(columns, key=lambda n: columns[n].max(initial=0), default=None)
        usual: LabelNull = CircularShift()
        if finest is not None and columns[finest].max():
            first = np.unique(columns[finest], return_index=True)[1]
            held = np.array_equal(code[first][columns[finest]], code)
            usual = PermutedLabels(exchange=finest) if held else CircularShift(within=finest)
        null = usual if test is None else test.null_or(usual, LabelNull)
        data = Design.of(rec, code, None, null)
        if test is None:
            return cls(data, null, 0, 0.0, 0)
        data.require_exchangeable(null)
        count = null.log_arrangements(code, exchange=data.exchange, within=data.within)
        count = float(np.exp(min(count, 50.0)))
        if 1 / count > test.smallest_p:
            raise NotExchangeable(
                f"the null has {count:.0f} arrangements: no p can reach {test.smallest_p:g}",
                where=null.name,
                do="record more samples, trials or runs, or accept a larger smallest_p",
            )
        n = min(test.draws(1000), max(2, round(count) - 1))
        return cls(data, null, n, 1 / count, test.seed)

    def draws(self) -> Iterator[NDArray[np.int64]]:
        """Yield the bin of every sample in each draw."""
        code, data = self.data.labels, self.data
        step = max(1, int(16e6 / len(code)))
        for start in range(0, self.n, step):
            index = self.null.draw(
                code,
                min(step, self.n - start),
                exchange=data.exchange,
                within=data.within,
                seed=self.seed,
                start=start,
            )
            yield from code[index]


def _described(curves: Array, bins: CoordinateBins) -> dict[str, Array]:
    """Return peak rate, preferred value, and how concentrated the curve of an angle is."""
    lowest = np.where(np.isfinite(curves), curves, -np.inf)
    peak, best = lowest.max(axis=0), lowest.argmax(axis=0)
    heard = peak > 0
    told = {"peak_rate": np.where(np.isfinite(peak), peak, np.nan)}
    places = np.unravel_index(best, bins.shape)
    for name, centres, place in zip(bins.to, bins.centres, places, strict=True):
        column = "preferred" if len(bins.to) == 1 else f"preferred_{name}"
        told[column] = np.where(heard, centres[place], np.nan)
    if len(bins.to) == 1 and bins.period[0]:
        (centres,), (period,) = bins.centres, bins.period
        turn = np.exp(2j * np.pi * centres / period)
        angle = np.angle(np.nan_to_num(curves).T @ turn) % (2 * np.pi)
        told["preferred"] = np.where(heard, angle * period / (2 * np.pi), np.nan)
        told["vector_length"] = mean_vector_length(curves, centres, period)
    return told


def _finding(
    table: pd.DataFrame,
    bits: Array,
    test: Test | None,
    shifted: _Shifted,
    about: dict[str, str | int | float],
) -> Finding:
    """Compare bits per spike with their draws, and say why a cell has none."""
    note = np.where(np.isfinite(table["n_spikes"]), "", NOT_FINITE)
    note = np.where(table["n_spikes"] == 0, "not tested: no spikes", note)
    if test is None:
        return Finding(table.assign(**{SCORE: bits[0]}, note=note), "tuning", "none", about, SCORE)
    found = against_null(
        bits[0],
        bits[1:],
        units=table,
        score=SCORE,
        method="tuning",
        null=shifted.data.null_name(shifted.null),
        alternative="greater",
        least_p=shifted.least_p,
        test=test,
    )
    said = np.where(note == "", found.table["note"], note)
    return found.assign({**about, "seed": test.seed}, note=said)
