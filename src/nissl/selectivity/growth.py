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
from nissl.statistics.curve_fit import FittedCurve, checkpoints, separable_fit

__all__ = ["Growth", "growth"]

Array = NDArray[np.floating[Any]]
# Where the search begins: damping, the last step and the first, on the axis of the curve.
DAMPING, LAST, FIRST = np.logspace(-4, 1.5, 12), np.logspace(-1, 4, 16), np.logspace(-2, 1, 10)
STARTS = 6  # the best of them, refined


@dataclass(frozen=True)
class Growth(FittedCurve):
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

    def at(self, x: ArrayLike) -> Array:
        """Return the curve at training steps, in the unit of what was fitted."""
        x = self.scale * np.asarray(x, dtype=float) + self.offset
        return np.asarray(self.amplitude * np.exp(-self.decay * x) * np.log(x) + self.baseline)

    @property
    def peak(self) -> float:
        """The step at which the curve turns; infinite without decay, below 0 before training."""
        from scipy.special import lambertw

        if self.decay <= 0:
            return math.inf
        return float((math.exp(lambertw(1 / self.decay).real) - self.offset) / self.scale)


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
        By least squares: amplitude and baseline are solved for, the other three searched.

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
    t, y = checkpoints(steps, values, n_parameters=5, least=7)
    if t.min() < 0:
        raise NisslError("steps are counted from 0", do="leave out what was before training")
    end = t.max()

    def shape(place: Array) -> Array:
        decay, last, first = place
        x = last * (t / end) + first
        return np.asarray(np.exp(-np.minimum(decay * x, 600.0)) * np.log(x))

    grids, edges = (DAMPING, LAST, FIRST), (-14, 14)
    found = separable_fit(shape, y, grids=grids, bounds=edges, starts=STARTS)
    decay, last, first = map(float, found.place)
    return Growth(found.amplitude, decay, float(last / end), first, found.offset, found.r2)
