"""Raster: every spike as a tick, by cell or by trial, with the rate above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording import Recording, check
from nissl.recording.epochs import event_times
from nissl.recording.labels import coordinate
from nissl.statistics.figure import FOUND, REST

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["raster"]

Array = np.ndarray[Any, Any]


def raster(
    spikes: Recording | Mapping[str, Any] | pd.DataFrame,
    *,
    around: Any = None,
    start: float | None = None,
    stop: float | None = None,
    units: Sequence[Any] | None = None,
    bin: float | None = None,
) -> Figure:
    """Draw spikes in time, a row a cell; or around events, a row a trial and a panel a cell.

    Parameters
    ----------
    spikes : Recording, mapping or DataFrame
        A table with ``time`` in seconds and ``unit``; or counts with ``time``.
    around : array, mapping or DataFrame, optional
        Times of events in seconds, or a table with a column ``time``, ``onset`` or ``start``.
    start, stop : float, optional
        Seconds that are drawn; by default all, or from -0.5 to 1 around an event.
    units : sequence, optional
        The cells, in this order; by default all, and the first six around events.
    bin : float, optional
        Seconds of a bin of the rate above; by default a hundredth of what is drawn.

    Returns
    -------
    matplotlib Figure
        The rate in Hz above (a mean over cells, or the peri-stimulus time histogram), spikes below.

    Examples
    --------
    >>> spikes = {"time": [0.1, 0.2, 1.15], "unit": ["a", "b", "a"]}
    >>> [axes.get_ylabel() for axes in raster(spikes, around=[0.0, 1.0], units=["a"]).axes]
    ['Hz', 'trial']
    """
    import matplotlib.pyplot as plt

    times, cell, known = _events(spikes)
    wanted = known[: None if around is None else 6] if units is None else [str(u) for u in units]
    for name in wanted:
        if name not in known:
            raise UnknownName("unit", name, known)
    own = [times[cell == known.index(name)] for name in wanted]
    if around is None:
        low, high, panels = times.min(initial=np.inf), times.max(initial=-np.inf), [("", own)]
    else:
        low, high, onsets = -0.5, 1.0, event_times(around)[0]
        onsets = onsets[np.isfinite(onsets)]
        if not len(onsets):
            raise NisslError("no event has a time", where="around", do="give seconds")
        panels = [(n, [t - zero for zero in onsets]) for n, t in zip(wanted, own, strict=True)]
    low, high = low if start is None else start, high if stop is None else stop
    width = (high - low) / 100 if bin is None else bin
    if not (low < high and 0 < width <= high - low and wanted):
        raise NisslError(
            f"nothing of {len(wanted)} cells lies from {low} to {high} s in bins of {width} s",
            do="name cells, let start be below stop, and bin= between 0 and what is drawn",
        )
    edges, n = np.arange(low, high + 1e-9, width), len(panels)
    how: Any = {"squeeze": False, "sharex": "col", "height_ratios": [1, 3]}
    size = (9 if around is None else max(4, 3 * n), 4.5)
    figure: Figure
    figure, grid = plt.subplots(2, n, figsize=size, layout="constrained", **how)
    for (above, below), (title, rows) in zip(grid.T, panels, strict=True):
        shown = [t[(t >= low) & (t <= high)] for t in rows]
        rate = np.histogram(np.concatenate(shown), edges)[0] / np.diff(edges) / len(rows)
        above.stairs(rate, edges, fill=True, color=REST)
        above.set_title(title)
        tall = max(0.9, len(rows) / 100)  # of hundreds of trials a tick would be no pixel high
        below.eventplot(shown, colors="black", linelengths=tall, linewidths=0.6, rasterized=True)
        below.set(xlabel="seconds", xlim=(low, high))
        below.invert_yaxis()
        if around is None:
            below.set_yticks(range(len(wanted)), wanted, fontsize=7)
        else:
            below.axvline(0, color=FOUND, linewidth=0.8)
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
    grid[0, 0].set_ylabel("Hz")
    grid[1, 0].set_ylabel("cell" if around is None else "trial")
    return figure


def _events(spikes: Any) -> tuple[Array, Array, list[str]]:
    """Return the time and the cell of every spike, and the cells."""
    import pandas as pd

    if hasattr(spikes, "dims"):
        counts = np.asarray(check(spikes).values)
        bins, cell = np.nonzero(counts > 0)
        often = np.ceil(counts[bins, cell]).astype(int)
        times = np.asarray(coordinate(spikes, "time"), float)[bins]
        return np.repeat(times, often), np.repeat(cell, often), spikes["unit"].values.tolist()
    for name in ("time", "unit"):
        if name not in spikes:
            raise UnknownName("column of spikes", name, [str(n) for n in spikes])
    cell, names = pd.factorize(np.asarray(spikes["unit"]), sort=True)
    return np.asarray(spikes["time"], float), cell, [str(n) for n in names]
