"""Numbers that describe a tuning curve: the length of its mean vector, and bits per spike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["information_per_spike", "mean_vector_length"]

Array = NDArray[np.floating[Any]]


def mean_vector_length(curve: Array, levels: Array, period: float) -> Array:
    """Return how concentrated the curve of an angle is.

    Parameters
    ----------
    curve : array, shape (n_levels, n_units)
        Mean activity, not negative.
    levels : array, shape (n_levels,)
        The angle of each level.
    period : float
        The whole circle: 2 pi or 360.

    Returns
    -------
    array, shape (n_units,)
        Length of the mean vector of the curve: 0 for a flat one, 1 for a single direction. Each
        level counts alike, however often it was visited; NaN for a unit that is silent.

    Examples
    --------
    >>> curve = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    >>> mean_vector_length(curve, np.array([0, 90, 180, 270]), 360).round(6)
    array([0., 1.])
    """
    total = np.nansum(curve, axis=0)
    phase = np.exp(2j * np.pi * levels / period)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            np.abs(np.nansum(curve * phase, axis=0)) / np.where(total > 0, total, np.nan)
        )


def information_per_spike(curve: Array, number: NDArray[Any]) -> Array:
    """Return how much a spike tells about the level, in bits.

    Parameters
    ----------
    curve : array, shape (n_levels, n_units)
        Mean counts, or rates.
    number : array, shape (n_levels, n_units or 1)
        Observations at each level; a level without any is left out.

    Returns
    -------
    array, shape (n_units,)
        Bits per spike, biased upwards where observations are few; NaN for a unit that is silent.

    Notes
    -----
    Source: Skaggs, McNaughton, Gothard and Markus 1993, NIPS 5.

    Examples
    --------
    >>> information_per_spike(np.array([[2.0], [0.0]]), np.array([[10], [10]])).tolist()
    [1.0]
    """
    share = number / np.maximum(number.sum(axis=0), 1)
    rate = np.where(number > 0, np.maximum(curve, 0.0), 0.0)  # rounding leaves zeros below zero
    mean = (share * rate).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = rate / np.where(mean > 0, mean, np.nan)
        bits = ratio * np.log2(np.where(ratio == 0, 1.0, ratio))
    return np.asarray((share * bits).sum(axis=0))
