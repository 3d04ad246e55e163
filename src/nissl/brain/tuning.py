"""Tuning: a cell's firing rate as a function of where the animal looks, is or does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.progress import progress_bar
from nissl.recording import Recording, units_table
from nissl.recording.labels import coordinate
from nissl.statistics import Finding, Test, against_null
from nissl.statistics.design import NOT_FINITE
from nissl.statistics.series import bin_seconds, labels_in_time
from nissl.statistics.tuning_curve import coordinate_bins

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nissl.brain.bayesian_decoder import BayesianDecoding

__all__ = ["Tuning", "tuning"]

Array = NDArray[np.floating[Any]]

BAND = (2.5, 97.5)  # percentiles of the null's curves
BYTES = 2**28  # that the activity of a batch of cells, or its curves under the null, may take
SCORE = "bits_per_spike"


@dataclass(frozen=True, repr=False)
class Tuning:
    """Tuning curves of cells, which of them are tuned, and the decoder that the curves make.

    Parameters
    ----------
    finding : Finding
        One row a cell; the columns are described at `tuning`.
    curves : array, shape (n_cells, n_bins) or (n_cells, n_bins_x, n_bins_y)
        Rates in Hz; NaN where too little time was spent.
    null_band : array, shape (2, n_cells, n_bins, ...), or None
        The 2.5th and 97.5th percentile of the curves under the null.
    occupancy : array, shape (n_bins, ...)
        Seconds spent in each bin.
    to, bins, period : tuple
        Of each coordinate the name, the centres of the bins, and the whole circle or 0.
    times : array, shape (n_samples,)
        When the samples were taken that the curves were made of; empty where it is not known.

    Examples
    --------
    >>> from nissl.brain import tuning
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.tile([[3], [0], [0]], (50, 1)), quantity="spikes",
    ...     samples={"track": np.tile([0.0, 1.0, 2.0], 50)}, attrs={"bin": 0.5})
    >>> tuning(rec, "track", test=None).curves.tolist()
    [[6.0, 0.0, 0.0]]
    """

    finding: Finding
    curves: Array
    null_band: Array | None
    occupancy: Array
    to: tuple[str, ...]
    bins: tuple[Array, ...]
    period: tuple[float, ...]
    times: Array

    def __repr__(self) -> str:
        return f"Tuning to {', '.join(self.to)}: {self.finding!r}"

    def plot(self, n: int = 6, units: Sequence[str] | None = None) -> Figure:
        """Draw the curves of the best cells: polar, lines, or maps.

        Parameters
        ----------
        n : int
            How many, those of the largest effect first.
        units : sequence of str, optional
            These cells instead.

        Returns
        -------
        matplotlib Figure
            A panel a cell: Hz over the band of the null, bits per spike and corrected p.
        """
        from nissl.brain.tuning_figure import draw_curves

        units = self.finding.top(n).units if units is None else list(units)
        if not units:
            raise NisslError("no cell is asked for", do="give n= or units=")
        return draw_curves(self, units)

    def decode(
        self,
        rec: Recording,
        *,
        window: float | None = None,
        prior: str = "occupancy",
        test: Test = Test(),
    ) -> BayesianDecoding:
        """Read the coordinates from spikes, by Bayes' rule.

        Parameters
        ----------
        rec : Recording, shape (n_samples, n_units)
            Counts of all cells that have a curve, at other times than those of the curves.
        window : float, optional
            Seconds that each value is read from, in whole bins; one by default.
        prior : {"occupancy", "uniform"}
            What is expected before any spike: where time was spent, or all bins alike.
        test : Test
            Draws and seed of the chance level, by `CircularShift` of the true coordinates.

        Returns
        -------
        BayesianDecoding
            Values, posterior, error. Samples that the curves were made of are warned of.

        Notes
        -----
        Cells are taken as Poisson and independent, and half a spike where one never fired.
        Source: Zhang et al. 1998, J. Neurophysiology 79, 1017.
        """
        from nissl.brain.bayesian_decoder import bayesian_decoding

        return bayesian_decoding(self, rec, window=window, prior=prior, test=test)


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

    Rates are spikes by time spent in each bin; the score is what a spike tells of the bin.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Counts of spikes, with `time` in seconds or the attribute ``bin``; samples without a
        coordinate are left out.
    to : str, or pair of str
        The sample coordinate, or the two of a map. One with an attribute ``period`` is an angle.
    n_bins : int, optional
        Bins along a coordinate: 36, and 20 each of two; one for each of fewer values.
    smooth : float
        Standard deviation, in the coordinate's unit, of the Gaussian that smooths spikes and time.
    min_occupancy : float
        Seconds that must have been spent in a bin.
    period : float, optional
        The whole circle, where the coordinate does not say: 2 pi or 360; 0 for a line.
    test : Test or None
        Null, draws (1,000), tail, correction over cells, seed. The null is `CircularShift`, within
        intervals, trials or runs where there are several; of a coordinate that is constant in each
        of them, `PermutedLabels` of those. None: curves alone.
    progress : bool
        Show a bar.

    Returns
    -------
    Tuning
        A row for each cell: ``bits_per_spike`` (biased upwards where spikes are few), ``effect``
        (less the null's mean: without that bias), ``p``, ``q``, ``n_spikes``, ``mean_rate`` and
        ``peak_rate`` in Hz, ``preferred`` (the mean direction, or the highest bin; of two
        ``preferred_x``, ...), ``vector_length`` of an angle. Cells without spikes, or with counts
        that are not finite, have NaN, p = 1 and a ``note``.

    Raises
    ------
    NotExchangeable
        Intervals are too short for how slowly cells and coordinate change.
    NisslError
        There is no such coordinate or it does not vary, these are no counts of spikes, times do
        not increase, or no bin has enough time.

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
    seconds = bin_seconds(rec)
    names = (to,) if isinstance(to, str) else tuple(to)
    columns = [coordinate(rec, name) for name in names]
    circles = [rec[n].attrs.get("period", 0.0) if period is None else period for n in names]
    bins = coordinate_bins(columns, names, n_bins=n_bins, period=circles)
    if not (0 <= smooth < np.inf and rec.sizes["unit"]):
        raise NisslError(
            f"{rec.sizes['unit']} cells cannot be smoothed by {smooth}",
            do="give a recording with cells, and smooth= 0 or more",
        )
    n_given, n, rec = rec.sizes["sample"], len(bins.code), rec[bins.rows]
    occupancy, least = bins.occupancy * seconds, min_occupancy * (1 - 1e-9)  # ten tenths are one
    enough = int((occupancy >= least).sum())
    if enough < 2:
        raise NisslError(
            f"{enough} of {bins.n_bins} bins have at least {min_occupancy:g} s",
            where=", ".join(names),
            do="give fewer bins with n_bins=, a smaller min_occupancy= in seconds, or more time",
        )
    n_draws, drawn, null = labels_in_time(rec, bins.code, test)
    where: Any = {"seconds": seconds, "smooth": smooth, "least": least}
    n_cells, parts = rec.sizes["unit"], []
    step = max(16, BYTES // (8 * n + 4 * n_draws * bins.n_bins))
    with progress_bar("Tuning", total=n_cells, unit="cells", progress=progress) as advance:
        for a in range(0, n_cells, step):
            x = np.array(rec[:, a : a + step].values, float)
            if (x < 0).any():
                raise NisslError("there are counts below zero", do="give counts, not deviations")
            x[:, ~np.isfinite(x).all(axis=0)] = np.nan  # no curve, rather than a part of one
            curves, bits, shifted = bins.with_null(x, drawn(), n_draws, **where)
            band = np.percentile(shifted, BAND, axis=0) if n_draws else shifted
            parts.append((x.sum(axis=0), bits, curves, band))
            advance(x.shape[1])
    total, bits, curves, band = (np.concatenate(c, axis=-1) for c in zip(*parts, strict=True))
    table = units_table(rec).reset_index(drop=True).assign(n_spikes=total)
    table = table.assign(mean_rate=total / n / seconds, **bins.described(curves))
    note = np.where(np.isfinite(total), "", NOT_FINITE)
    note = np.where(total == 0, "not tested: no spikes", note)
    about: dict[str, Any] = {"to": ", ".join(names), "n_bins": bins.n_bins, "n_samples": n}
    about |= {"seconds": n * seconds, "n_without_coordinate": n_given - n}
    if test is None:
        table = table.assign(**{SCORE: bits[0]}, note=note)
        finding = Finding(table, "tuning", "none", about, SCORE)
    else:
        how: Any = {"score": SCORE, "method": "tuning", "alternative": "greater", "test": test}
        found = against_null(bits[0], bits[1:], units=table, **how, **null)
        said = np.where(note == "", found.table["note"], note)
        finding = found.assign({**about, "seed": test.seed}, note=said)
    return Tuning(
        finding=finding,
        curves=curves.T.reshape(-1, *bins.shape),
        null_band=band.swapaxes(1, 2).reshape(2, -1, *bins.shape) if n_draws else None,
        occupancy=occupancy.reshape(bins.shape),
        to=names,
        bins=bins.centres,
        period=bins.period,
        times=np.asarray(rec["time"].values, float) if "time" in rec.coords else np.zeros(0),
    )
