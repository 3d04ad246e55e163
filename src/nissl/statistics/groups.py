"""Mean activity of every unit by group of samples, and how much of its variance groups explain.

Groups are whatever is coded 0, 1, 2, ...: positions in a window, documents, stimuli.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.statistics._chunk import Array, as_chunk, as_column, same_shape

__all__ = ["GroupMeans", "position_groups"]


class GroupMeans:
    """Means by group and the share of variance between groups, gathered chunk by chunk.

    Parameters
    ----------
    n_units : int
        Number of units.
    n_groups : int
        Number of groups.

    Notes
    -----
    The share is given twice: eta squared, the variance between groups over the whole, which grows
    with the number of groups even where there is nothing; and omega squared (Hays 1963), which is
    corrected for that and lies around zero where there is nothing. A unit with a value that is not
    finite has neither (NaN).

    Examples
    --------
    >>> means = GroupMeans(1, 2)
    >>> means.update(np.array([[1.0], [3.0], [9.0], [11.0]]), groups=[0, 0, 1, 1])
    >>> found = means.result()
    >>> found["mean"][:, 0].tolist(), round(float(found["omega_squared"][0]), 2)
    ([2.0, 10.0], 0.89)
    """

    def __init__(self, n_units: int, n_groups: int):
        self.n_units = n_units
        self.n_groups = n_groups
        self.count = np.zeros(n_groups, np.int64)
        self.shift = np.zeros(n_units)
        self.sums = np.zeros((n_groups, n_units))
        self.squares = np.zeros(n_units)
        self.nonfinite = np.zeros(n_units, np.int64)

    def update(self, values: Any, start: int = 0, *, groups: Any, keep: Any = None) -> None:
        """Add a chunk.

        Parameters
        ----------
        values : array, shape (n_rows, n_units)
            Activity.
        start : int
            Place of the first row; all accumulators take it, this one has no use for it.
        groups : array of int, shape (n_rows,)
            Group of each row; rows of group -1 are passed over.
        keep : array of bool, shape (n_rows,), optional
            Rows to count; the others are passed over.
        """
        from nissl.statistics._groups_kernel import add_groups

        values = as_chunk(values, self.n_units)
        codes = as_column(groups, len(values), "groups", np.int64)
        if keep is not None:
            codes = np.where(as_column(keep, len(values), "keep", bool), codes, -1)
        if len(codes) and codes.max() >= self.n_groups:
            raise NisslError(
                f"group {codes.max()} in an accumulator of {self.n_groups} groups",
                do="code the groups 0, 1, 2, ..., and -1 for rows without one",
            )
        rows = np.flatnonzero(codes >= 0)
        if not len(rows):
            return
        if not self.count.any():
            head = values[rows[:64]].astype(np.float64)
            finite = np.isfinite(head)
            total = np.where(finite, head, 0).sum(axis=0)
            self.shift = (total / np.maximum(finite.sum(axis=0), 1)).astype(np.float32) * 1.0
        shift = self.shift.astype(values.dtype)
        add_groups(values, codes, shift, self.sums, self.squares, self.nonfinite)
        self.count += np.bincount(codes[rows], minlength=self.n_groups)

    def merge(self, other: GroupMeans) -> None:
        """Add what another accumulator of the same units and groups has gathered.

        Parameters
        ----------
        other : GroupMeans
            Unchanged.
        """
        mine = (self.n_units, self.n_groups)
        same_shape(mine, (other.n_units, other.n_groups), "(units, groups)")
        if not self.count.any():
            self.shift = other.shift.copy()
        d = other.shift - self.shift
        self.squares += other.squares + 2 * d * other.sums.sum(0) + other.count.sum() * d**2
        self.sums += other.sums + other.count[:, None] * d
        self.count += other.count
        self.nonfinite += other.nonfinite

    def result(self) -> dict[str, Array]:
        """Return means and shares.

        Returns
        -------
        dict of arrays
            ``count``, shape (n_groups,); ``mean``, shape (n_groups, n_units), NaN for empty groups;
            ``eta_squared`` and ``omega_squared``, shape (n_units,), NaN for units that do not vary
            and where there are fewer than two groups or no more samples than groups.
        """
        n = self.count.sum()
        some = self.count > 0
        n_groups = int(some.sum())
        with np.errstate(invalid="ignore", divide="ignore"):
            offsets = self.sums / self.count[:, None]
            grand = self.sums.sum(axis=0) / n
            total = self.squares - n * grand**2
            # What rounding leaves of a unit that does not vary is not a variance.
            least = 1e-12 * self.squares + n * (1e-14 * (np.abs(self.shift) + np.abs(grand))) ** 2
            varies = (total > least) & (self.nonfinite == 0)
            total = np.where(varies & (n_groups > 1) & (n > n_groups), total, np.nan)
            between = (self.count[some, None] * (offsets[some] - grand) ** 2).sum(axis=0)
            within = np.maximum(total - between, 0) / (n - n_groups)
            omega = (between - (n_groups - 1) * within) / (total + within)
            eta = between / total
        return {
            "count": self.count.copy(),
            "mean": np.where(self.nonfinite == 0, self.shift + offsets, np.nan),
            "eta_squared": eta,
            "omega_squared": omega,
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
    def from_state(cls, state: Mapping[str, Array]) -> GroupMeans:
        """Make the accumulator again from what `state` returned.

        Parameters
        ----------
        state : mapping of arrays
            What `state` returned.

        Returns
        -------
        GroupMeans
            An accumulator that goes on where the other stood.
        """
        n_groups, n_units = np.shape(state["sums"])
        means = cls(n_units, n_groups)
        for name in _STATE:
            setattr(means, name, np.array(state[name]))
        return means


def position_groups(n_positions: int, *, each: int = 16) -> Array:
    """Return a group for every position: one for each of the first, then half-octaves.

    Activity changes quickly over the first positions of a window and slowly later, so few groups
    hold nearly all that position explains.

    Parameters
    ----------
    n_positions : int
        Positions in a window.
    each : int
        How many of the first positions are groups of their own.

    Returns
    -------
    array of int, shape (n_positions,)
        Group of each position.

    Examples
    --------
    >>> position_groups(12, each=4).tolist()
    [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6]
    """
    position = np.arange(n_positions)
    half_octave = np.floor(2 * np.log2(np.maximum(position, each) / each) + 1e-9).astype(int)
    groups: Array = np.where(position < each, position, each + half_octave)
    return groups


_STATE = ("count", "shift", "sums", "squares", "nonfinite")
