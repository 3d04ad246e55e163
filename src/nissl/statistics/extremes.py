"""The highest and lowest values of many units, with the samples at which they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nissl.statistics._chunk import Array, as_chunk, as_column, same_shape

__all__ = ["Extremes"]


class Extremes:
    """The k highest and k lowest finite values of every unit, gathered chunk by chunk.

    Parameters
    ----------
    n_units : int
        Number of units.
    k : int
        How many to keep at each end.

    Notes
    -----
    Among equal values the earliest sample is kept, so the result depends neither on the chunks nor
    on the order in which accumulators are merged, as long as no sample is given twice.

    Examples
    --------
    >>> extremes = Extremes(1, k=2)
    >>> extremes.update(np.array([[3.0], [5.0], [-1.0], [5.0]]))
    >>> found = extremes.result()
    >>> found["top"][0].tolist(), found["top_places"][0].tolist(), found["bottom"][0].tolist()
    ([5.0, 5.0], [1, 3], [-1.0, 3.0])
    """

    def __init__(self, n_units: int, k: int = 20):
        self.n_units = n_units
        self.k = k
        self.top = np.full((n_units, k), -np.inf)
        self.top_places = np.full((n_units, k), -1, np.int64)
        # Negated, so that both ends are kept by the same code.
        self.bottom = np.full((n_units, k), -np.inf)
        self.bottom_places = np.full((n_units, k), -1, np.int64)

    def update(self, values: Any, start: int = 0, *, keep: Any = None) -> None:
        """Add a chunk.

        Parameters
        ----------
        values : array, shape (n_rows, n_units)
            Activity.
        start : int
            Place of the first row among all samples.
        keep : array of bool, shape (n_rows,), optional
            Rows to look at; the others are passed over.
        """
        values = as_chunk(values, self.n_units).astype(np.float64)
        places = start + np.arange(len(values))
        if keep is not None:
            kept = as_column(keep, len(values), "keep", bool)
            values, places = values[kept], places[kept]
        finite = np.isfinite(values)
        where = np.where(finite, places[:, None], -1).T
        self._join("top", np.where(finite, values, -np.inf).T, where)
        self._join("bottom", np.where(finite, -values, -np.inf).T, where)

    def merge(self, other: Extremes) -> None:
        """Add what another accumulator of the same units has gathered.

        Parameters
        ----------
        other : Extremes
            Unchanged.
        """
        same_shape((self.n_units, self.k), (other.n_units, other.k), "(units, k)")
        self._join("top", other.top, other.top_places)
        self._join("bottom", other.bottom, other.bottom_places)

    def result(self) -> dict[str, Array]:
        """Return the extremes of every unit.

        Returns
        -------
        dict of arrays, each of shape (n_units, k)
            ``top`` from the highest down with ``top_places``, ``bottom`` from the lowest up with
            ``bottom_places``; NaN and -1 where there are fewer finite values than k.
        """
        return {
            "top": np.where(self.top_places >= 0, self.top, np.nan),
            "top_places": self.top_places.copy(),
            "bottom": np.where(self.bottom_places >= 0, -self.bottom, np.nan),
            "bottom_places": self.bottom_places.copy(),
        }

    def state(self) -> dict[str, Array]:
        """Return everything gathered, as arrays to be saved.

        Returns
        -------
        dict of arrays
            What `from_state` takes.
        """
        return {name: getattr(self, name).copy() for name in _STATE}

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> Extremes:
        """Make the accumulator again from what `state` returned.

        Parameters
        ----------
        state : mapping of arrays
            What `state` returned.

        Returns
        -------
        Extremes
            An accumulator that goes on where the other stood.
        """
        extremes = cls(*np.shape(state["top"]))
        for name in _STATE:
            setattr(extremes, name, np.array(state[name]))
        return extremes

    def _join(self, end: str, values: Array, places: Array) -> None:
        """Keep the k best of what there is and of candidates (n_units, n)."""
        mine, where = getattr(self, end), getattr(self, f"{end}_places")
        values = np.concatenate([mine, values], axis=1)
        places = np.concatenate([where, places], axis=1)
        # Empty slots hold -inf, which no finite value equals, so they sort last.
        order = np.lexsort((places, -values), axis=1)[:, : self.k]
        setattr(self, end, np.take_along_axis(values, order, axis=1))
        setattr(self, f"{end}_places", np.take_along_axis(places, order, axis=1))


_STATE = ("top", "top_places", "bottom", "bottom_places")
