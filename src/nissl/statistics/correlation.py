"""Correlation of every unit with every other, over any number of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nissl.statistics._chunk import Array, as_chunk, same_shape

__all__ = ["Correlation"]

ROWS = 2048  # rows centred at a time, so that the copy stays in the last-level cache
FLUSH = 8192  # rows summed in float32 before they go into float64


class Correlation:
    """Pearson correlation of units, gathered chunk by chunk.

    Parameters
    ----------
    n_x : int
        Number of units.
    n_y : int, optional
        Number of units of a second array, to be correlated with those of the first. Without it
        the units are correlated with each other, at half the cost.

    Notes
    -----
    Products are taken about the mean of the first chunk, by the BLAS's symmetric product where
    there is one array. float32 chunks are multiplied in float32 and summed in float64 after every
    8,192 rows: correlations are right to about 1e-6. Memory is 12 bytes a pair; for all pairs of
    many units use `best_partners`. A unit with a value that is not finite has no correlation: the
    others are left as they are.

    Examples
    --------
    >>> correlation = Correlation(2)
    >>> correlation.update(np.array([[1.0, 2.0], [2.0, 4.1], [3.0, 5.9]]))
    >>> correlation.result()["r"].round(3).tolist()
    [[1.0, 0.999], [0.999, 1.0]]
    """

    def __init__(self, n_x: int, n_y: int | None = None):
        self.n_x = n_x
        self.n_y = n_y
        self.count = 0
        self.products = np.zeros((n_x, n_x if n_y is None else n_y), order="F")
        self.x = _Side(n_x)
        self.y = self.x if n_y is None else _Side(n_y)
        self._recent = np.zeros((0, 0), np.float32)
        self._recent_rows = 0

    def update(self, x: Any, y: Any = None, start: int = 0) -> None:
        """Add a chunk.

        Parameters
        ----------
        x : array, shape (n_rows, n_x)
            Activity.
        y : array, shape (n_rows, n_y), optional
            Activity of the second array in the same samples; where there is one.
        start : int
            Place of the first row among all samples.
        """
        x = as_chunk(x, self.n_x)
        if self.n_y is not None:
            y = as_chunk(y, self.n_y)
            same_shape(len(x), len(y), "rows")
        for first in range(0, len(x), ROWS):
            rows = slice(first, first + ROWS)
            a = self.x.centred(x[rows], start + first)
            b = a
            if self.n_y is not None:
                b = self.y.centred(y[rows], start + first)
                self.x.square(a)
                self.y.square(b)
            self._add(a, b)
            self.count += len(a)

    def merge(self, other: Correlation) -> None:
        """Add what another accumulator of the same units has gathered.

        Parameters
        ----------
        other : Correlation
            Its sums are brought up to date, and are otherwise unchanged.
        """
        same_shape((self.n_x, self.n_y), (other.n_x, other.n_y), "(n_x, n_y)")
        self._flush()
        other._flush()
        if not other.count:
            return
        if not self.count:
            self.x.shift = other.x.shift.copy()
            self.y.shift = other.y.shift.copy()
        dx, dy = other.x.shift - self.x.shift, other.y.shift - self.y.shift
        self.products += other.products
        self.products += np.outer(other.x.total, dy) + np.outer(dx, other.y.total)
        self.products += other.count * np.outer(dx, dy)
        self.x.merge(other.x, other.count, dx)
        if self.n_y is not None:
            self.y.merge(other.y, other.count, dy)
        self.count += other.count

    def result(self) -> dict[str, Array]:
        """Return the correlations.

        Returns
        -------
        dict of arrays
            ``r``, shape (n_x, n_y or n_x), NaN for units that do not vary or had values that were
            not finite; ``mean`` and ``sd`` of the first array's units, shape (n_x,), and ``mean_y``
            and ``sd_y``; ``nonfinite`` and ``first_nonfinite``, shape (n_x,).
        """
        self._flush()
        n = max(self.count, 1)
        covariance = self.products / n
        if self.n_y is None:
            # The symmetric product fills one triangle only.
            covariance = np.tril(covariance) + np.tril(covariance, -1).T
            self.x.squares = self.products.diagonal().copy()
        covariance -= np.outer(self.x.total / n, self.y.total / n)
        mean_x, sd_x = self.x.moments(n)
        mean_y, sd_y = self.y.moments(n)
        with np.errstate(invalid="ignore", divide="ignore"):
            r = covariance / sd_x[:, None] / sd_y
        return {
            "r": np.ascontiguousarray(np.clip(r, -1, 1)),
            "mean": mean_x,
            "sd": sd_x,
            "mean_y": mean_y,
            "sd_y": sd_y,
            "nonfinite": self.x.nonfinite.copy(),
            "first_nonfinite": self.x.first_nonfinite.copy(),
        }

    def state(self) -> dict[str, Array]:
        """Return everything gathered, as arrays to be saved.

        Returns
        -------
        dict of arrays
            What `from_state` takes.
        """
        self._flush()
        sides = {"x": self.x} if self.n_y is None else {"x": self.x, "y": self.y}
        return {
            "count": np.array(self.count),
            "products": self.products.copy(order="K"),
            **{f"{s}.{n}": getattr(side, n).copy() for s, side in sides.items() for n in _SIDE},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> Correlation:
        """Make the accumulator again from what `state` returned.

        Parameters
        ----------
        state : mapping of arrays
            What `state` returned.

        Returns
        -------
        Correlation
            An accumulator that goes on where the other stood.
        """
        n_x, n_y = np.shape(state["products"])
        correlation = cls(n_x, n_y if "y.shift" in state else None)
        correlation.count = int(state["count"])
        correlation.products = np.array(state["products"], order="F")
        for name in _SIDE:
            setattr(correlation.x, name, np.array(state[f"x.{name}"]))
            if correlation.n_y is not None:
                setattr(correlation.y, name, np.array(state[f"y.{name}"]))
        return correlation

    def _add(self, a: Any, b: Any) -> None:
        from scipy.linalg import blas

        single = a.dtype == b.dtype == np.float32
        if not single:
            a, b = a.astype(np.float64, copy=False), b.astype(np.float64, copy=False)
        elif not self._recent.size:
            self._recent = np.zeros(self.products.shape, np.float32, order="F")
        sums: Any = self._recent if single else self.products
        # The transposes are in Fortran's order already: the BLAS takes them without a copy.
        if self.n_y is None:
            syrk: Any = blas.ssyrk if single else blas.dsyrk
            # The lower triangle is the quicker one by a twentieth.
            sums = syrk(1.0, a.T, beta=1.0, c=sums, overwrite_c=1, lower=1)
        else:
            gemm: Any = blas.sgemm if single else blas.dgemm
            sums = gemm(1.0, a.T, b.T, trans_b=1, beta=1.0, c=sums, overwrite_c=1)
        if single:
            self._recent = sums
            self._recent_rows += len(a)
            if self._recent_rows >= FLUSH:
                self._flush()
        else:
            self.products = sums

    def _flush(self) -> None:
        if self._recent_rows:
            self.products += self._recent
            self._recent[...] = 0
            self._recent_rows = 0


class _Side:
    """Sums of one array's units about their first mean."""

    def __init__(self, n_units: int):
        self.shift = np.zeros(n_units)
        self.total = np.zeros(n_units)
        self.squares = np.zeros(n_units)
        self.seen = np.array(False)
        self.nonfinite = np.zeros(n_units, np.int64)
        self.first_nonfinite = np.full(n_units, -1, np.int64)
        # Fresh memory for every chunk would cost more than the subtraction.
        self._buffer: Array = np.empty((0, 0))

    def centred(self, values: Array, start: int) -> Array:
        """Return the values less the shift, those not finite put to zero; valid until next time."""
        if not self.seen and len(values):
            finite = np.isfinite(values)
            n = np.maximum(finite.sum(axis=0), 1)
            # What float32 can hold exactly, so that both precisions take off the same number.
            mean = np.where(finite, values, 0).sum(axis=0, dtype=np.float64) / n
            self.shift = mean.astype(np.float32).astype(np.float64)
            self.seen = np.array(True)
        if self._buffer.shape != values.shape or self._buffer.dtype != values.dtype:
            self._buffer = np.empty_like(values)
        d: Array = np.subtract(values, self.shift.astype(values.dtype), out=self._buffer)
        # A product with ones is the quickest sum, and shows what is not finite.
        total = np.ones(len(d), d.dtype) @ d
        bad = np.flatnonzero(~np.isfinite(total))
        if len(bad):
            lost = ~np.isfinite(values[:, bad])
            some = lost.any(axis=0)
            place = np.where(some, start + np.argmax(lost, axis=0), -1)
            self._join_nonfinite(bad, lost.sum(axis=0), place)
            d[:, bad] = np.where(lost, 0, d[:, bad])
            total[bad] = d[:, bad].sum(axis=0, dtype=np.float64)
        self.total += total
        return d

    def square(self, d: Array) -> None:
        """Add the squares of centred values, which a symmetric product has on its diagonal."""
        self.squares += np.einsum("ru,ru->u", d, d)

    def merge(self, other: _Side, count: int, d: Array) -> None:
        self.squares += other.squares + 2 * d * other.total + count * d**2
        self.total += other.total + count * d
        self.seen = np.array(True)
        some = np.flatnonzero(other.nonfinite)
        self._join_nonfinite(some, other.nonfinite[some], other.first_nonfinite[some])

    def moments(self, n: int) -> tuple[Array, Array]:
        mean = self.total / n
        variance = self.squares / n - mean**2
        # What rounding leaves of a unit that does not vary is not a variance.
        least = 1e-12 * self.squares / n + (1e-14 * (self.shift + mean)) ** 2
        varies = (variance > least) & (self.nonfinite == 0)
        return self.shift + mean, np.where(varies, np.sqrt(np.maximum(variance, 0)), np.nan)

    def _join_nonfinite(self, units: Array, lost: Array, place: Array) -> None:
        before = self.nonfinite[units]
        first = self.first_nonfinite[units]
        earlier = (lost > 0) & ((before == 0) | (place < first))
        self.first_nonfinite[units] = np.where(earlier, place, first)
        self.nonfinite[units] = before + lost


_SIDE = ("shift", "total", "squares", "seen", "nonfinite", "first_nonfinite")
