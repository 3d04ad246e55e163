"""Bayesian decoder: where the animal was, or looked, from Poisson spikes of cells with curves."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, UnknownName, require_known
from nissl.recording import Recording
from nissl.recording.labels import coordinate
from nissl.statistics import Finding, Test
from nissl.statistics.series import bin_seconds, gapless_windows
from nissl.statistics.tuning_curve import distance, distance_by_chance, posterior, window_means

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BayesianDecoding", "bayesian_decoding"]

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, repr=False)
class BayesianDecoding:
    """Coordinates read from spikes.

    Parameters
    ----------
    time : array, shape (n_windows,)
        The middle of each window, in seconds, or samples where there are no times.
    value : array, shape (n_windows, n_coordinates)
        The centre of the most probable bin.
    truth : array, shape (n_windows, n_coordinates), or None
        The mean of the true coordinates in the window; NaN where they are not known.
    error : array, shape (n_windows,), or None
        Distance of the two, of two coordinates the straight line.
    posterior : array of float32, shape (n_windows, n_bins, ...)
        Sums to 1 over the bins of a window.
    to, bins : tuple
        The coordinates, and the centres of their bins.
    finding : Finding or None
        One row: ``median_error`` against true coordinates shifted in time.

    Examples
    --------
    >>> nothing = np.zeros((1, 1))
    >>> BayesianDecoding(nothing[0], nothing, None, None, nothing, ("x",), (), None)
    Bayesian decoding of x in 1 windows
    """

    time: Array
    value: Array
    truth: Array | None
    error: Array | None
    posterior: Array
    to: tuple[str, ...]
    bins: tuple[Array, ...]
    finding: Finding | None

    def __repr__(self) -> str:
        return f"Bayesian decoding of {', '.join(self.to)} in {len(self.value):,} windows"

    def plot(self, start: float | None = None, stop: float | None = None) -> Figure:
        """Draw the posterior in time, and the true coordinates over it.

        Parameters
        ----------
        start, stop : float, optional
            The stretch to draw, in seconds; by default the first minute.

        Returns
        -------
        matplotlib Figure
            One panel a coordinate.
        """
        from nissl.statistics.figure import FOUND, panels

        start = float(self.time[0]) if start is None else start
        here = (self.time >= start) & (self.time <= (start + 60 if stop is None else stop))
        figure, grid = panels(1, len(self.to), size=2.6)
        figure.set_figwidth(9)
        for k, axes in enumerate(np.ravel(grid)):
            others = tuple(1 + i for i in range(len(self.to)) if i != k)
            shown = self.posterior[here].sum(axis=others).T
            axes.pcolormesh(self.time[here], self.bins[k], shown, cmap="Greys", shading="nearest")
            if self.truth is not None:
                axes.plot(self.time[here], self.truth[here, k], ".", ms=1.5, color=FOUND)
            axes.set(xlabel="seconds", ylabel=self.to[k])
        if self.finding is not None:
            row = self.finding.table.iloc[0]
            said = f"median error {row['median_error']:.3g}, by chance {row['null_mean']:.3g}"
            figure.suptitle(said, fontsize=10)
        return figure


def bayesian_decoding(
    tuned: Any, rec: Recording, *, window: float | None, prior: str, test: Test
) -> BayesianDecoding:
    """Read coordinates from a recording by a Tuning; its `decode` says how."""
    require_known("prior", prior, ("uniform", "occupancy"))
    seconds = bin_seconds(rec)
    names, known = tuned.finding.units, rec["unit"].values.tolist()
    for name, curve in zip(names, tuned.curves, strict=True):
        if name not in known:
            raise UnknownName("unit", name, known, do="decode from the cells that have a curve")
        if np.isnan(curve).all():
            raise NisslError("a cell has no curve", where=name, do="leave it out before tuning")
    k, starts, middle = gapless_windows(rec, window, seconds)
    if "time" in rec.coords and np.isin(rec["time"].values.astype(float), tuned.times).any():
        warnings.warn("curves are made of some of the samples that are decoded", stacklevel=3)
    counts = rec.values[:, [known.index(name) for name in names]].astype(float)
    if not np.isfinite(counts).all():
        raise NisslError("some counts are not finite", do="leave those samples out")
    total = np.vstack([np.zeros(len(names)), np.cumsum(counts, axis=0)])
    spikes, occupancy = total[starts + k] - total[starts], tuned.occupancy.ravel()
    expected = occupancy / occupancy.sum() if prior == "occupancy" else None
    curves, shape = tuned.curves.reshape(len(names), -1), tuned.curves.shape[1:]
    found = posterior(spikes, curves, k * seconds, occupancy, prior=expected)
    best = np.unravel_index(found.argmax(axis=1), shape)
    value = np.stack([c[b] for c, b in zip(tuned.bins, best, strict=True)], axis=1)
    truth = error = finding = None
    if all(name in rec.coords for name in tuned.to):
        given = [coordinate(rec, name) for name in tuned.to]
        pairs = zip(given, tuned.period, strict=True)
        truth = np.stack([window_means(x, starts, k, period=p) for x, p in pairs], axis=1)
        error = distance(value, truth, tuned.period)
        has = np.isfinite(truth).all(axis=1)
        how: Any = {"unit": f"{len(names)} cells", "test": test}
        finding = distance_by_chance(value[has], truth[has], tuned.period, **how)
    found = found.reshape(-1, *shape)
    return BayesianDecoding(middle, value, truth, error, found, tuned.to, tuned.bins, finding)
