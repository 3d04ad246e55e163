"""Units with zero mean and unit norm, read tile by tile: their products are correlations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nissl.statistics._chunk import Array

__all__ = ["ROWS", "standardised"]

ROWS = 4096  # samples read at a time


def standardised(values: Any, *, tile: int = 4096) -> tuple[Callable[[slice, Any], Array], Array]:
    """Return a reader of units with zero mean and unit norm over all samples, and their norms.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity. Anything whose slices are arrays: in memory, mapped from a file, or a recording.
    tile : int
        Units read at a time, to find means and norms.

    Returns
    -------
    read : callable
        ``read(rows, units)`` gives float32, shape (n_rows, n_units), of a slice of samples and a
        slice or places of units; zero for units that do not vary or have a value that is not
        finite.
    norm : array of float64, shape (n_units,)
        The norm of each unit about its mean; 0 for those units.

    Examples
    --------
    >>> read, norm = standardised(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> (read(slice(0, 2), slice(0, 2)) * norm).round(3).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    n_samples, n_units = values.shape
    mean, square = np.zeros(n_units), np.zeros(n_units)
    for a in range(0, n_units, tile):
        for first in range(0, n_samples, ROWS):
            part = np.asarray(values[first : first + ROWS, a : a + tile])
            mean[a : a + tile] += part.sum(axis=0, dtype=np.float64)
    mean /= n_samples
    for a in range(0, n_units, tile):
        for first in range(0, n_samples, ROWS):
            part = np.asarray(values[first : first + ROWS, a : a + tile])
            d = part - mean[a : a + tile]
            square[a : a + tile] += np.einsum("ru,ru->u", d, d)
    varies = np.isfinite(square) & (square > n_samples * (1e-13 * mean) ** 2)
    norm = np.sqrt(np.where(varies, square, 0.0))
    inverse = np.divide(1, norm, out=np.zeros(n_units), where=varies).astype(np.float32)
    # Where the mean is large the difference is taken before it becomes float32.
    large = np.abs(mean) * np.sqrt(n_samples) > 16 * norm
    exact = np.where(varies, mean, 0.0)
    shift = exact.astype(np.float32)

    def read(rows: slice, units: Any) -> Array:
        part: Array = np.asarray(values[rows, units])
        if (large & varies)[units].any():
            part = (part - exact[units]).astype(np.float32)
        else:
            part = np.asarray(part, np.float32) - shift[units]
        part *= inverse[units]
        part[:, ~varies[units]] = 0.0
        return part

    return read, norm
