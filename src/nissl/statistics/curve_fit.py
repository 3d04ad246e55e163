"""Curves fitted by separable least squares: a shape by search, its amplitude and offset solved for.

What goes over training, such as a share or a norm at checkpoints, is followed by few parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError

__all__ = ["FittedCurve", "SeparableFit", "checkpoints", "r_squared", "separable_fit"]

Array = NDArray[np.floating[Any]]


class FittedCurve:
    """A curve that was fitted; `at` is its own."""

    def at(self, x: ArrayLike) -> Array:
        """Return the curve at places, in the unit of what was fitted."""
        raise NotImplementedError

    def explains(self, x: ArrayLike, y: ArrayLike) -> float:
        """Return the share of the variance of values that the curve explains.

        Parameters
        ----------
        x, y : array, shape (n,)
            Of checkpoints, those of the fit or others.

        Returns
        -------
        float
            At most 1; below 0 where their mean would be a better guess.
        """
        return r_squared(np.asarray(y, dtype=float), self.at(x))


class SeparableFit(NamedTuple):
    """Parameters of the shape, what is multiplied and added, and the variance explained."""

    place: Array
    amplitude: float
    offset: float
    r2: float


def separable_fit(
    shape: Callable[[Array], Array],
    y: Array,
    *,
    grids: Sequence[Array],
    bounds: tuple[Any, Any],
    starts: int,
) -> SeparableFit:
    """Fit ``amplitude * shape(place) + offset`` by least squares.

    Parameters
    ----------
    shape : callable
        Given the parameters, all above 0, returns an array like `y`.
    y : array, shape (n,)
        The values.
    grids : sequence of array
        For each parameter, where it is tried first.
    bounds : tuple of least and most
        Of the logarithms of the parameters.
    starts : int
        How many of the best places of the grid are refined.

    Returns
    -------
    SeparableFit
        The best.

    Notes
    -----
    Source: Golub and Pereyra 1973 (variable projection): amplitude and offset are linear, and
    solved for at each place, so that the search is over the others alone.

    Examples
    --------
    >>> x = np.linspace(0, 3, 20)
    >>> found = separable_fit(lambda place: np.exp(-place[0] * x), 4 * np.exp(-2 * x) + 1,
    ...                       grids=[np.array([0.5, 1.0, 5.0])], bounds=(-3, 3), starts=1)
    >>> found.place.round(3).tolist(), round(found.amplitude, 3), round(found.offset, 3)
    ([2.0], 4.0, 1.0)
    """
    from scipy.optimize import least_squares

    def solved(place: Array) -> tuple[Array, float, float]:
        form = shape(np.exp(place))
        d = form - form.mean()
        square = float(d @ d)
        amplitude = float(d @ y) / square if square > 1e-300 else 0.0
        offset = float(y.mean() - amplitude * form.mean())
        return amplitude * form + offset, amplitude, offset

    def residual(place: Array) -> Array:
        return y - solved(place)[0]

    grid = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, len(grids))
    tried = np.log(grid)
    errors = [np.square(residual(place)).sum() for place in tried]
    fits = [
        least_squares(residual, tried[i], bounds=bounds, max_nfev=300)
        for i in np.argsort(errors)[:starts]
    ]
    best: Any = min(fits, key=lambda fit: float(fit.cost))
    fitted, amplitude, offset = solved(best.x)
    return SeparableFit(np.exp(best.x), amplitude, offset, r_squared(y, fitted))


def r_squared(y: Array, fitted: Array) -> float:
    """Return the share of the variance of `y` that is explained."""
    return float(1 - np.square(y - fitted).sum() / np.square(y - y.mean()).sum())


def checkpoints(x: ArrayLike, y: ArrayLike, *, n_parameters: int, least: int) -> list[Array]:
    """Return places and values as floats, and refuse those that no curve can be fitted to."""
    places, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if places.ndim != 1 or places.shape != values.shape or len(places) < least:
        raise NisslError(
            f"{places.shape} places and {values.shape} values do not hold {n_parameters} "
            "parameters",
            do=f"give one value for each of {least} checkpoints or more",
        )
    if not (np.isfinite(places).all() and np.isfinite(values).all()):
        raise NisslError("a value is not finite", do="leave out what was not measured")
    if np.ptp(values) == 0 or np.ptp(places) == 0:
        raise NisslError("all values are the same", do="give checkpoints over which they change")
    return [places, values]
