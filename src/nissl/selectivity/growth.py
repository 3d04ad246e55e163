"""How massive activations grow over training: a logarithm that an exponential damps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.methods import method

__all__ = ["Growth", "growth"]

Array = NDArray[np.floating[Any]]
# Where the search begins: damping, the last step and the first, on the axis of the curve.
DAMPING, LAST, FIRST = np.logspace(-4, 1.5, 12), np.logspace(-1, 4, 16), np.logspace(-2, 1, 10)
STARTS = 6  # the best of them, refined


@dataclass(frozen=True)
class Growth:
    """A curve ``A exp(-decay x) log(x) + K`` over ``x = scale t + offset``, with t the step.

    Parameters
    ----------
    amplitude, decay, scale, offset, baseline : float
        The five parameters: A, lambda, gamma, t0 and K of the paper.
    r2 : float
        The share of variance that the curve explains where it was fitted.

    Examples
    --------
    >>> Growth(2.0, 0.0, 1.0, 1.0, 5.0, 1.0).at([0, math.e - 1]).tolist()
    [5.0, 7.0]
    """

    amplitude: float
    decay: float
    scale: float
    offset: float
    baseline: float
    r2: float

    def at(self, steps: ArrayLike) -> Array:
        """Return the curve at steps.

        Parameters
        ----------
        steps : array
            Training steps.

        Returns
        -------
        array of float64, shape of `steps`
            In the unit of what was fitted.
        """
        x = self.scale * np.asarray(steps, dtype=float) + self.offset
        return np.asarray(self.amplitude * np.exp(-self.decay * x) * np.log(x) + self.baseline)

    @property
    def peak(self) -> float:
        """The step at which the curve turns; infinite without decay, below 0 before training."""
        from scipy.special import lambertw

        if self.decay <= 0:
            return math.inf
        return float((math.exp(lambertw(1 / self.decay).real) - self.offset) / self.scale)

    def explains(self, steps: ArrayLike, values: ArrayLike) -> float:
        """Return the share of the variance of values that the curve explains.

        Parameters
        ----------
        steps, values : array, shape (n,)
            Of checkpoints, those of the fit or others.

        Returns
        -------
        float
            At most 1; below 0 where their mean would be a better guess.
        """
        return _explained(np.asarray(values, dtype=float), self.at(steps))


@method(system=38)
def growth(steps: Sequence[int] | ArrayLike, values: ArrayLike) -> Growth:
    """Fit the five-parameter curve of massive activations to values at checkpoints.

    Parameters
    ----------
    steps : array, shape (n,)
        Training steps of the checkpoints, 0 or above.
    values : array, shape (n,)
        Of each: `layer_ratios` of a layer.

    Returns
    -------
    Growth
        By least squares. Amplitude and baseline are linear and solved for; the other three are
        searched on a grid, and refined from the best places of it.

    Raises
    ------
    NisslError
        There are fewer than seven checkpoints, values are not finite, or all are the same.

    Notes
    -----
    Parameters that differ much can give curves that differ little: the curve is what is fitted, and
    a parameter is worth as much as the checkpoints hold it.

    Source: Gallego-Feliciano et al. 2025, equations 9 and 13.

    Examples
    --------
    >>> steps = np.arange(0, 1000, 50)
    >>> fitted = growth(steps, Growth(9.0, 0.05, 0.02, 1.5, 4.0, 1.0).at(steps))
    >>> round(fitted.r2, 4)
    1.0
    """
    from scipy.optimize import least_squares

    t, y = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
    _check(t, y)
    end = t.max()

    def residual(place: Array) -> Array:
        return y - _solved(place, t / end, y)[0]

    grid = np.stack(np.meshgrid(DAMPING, LAST, FIRST, indexing="ij"), axis=-1).reshape(-1, 3)
    starts = np.log(grid)
    errors = np.asarray([np.square(residual(place)).sum() for place in starts])
    best: Any = None
    for start in starts[np.argsort(errors)[:STARTS]]:
        found = least_squares(residual, start, bounds=(-14, 14), max_nfev=300)
        if best is None or found.cost < best.cost:
            best = found
    fitted, amplitude, baseline = _solved(best.x, t / end, y)
    decay, last, first = np.exp(best.x)
    return Growth(
        float(amplitude),
        float(decay),
        float(last / end),
        float(first),
        float(baseline),
        _explained(y, fitted),
    )


def _solved(place: Array, t: Array, y: Array) -> tuple[Array, float, float]:
    """Return the best curve of given damping and axis, its amplitude and baseline."""
    decay, last, first = np.exp(place)
    x = last * t + first
    shape = np.exp(-np.minimum(decay * x, 600.0)) * np.log(x)
    d = shape - shape.mean()
    square = float(d @ d)
    amplitude = float(d @ y) / square if square > 1e-300 else 0.0
    baseline = float(y.mean() - amplitude * shape.mean())
    return amplitude * shape + baseline, amplitude, baseline


def _check(t: Array, y: Array) -> None:
    if t.ndim != 1 or t.shape != y.shape or len(t) < 7:
        raise NisslError(
            f"{t.shape} steps and {y.shape} values do not hold five parameters",
            do="give one value for each of seven checkpoints or more",
        )
    if not (np.isfinite(t).all() and np.isfinite(y).all()):
        raise NisslError("steps or values are not finite", do="leave out what was not measured")
    if t.min() < 0 or t.max() <= 0 or np.ptp(y) == 0:
        raise NisslError(
            "all values are the same" if np.ptp(y) == 0 else "steps are counted from 0",
            do="give checkpoints over which something changes",
        )


def _explained(y: Array, fitted: Array) -> float:
    return float(1 - np.square(y - fitted).sum() / np.square(y - y.mean()).sum())
