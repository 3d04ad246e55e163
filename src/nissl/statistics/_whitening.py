"""Whitening of patterns by the covariance of noise, which is never made: products are enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics._unit_blocks import sliceable, unit_blocks
from nissl.statistics.design import column_of

__all__ = ["Whitening"]

Array = NDArray[np.floating[Any]]
Rows = NDArray[np.int64]
SIZE = 1024  # units in a block


class Whitening:
    """Patterns of runs, each to be whitened by the covariance of its residuals.

    Patterns are stacked on residuals, so that their products are all that is needed. With
    residuals r as rows, the shrunk covariance is a I + b r'r, and its inverse root is
    I / sqrt(a) + r'v f(e) v'r, where e and v are the eigenvalues and -vectors of rr'.
    """

    def __init__(
        self, run: Rows, names: NDArray[Any], noise: tuple[Any, Any], covariance: str
    ) -> None:
        residuals, runs = noise
        self.n = len(run)
        self.own = [np.flatnonzero(run == i) for i in range(len(names))]
        self.variances = covariance == "diagonal"
        self.pairs: list[tuple[Rows, Rows]] = []  # patterns and residuals of one covariance
        self.noise: list[Rows] = []  # residuals whose means are taken off
        self.residuals: Any = None if residuals is None else sliceable(residuals)
        if self.residuals is None:
            return
        sliced = hasattr(self.residuals, "shape")
        if not sliced:
            parts = unit_blocks(self.residuals, SIZE)
            first = next(parts, np.empty((0, 0)))
            self.residuals = chain([first], parts)
        m = self.residuals.shape[0] if sliced else len(first)
        rec = residuals if hasattr(residuals, "coords") else None
        said = np.zeros(m) if runs is None else column_of("residual_runs", runs, m, rec)
        self.noise = [np.flatnonzero(said == name) for name in np.unique(said)]
        self.pairs = [(np.arange(self.n), np.arange(m))]
        if runs is not None and len(names) > 1:
            if not np.array_equal(np.unique(said), names):
                raise NisslError(
                    f"residuals are of runs {np.unique(said)}, patterns of {names}",
                    where="residual_runs",
                    do="give residuals of the same runs, or pool them: residual_runs=None",
                )
            self.pairs = list(zip(self.own, self.noise, strict=True))
        if min(map(len, self.noise), default=0) < 2:
            raise TooFewSamples(
                "a run has fewer than two residuals", where="residuals", do="give more, or pool"
            )
        self.count = [len(rows) for _, rows in self.pairs]
        self.fourth: list[float] = []  # sums of the fourth powers of residuals' norms
        if sliced and not self.variances and max(self.count) > self.residuals.shape[1]:
            self._shorten()

    def _shorten(self) -> None:
        """Put no more rows than units in place of residuals, of the same covariance."""
        r = _less_means(self.residuals, self.noise)
        parts = [r[rows] for _, rows in self.pairs]
        self.fourth = [float(((part**2).sum(axis=1) ** 2).sum()) for part in parts]
        parts = [np.asarray(np.linalg.qr(part, mode="r")) for part in parts]
        places = np.split(np.arange(sum(map(len, parts))), np.cumsum([*map(len, parts)])[:-1])
        self.pairs = [(own, rows) for (own, _), rows in zip(self.pairs, places, strict=True)]
        self.residuals, self.noise = np.concatenate(parts), []

    def stacked(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Yield blocks of patterns, residuals below them, less the means of runs."""
        noise = [] if self.residuals is None else unit_blocks(self.residuals, SIZE)
        at = 0
        for block, below in zip_longest(blocks, noise):
            widths = [0 if b is None else b.shape[1] for b in (block, below)]
            if self.residuals is not None and widths[0] != widths[1]:
                raise NisslError(
                    f"patterns and residuals have {widths[0]} and {widths[1]} units",
                    where=f"units from {at} on",
                    do="give residuals of the same units, in blocks of the same sizes",
                )
            x = _less_means(block, self.own)
            if below is not None:
                r = _less_means(below, self.noise)
                for own, rows in self.pairs if self.variances else []:
                    sd = np.sqrt((r[rows] ** 2).mean(axis=0))
                    if not (sd > 0).all():
                        raise NisslError(
                            "residuals of a unit do not vary",
                            where=f"unit {at + np.argmin(sd > 0)}",
                            do="leave such units out, or use covariance='shrunk'",
                        )
                    x[own] /= sd
                x = x if self.variances else np.concatenate([x, r])
            at += x.shape[1]
            yield x

    def rows(self, k: Array, n_units: int) -> Array:
        """Return what makes whitened patterns of the stack, whose products are `k`."""
        out = np.eye(self.n, len(k))
        for i, (own, rows) in enumerate([] if self.variances else self.pairs):
            rows = rows + self.n
            kernel = k[np.ix_(rows, rows)]
            values, vectors = np.linalg.eigh(kernel)
            fourth = self.fourth[i] if self.fourth else float((kernel.diagonal() ** 2).sum())
            mean, shrunk = _ledoit_wolf(values, fourth, self.count[i], n_units)
            a, b = shrunk * mean, (1 - shrunk) / self.count[i]
            some = values > 1e-13 * values[-1]
            e, v = values[some], vectors[:, some]
            f = ((a + b * e) ** -0.5 - a**-0.5) / e
            out[own, own] = a**-0.5
            out[np.ix_(own, rows)] = k[np.ix_(own, rows)] @ (v * f) @ v.T
        return out


def _ledoit_wolf(e: Array, fourth: float, count: int, n_units: int) -> tuple[float, float]:
    """Return the mean variance and the shrinkage, from the eigenvalues of products of residuals."""
    mean = float(e.sum()) / count / n_units
    if not mean > 0:
        raise NisslError("residuals do not vary", where="residuals", do="give the noise itself")
    squared = float((e**2).sum()) / count**2
    error = (fourth / count - squared) / (count * n_units)
    spread = squared / n_units - mean**2
    # One unit, or variances that are all alike, leave nothing to shrink.
    shrunk = min(error, spread) / spread if min(error, spread) > 0 else 0.0
    return mean, max(shrunk, 1e-7)  # less would cost the products more digits than it is worth


def _less_means(values: Any, groups: list[Rows]) -> Array:
    """Return a float64 copy less the mean of each group of rows."""
    x = np.array(values, dtype=np.float64)
    for rows in groups:
        x[rows] -= x[rows].mean(axis=0)
    return x
