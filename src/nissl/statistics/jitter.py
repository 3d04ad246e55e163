"""Null of spike times: each spike moved a little, so that rates slower than that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.recording._times import interval_columns

__all__ = ["JitteredSpikes"]


@dataclass(frozen=True)
class JitteredSpikes:
    """Put each spike anywhere in its window of time.

    Parameters
    ----------
    window : float, optional
        Length of the windows in seconds: what is slower is kept. None: the whole interval.

    Notes
    -----
    Windows follow each other from the start of each interval, and their counts are kept: p is then
    exact, which it is not where windows are centred on spikes. Source: Amarasingham et al. 2012, J.
    Neurophysiology 107, 517, "Conditional modeling and the jitter method of spike resampling".

    Examples
    --------
    >>> drawn = JitteredSpikes(window=1.0).draw([0.2, 0.9, 3.5], 2, intervals=[[0, 4]], seed=0)
    >>> drawn.astype(int).tolist()
    [[0, 0, 3], [0, 0, 3]]
    """

    window: float | None = None
    question: ClassVar[str] = "do these spikes go together more closely than their rates?"

    def __post_init__(self) -> None:
        if self.window is not None and not 0 < self.window < np.inf:
            raise NisslError(
                f"a window of {self.window} s holds nothing", do="give seconds, above 0"
            )

    @property
    def name(self) -> str:
        """How the null is called in a Finding."""
        return f"JitteredSpikes(window={self.window})"

    def draw(
        self, times: ArrayLike, n: int, *, intervals: Any = None, seed: int = 0, start: int = 0
    ) -> NDArray[np.float64]:
        """Draw spike times.

        Parameters
        ----------
        times : array, shape (n_spikes,)
            In seconds, of one unit or of many, in any order.
        n : int
            How many draws.
        intervals : table or array, shape (n_intervals, 2), optional
            When was recorded; by default from the first spike to the last.
        seed : int
            The seed.
        start : int
            Number of the first draw.

        Returns
        -------
        array of float64, shape (n, n_spikes)
            Where each spike is put, in the order in which they were given: of one unit, sort them.

        Raises
        ------
        NisslError
            Spikes outside the intervals, or intervals that overlap or have no length.
        """
        t = np.asarray(times, dtype=np.float64)
        if t.ndim != 1 or not np.isfinite(t).all():
            raise NisslError("times are not one finite number a spike", do="leave others out")
        if not len(t):
            return np.empty((n, 0))
        bounds = np.array([[t.min(), t.max()]])
        if intervals is not None:
            bounds = interval_columns(intervals)[0]
        if bounds.ndim != 2 or bounds.shape[1] != 2 or not len(bounds):
            raise NisslError(f"intervals have shape {bounds.shape}", do="give starts and stops")
        begin, end = bounds[np.argsort(bounds[:, 0], kind="stable")].T
        if not (begin <= end).all() or (begin[1:] < end[:-1]).any():
            raise NisslError("intervals overlap, or end before they start", do="join them")
        own = np.searchsorted(begin, t, side="right") - 1
        outside = np.flatnonzero((own < 0) | (t > end[own]))
        if len(outside):
            raise NisslError(
                f"{len(outside)} spikes lie outside of the intervals",
                where=f"spike {outside[0]}, at {t[outside[0]]:g} s",
                do="leave them out, or give the intervals in which they were recorded",
            )
        low, high = begin[own], end[own]
        if self.window is not None:
            last = np.maximum(np.ceil((high - low) / self.window) - 1, 0)
            low = low + self.window * np.minimum(np.floor((t - low) / self.window), last)
            high = np.minimum(low + self.window, high)
        rngs = [np.random.default_rng([seed, d]) for d in range(start, start + n)]
        drawn = [low + (high - low) * rng.random(len(t)) for rng in rngs]
        # Rounding must not carry a spike into the next window.
        below = np.maximum(np.nextafter(high, -np.inf), low)
        return np.clip(np.reshape(drawn, (n, len(t))), low, below)
