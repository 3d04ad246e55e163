"""A unit's activity around its most extreme samples, kept while the network reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.corpus import AFTER, BEFORE
from nissl.statistics import Extremes

__all__ = ["Contexts"]

Array = NDArray[Any]


class Contexts:
    """Activity around the first few of a unit's extremes at each end.

    Parameters
    ----------
    n_units : int
        Number of units.
    n_top, n_bottom : int
        For how many of the highest and lowest places it is kept.

    Notes
    -----
    A window is never cut by a chunk, so a context is whole when its sample is seen; what has left
    the list of extremes is overwritten.

    Examples
    --------
    >>> extremes, contexts = Extremes(1, k=1), Contexts(1, n_top=1, n_bottom=1)
    >>> x = np.array([[1.0], [5.0], [2.0]], np.float32)
    >>> extremes.update(x)
    >>> contexts.update(x, 0, extremes, first_row=np.zeros(3, int), end_row=np.full(3, 3))
    >>> contexts.activity("top")[0, 0, 23:27].tolist()
    [1.0, 5.0, 2.0, 0.0]
    """

    def __init__(self, n_units: int, *, n_top: int = 8, n_bottom: int = 4):
        self.places = np.full((n_units, n_top + n_bottom), -1, np.int64)
        self.values = np.zeros((n_units, n_top + n_bottom, BEFORE + 1 + AFTER), np.float32)
        self.n_top = n_top

    def update(
        self, values: Array, start: int, extremes: Extremes, *, first_row: Array, end_row: Array
    ) -> None:
        """Follow the extremes after they have seen the same chunk.

        Parameters
        ----------
        values : array, shape (n_rows, n_units)
            The chunk.
        start : int
            Place of its first row among all samples.
        extremes : Extremes
            What has just been updated with the chunk.
        first_row, end_row : array of int, shape (n_rows,)
            Context of each row, in places among all samples.
        """
        from nissl.atlas._contexts_kernel import update_contexts

        n_bottom = self.places.shape[1] - self.n_top
        now = np.concatenate(
            [extremes.top_places[:, : self.n_top], extremes.bottom_places[:, :n_bottom]], axis=1
        )
        update_contexts(
            values,
            start,
            now,
            np.asarray(first_row),
            np.asarray(end_row),
            BEFORE,
            self.places,
            self.values,
        )

    def activity(self, end: str) -> Array:
        """Return what is kept at one end.

        Parameters
        ----------
        end : {"top", "bottom"}
            Which.

        Returns
        -------
        array, shape (n_units, n, BEFORE + 1 + AFTER)
            Activity; the extreme itself is at BEFORE, and what lies beyond its window is zero.
        """
        return self.values[:, : self.n_top] if end == "top" else self.values[:, self.n_top :]

    def state(self) -> dict[str, Array]:
        """Return everything kept, as arrays to be saved.

        Returns
        -------
        dict of arrays
            What `from_state` takes.
        """
        return {"places": self.places, "values": self.values, "n_top": np.array(self.n_top)}

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> Contexts:
        """Make it again from what `state` returned.

        Parameters
        ----------
        state : mapping of arrays
            What `state` returned.

        Returns
        -------
        Contexts
            It goes on where the other stood.
        """
        contexts = cls(0)
        contexts.places, contexts.values = np.array(state["places"]), np.array(state["values"])
        contexts.n_top = int(state["n_top"])
        return contexts
