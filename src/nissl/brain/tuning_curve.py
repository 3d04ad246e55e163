"""Tuning curves: numbers that describe them, their pictures, and the decoder that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, UnknownName
from nissl.recording import Recording
from nissl.statistics import Finding, Test
from nissl.statistics.figure import BAND, COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nissl.brain.bayesian_decoder import BayesianDecoding

__all__ = ["Tuning", "information_per_spike", "mean_vector_length"]

Array = NDArray[np.floating[Any]]


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
            One panel a cell: Hz over the band of the null, with bits per spike in the title, and
            the corrected p where there is one.
        """
        import matplotlib.pyplot as plt

        units = self.finding.top(n).units if units is None else list(units)
        if not units:
            raise NisslError("no cell is asked for", do="give n= or units=")
        table = self.finding.table.set_index("unit")
        for name in units:
            if name not in table.index:
                raise UnknownName("unit", name, table.index.tolist())
        polar = len(self.to) == 1 and bool(self.period[0])
        shape = -(-len(units) // 3), min(len(units), 3)
        figure = plt.figure(figsize=(3.2 * shape[1], 3.2 * shape[0]), layout="constrained")
        projection: Any = "polar" if polar else None
        places = range(1, len(units) + 1)
        grid = [figure.add_subplot(*shape, k, projection=projection) for k in places]
        for axes, name in zip(grid, units, strict=True):
            row = table.index.get_loc(name)
            band = None if self.null_band is None else self.null_band[:, row]
            if len(self.to) == 2:
                _map(axes, self, self.curves[row])
            else:
                _line(axes, self, self.curves[row], band, polar)
            said = f"{name}: {table[self.finding.score].iloc[row]:.2f} bits per spike"
            q = f"\nq = {table['q'].iloc[row]:.2g}" if "q" in table else ""
            axes.set_title(said + q, fontsize=9)
        return figure

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
            Seconds that each value is read from: a multiple of a bin, one by default. Windows start
            a bin apart.
        prior : {"occupancy", "uniform"}
            What is expected before any spike: where time was spent, or all bins alike.
        test : Test
            Draws and seed of the chance level, by `CircularShift` of the true coordinates.

        Returns
        -------
        BayesianDecoding
            Values, posterior, and the error where the true coordinates are there. A warning says
            where samples are those that the curves were made of.

        Notes
        -----
        Source: Zhang, Ginzburg, McNaughton and Sejnowski 1998, J. Neurophysiology 79, 1017. Counts
        are taken as Poisson and cells as independent. A cell that never fired in a bin of the
        coordinate counts as half a spike there.
        """
        from nissl.brain.bayesian_decoder import bayesian_decoding

        return bayesian_decoding(self, rec, window=window, prior=prior, test=test)


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


def _line(axes: Any, tuned: Tuning, curve: Any, band: Any, polar: bool) -> None:
    """Draw a curve of one coordinate; around a circle it closes."""
    from matplotlib.ticker import MaxNLocator

    at = tuned.bins[0]
    if polar:
        turn = np.r_[np.arange(len(at)), 0]
        at, curve = at[turn] * 2 * np.pi / tuned.period[0], curve[turn]
        band = None if band is None else band[:, turn]
        axes.set_rlabel_position(90)
        axes.yaxis.set_major_locator(MaxNLocator(2))
    else:
        axes.set(xlabel=tuned.to[0], ylabel="Hz")
        axes.spines[["top", "right"]].set_visible(False)
    if band is not None:
        axes.fill_between(at, *band, color=BAND, linewidth=0)
    axes.plot(at, curve, color=COLOURS[0], linewidth=1.5)
    axes.set_ylim(bottom=0)


def _map(axes: Any, tuned: Tuning, curve: Any) -> None:
    """Draw a map of two coordinates; what was not visited is left white."""
    image = axes.pcolormesh(*tuned.bins, curve.T, shading="nearest", vmin=0, rasterized=True)
    axes.set(xlabel=tuned.to[0], ylabel=tuned.to[1], aspect="equal")
    axes.figure.colorbar(image, ax=axes, label="Hz")
