"""Moments, extremes and histogram of every unit in one reading of each chunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nissl.statistics._chunk import Array, as_chunk, as_column, same_shape
from nissl.statistics.extremes import Extremes
from nissl.statistics.histogram import Histogram
from nissl.statistics.moments import Moments

__all__ = ["Summary"]


class Summary:
    """`Moments`, `Extremes` and `Histogram` of the same units, read together.

    The result is theirs; a chunk is read once, while it is hot in the cache, which takes about
    a nanosecond a value. float32 chunks are summed in float32 over short stretches, which leaves
    moments accurate to about a millionth; float64 chunks are summed in float64.

    Parameters
    ----------
    n_units : int
        Number of units.
    k : int
        Extremes to keep at each end.
    active_above, active_below : float or array, shape (n_units,), optional
        As for `Moments`.
    lowest, octaves : int
        As for `Histogram`.

    Examples
    --------
    >>> summary = Summary(2, k=1)
    >>> summary.update(np.array([[1.0, -1.0], [3.0, 0.0]], np.float32))
    >>> summary.moments.result()["mean"].tolist(), summary.extremes.result()["top"].tolist()
    ([2.0, -0.5], [[3.0], [0.0]])
    """

    def __init__(
        self,
        n_units: int,
        *,
        k: int = 20,
        active_above: Any = 0.0,
        active_below: Any = -np.inf,
        lowest: int = -10,
        octaves: int = 26,
    ):
        self.n_units = n_units
        self.moments = Moments(n_units, active_above=active_above, active_below=active_below)
        self.extremes = Extremes(n_units, k)
        self.histogram = Histogram(n_units, lowest=lowest, octaves=octaves)

    def update(self, values: Any, start: int = 0, *, keep: Any = None) -> None:
        """Add a chunk.

        Parameters
        ----------
        values : array, shape (n_rows, n_units)
            Activity.
        start : int
            Place of the first row among all samples.
        keep : array of bool, shape (n_rows,), optional
            Rows to count; the others are passed over.
        """
        from nissl.statistics._summary_kernel import summarise

        values = as_chunk(values, self.n_units)
        n = len(values)
        kept = np.ones(n, bool) if keep is None else as_column(keep, n, "keep", bool)
        if not kept.any():
            return
        with np.errstate(over="ignore"):
            bits = values.astype(np.float32, copy=False).view(np.int32)
        moments, extremes = self.moments, self.extremes
        shift = self._shift(values, kept)
        power = np.zeros((4, self.n_units))
        before = moments.nonfinite.copy()
        summarise(
            values,
            bits,
            kept,
            start,
            shift,
            moments.active_below.astype(values.dtype),
            moments.active_above.astype(values.dtype),
            power,
            moments.low,
            moments.high,
            moments.active,
            moments.nonfinite,
            moments.first_nonfinite,
            extremes.top,
            extremes.top_places,
            extremes.bottom,
            extremes.bottom_places,
            self.histogram.counts,
            self.histogram.base,
        )
        count = int(kept.sum()) - (moments.nonfinite - before)
        moments.join_powers(count, shift.astype(np.float64), power)

    def merge(self, other: Summary) -> None:
        """Add what another accumulator of the same units has gathered.

        Parameters
        ----------
        other : Summary
            Unchanged.
        """
        same_shape(self.n_units, other.n_units, "units")
        self.moments.merge(other.moments)
        self.extremes.merge(other.extremes)
        self.histogram.merge(other.histogram)

    def result(self) -> dict[str, Array]:
        """Return the results of the three, in one dict.

        Returns
        -------
        dict of arrays
            The entries of `Moments.result`, `Extremes.result` and `Histogram.result`.
        """
        return {**self.moments.result(), **self.extremes.result(), **self.histogram.result()}

    def state(self) -> dict[str, Array]:
        """Return everything gathered, as arrays to be saved.

        Returns
        -------
        dict of arrays
            What `from_state` takes.
        """
        return {
            **{f"moments.{n}": a for n, a in self.moments.state().items()},
            **{f"extremes.{n}": a for n, a in self.extremes.state().items()},
            **{f"histogram.{n}": a for n, a in self.histogram.state().items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> Summary:
        """Make the accumulator again from what `state` returned.

        Parameters
        ----------
        state : mapping of arrays
            What `state` returned.

        Returns
        -------
        Summary
            An accumulator that goes on where the other stood.
        """

        def part(name: str) -> dict[str, Array]:
            return {n.removeprefix(name): a for n, a in state.items() if n.startswith(name)}

        summary = cls(len(state["moments.count"]))
        summary.moments = Moments.from_state(part("moments."))
        summary.extremes = Extremes.from_state(part("extremes."))
        summary.histogram = Histogram.from_state(part("histogram."))
        return summary

    def _shift(self, values: Array, kept: Array) -> Array:
        """Return a value near each unit's mean, so that sums of powers about it do not cancel."""
        shift: Array = self.moments.central[0].astype(values.dtype)
        if (self.moments.count > 0).all():
            return shift
        head = values[np.flatnonzero(kept)[:64]]
        finite = np.isfinite(head)
        mean = np.where(finite, head, 0).sum(0) / np.maximum(finite.sum(0), 1)
        unseen = self.moments.count == 0
        shift[unseen] = mean[unseen]
        return shift
