"""Histograms of many units whose range is not known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.statistics._chunk import Array, as_chunk, as_column, same_shape

__all__ = ["Histogram"]


class Histogram:
    """Counts of every unit's values in bins of half an octave, the same for all units.

    Parameters
    ----------
    n_units : int
        Number of units.
    lowest : int
        Magnitudes below ``2**lowest`` fall into the middle bin, whatever their sign.
    octaves : int
        Doublings of magnitude above that, two bins each, for either sign; at most 60. What is
        larger still falls into the outermost bins.

    Notes
    -----
    The edges of magnitude are 1, 1.5, 2, 3, 4, 6, ... times ``2**lowest``. A bin holds its edge
    nearer to zero. They are the places where the exponent or the first digit of a binary floating
    point number changes, so that finding a value's bin takes a shift and no logarithm. Values that
    are not finite are left out.

    Examples
    --------
    >>> histogram = Histogram(1, lowest=0, octaves=2)
    >>> histogram.update(np.array([[0.1], [1.0], [1.6], [100.0], [-2.0]]))
    >>> histogram.edges.tolist()
    [-inf, -3.0, -2.0, -1.5, -1.0, 1.0, 1.5, 2.0, 3.0, inf]
    >>> histogram.counts[0].tolist()
    [0, 1, 0, 0, 1, 1, 1, 0, 1]
    """

    def __init__(self, n_units: int, *, lowest: int = -10, octaves: int = 26):
        if not (1 <= octaves <= 60 and lowest >= -126 and lowest + octaves <= 127):
            raise NisslError(
                f"bins from 2**{lowest} over {octaves} octaves leave the range of float32",
                do="give 1 to 60 octaves between 2**-126 and 2**127",
            )
        self.n_units = n_units
        self.lowest = lowest
        self.octaves = octaves
        self.counts = np.zeros((n_units, 4 * octaves + 1), np.int64)

    @property
    def edges(self) -> Array:
        """Edges of the bins, shape (n_bins + 1,), from -inf to inf."""
        steps = np.arange(2 * self.octaves)
        sizes = 2.0 ** (self.lowest + steps // 2) * np.where(steps % 2, 1.5, 1.0)
        return np.concatenate([[-np.inf], -sizes[::-1], sizes, [np.inf]])

    @property
    def base(self) -> int:
        """Half-octaves between the smallest float32 and the middle bin."""
        return 2 * (self.lowest + 127) - 1

    def update(self, values: Any, start: int = 0, *, keep: Any = None) -> None:
        """Add a chunk.

        Parameters
        ----------
        values : array, shape (n_rows, n_units)
            Activity; binned in float32.
        start : int
            Place of the first row; all accumulators take it, this one has no use for it.
        keep : array of bool, shape (n_rows,), optional
            Rows to count; the others are passed over.
        """
        values = as_chunk(values, self.n_units)
        if keep is not None:
            values = values[as_column(keep, len(values), "keep", bool)]
        with np.errstate(over="ignore"):
            bits = values.astype(np.float32).view(np.int32)
        half = 2 * self.octaves
        octave = np.clip(((bits & 0x7FFFFFFF) >> 22) - self.base, 0, half)
        bins = np.where(bits < 0, half - octave, half + octave)
        n_bins = self.counts.shape[1]
        flat = (bins + n_bins * np.arange(self.n_units))[np.isfinite(values)]
        self.counts += np.bincount(flat, minlength=self.counts.size).reshape(self.counts.shape)

    def merge(self, other: Histogram) -> None:
        """Add what another accumulator of the same units has gathered.

        Parameters
        ----------
        other : Histogram
            Unchanged.
        """
        mine = (self.n_units, self.lowest, self.octaves)
        same_shape(mine, (other.n_units, other.lowest, other.octaves), "(units, lowest, octaves)")
        self.counts += other.counts

    def result(self) -> dict[str, Array]:
        """Return the counts and the edges.

        Returns
        -------
        dict of arrays
            ``counts``, shape (n_units, n_bins), and ``edges``, shape (n_bins + 1,).
        """
        return {"counts": self.counts.copy(), "edges": self.edges}

    def state(self) -> dict[str, Array]:
        """Return everything gathered, as arrays to be saved.

        Returns
        -------
        dict of arrays
            What `from_state` takes.
        """
        return {"counts": self.counts.copy(), "bins": np.array([self.lowest, self.octaves])}

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> Histogram:
        """Make the accumulator again from what `state` returned.

        Parameters
        ----------
        state : mapping of arrays
            What `state` returned.

        Returns
        -------
        Histogram
            An accumulator that goes on where the other stood.
        """
        lowest, octaves = (int(n) for n in state["bins"])
        histogram = cls(len(state["counts"]), lowest=lowest, octaves=octaves)
        histogram.counts = np.array(state["counts"])
        return histogram
