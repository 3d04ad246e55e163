"""Mean, deviation, skew, kurtosis, range and density of many units over any number of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nissl.statistics._chunk import Array, as_chunk, as_column, same_shape

__all__ = ["Moments"]


class Moments:
    """The first four moments of every unit, gathered chunk by chunk.

    Parameters
    ----------
    n_units : int
        Number of units.
    active_above, active_below : float or array, shape (n_units,), optional
        A unit is active where its value is above the one or below the other; density is the share
        of such samples. By default active means above zero.

    Notes
    -----
    Chunks are joined by the central moments of Chan, Golub and LeVeque (1979) and Pébay (2008),
    so that neither a large mean nor the number of chunks costs accuracy. Values that are not
    finite are counted for each unit, with the sample of the first, and left out.

    Examples
    --------
    >>> moments = Moments(1)
    >>> moments.update(np.array([[1.0], [2.0]]))
    >>> moments.update(np.array([[np.inf], [6.0]]), start=2)
    >>> found = moments.result()
    >>> float(found["mean"][0]), int(found["count"][0]), int(found["first_nonfinite"][0])
    (3.0, 3, 2)
    """

    def __init__(self, n_units: int, *, active_above: Any = 0.0, active_below: Any = -np.inf):
        self.n_units = n_units
        self.active_above = np.broadcast_to(np.asarray(active_above, float), (n_units,)).copy()
        self.active_below = np.broadcast_to(np.asarray(active_below, float), (n_units,)).copy()
        self.count = np.zeros(n_units, np.int64)
        self.active = np.zeros(n_units, np.int64)
        self.nonfinite = np.zeros(n_units, np.int64)
        self.first_nonfinite = np.full(n_units, -1, np.int64)
        # Row 0 the mean, rows 1 to 3 the sums of second to fourth powers about it.
        self.central = np.zeros((4, n_units))
        self.low = np.full(n_units, np.inf)
        self.high = np.full(n_units, -np.inf)

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
        values = as_chunk(values, self.n_units)
        rows = np.arange(len(values))
        if keep is not None:
            rows = np.flatnonzero(as_column(keep, len(values), "keep", bool))
            values = values[rows]
        if not len(values):
            return
        finite = np.isfinite(values)
        some_lost = ~finite.all(axis=0)
        first = np.where(some_lost, start + rows[np.argmin(finite, axis=0)], -1)
        nonfinite = np.sum(~finite, axis=0)
        x = np.where(finite, values, 0.0).astype(np.float64)
        count = len(values) - nonfinite
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(count > 0, x.sum(axis=0) / count, 0.0)
            d = np.where(finite, x - mean, 0.0)
        central = np.stack([mean, (d**2).sum(0), (d**3).sum(0), (d**4).sum(0)])
        on = finite & ((values > self.active_above) | (values < self.active_below))
        self._join(count, central)
        self._join_range(
            np.where(finite, values, np.inf).min(0), np.where(finite, values, -np.inf).max(0)
        )
        self.active += on.sum(axis=0)
        self._join_nonfinite(nonfinite, first)

    def merge(self, other: Moments) -> None:
        """Add what another accumulator of the same units has gathered.

        Parameters
        ----------
        other : Moments
            Unchanged.
        """
        same_shape(self.n_units, other.n_units, "units")
        self._join(other.count, other.central)
        self._join_range(other.low, other.high)
        self.active += other.active
        self._join_nonfinite(other.nonfinite, other.first_nonfinite)

    def result(self) -> dict[str, Array]:
        """Return the statistics of every unit.

        Returns
        -------
        dict of arrays, each of shape (n_units,)
            count, mean, variance and sd (over the number of samples), skew (0 for a symmetric
            unit), kurtosis (in excess of the normal's), min, max, density, nonfinite and
            first_nonfinite (-1 where there is none). NaN where a unit has no finite value, or, for
            skew and kurtosis, does not vary.
        """
        mean, m2, m3, m4 = self.central
        seen = self.count > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = m2 / self.count
            # Rounding leaves a constant unit a variance of the order of its mean's last digit.
            varies = m2 > self.count * (1e-14 * np.abs(mean)) ** 2
            skew = np.where(varies, m3 / self.count / variance**1.5, np.nan)
            kurtosis = np.where(varies, m4 / self.count / variance**2 - 3.0, np.nan)
            density = self.active / self.count
        return {
            "count": self.count.copy(),
            "mean": np.where(seen, mean, np.nan),
            "variance": variance,
            "sd": np.sqrt(variance),
            "skew": skew,
            "kurtosis": kurtosis,
            "min": np.where(seen, self.low, np.nan),
            "max": np.where(seen, self.high, np.nan),
            "density": density,
            "nonfinite": self.nonfinite.copy(),
            "first_nonfinite": self.first_nonfinite.copy(),
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
    def from_state(cls, state: Mapping[str, Array]) -> Moments:
        """Make the accumulator again from what `state` returned.

        Parameters
        ----------
        state : mapping of arrays
            What `state` returned.

        Returns
        -------
        Moments
            An accumulator that goes on where the other stood.
        """
        moments = cls(len(state["count"]))
        for name in _STATE:
            setattr(moments, name, np.array(state[name]))
        return moments

    def join_powers(self, count: Array, shift: Array, power: Array) -> None:
        """Add a chunk given as sums of the powers 1 to 4 of its values less a shift.

        Parameters
        ----------
        count : array of int, shape (n_units,)
            Finite values in the chunk.
        shift : array, shape (n_units,)
            What was taken from each value before it was raised.
        power : array, shape (4, n_units)
            The sums.
        """
        n = np.maximum(count, 1)
        s1, s2, s3, s4 = power
        d = s1 / n
        m2 = np.maximum(s2 - d * s1, 0.0)
        m3 = s3 - 3 * d * s2 + 2 * d**2 * s1
        m4 = s4 - 4 * d * s3 + 6 * d**2 * s2 - 3 * d**3 * s1
        self._join(count, np.stack([shift + d, m2, m3, m4]))

    def _join(self, count: Array, central: Array) -> None:
        a = self.count.astype(float)
        b = np.asarray(count, float)
        n = np.maximum(a + b, 1.0)
        mean, m2, m3, m4 = self.central
        mean_b, m2_b, m3_b, m4_b = central
        # An accumulator that has seen nothing has no mean; its difference must not count.
        d = np.where((a > 0) & (b > 0), mean_b - mean, 0.0)
        joined = np.empty_like(self.central)
        joined[0] = np.where(a > 0, mean + d * b / n, mean_b)
        joined[1] = m2 + m2_b + d**2 * a * b / n
        joined[2] = m3 + m3_b + d**3 * a * b * (a - b) / n**2 + 3 * d * (a * m2_b - b * m2) / n
        joined[3] = (
            m4
            + m4_b
            + d**4 * a * b * (a * a - a * b + b * b) / n**3
            + 6 * d**2 * (a * a * m2_b + b * b * m2) / n**2
            + 4 * d * (a * m3_b - b * m3) / n
        )
        self.central = np.where((b > 0)[None, :], joined, self.central)
        self.count = self.count + np.asarray(count, np.int64)

    def _join_range(self, low: Array, high: Array) -> None:
        self.low = np.minimum(self.low, low)
        self.high = np.maximum(self.high, high)

    def _join_nonfinite(self, nonfinite: Array, first: Array) -> None:
        earlier = (nonfinite > 0) & ((self.nonfinite == 0) | (first < self.first_nonfinite))
        self.first_nonfinite = np.where(earlier, first, self.first_nonfinite)
        self.nonfinite = self.nonfinite + nonfinite


_STATE = (
    "active_above",
    "active_below",
    "count",
    "active",
    "nonfinite",
    "first_nonfinite",
    "central",
    "low",
    "high",
)
