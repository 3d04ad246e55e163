"""Patterns of activity as checked numbers, and in as few dimensions as there are stimuli."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics.gram import gram

__all__ = ["coordinates", "finite"]

Array = NDArray[np.floating[Any]]


def coordinates(x: Any) -> Array:
    """Return patterns in as few dimensions as there are stimuli, with the distances they have.

    Parameters
    ----------
    x : Recording or array, shape (n_stimuli, n_units)
        Activity; of more units than stimuli it is read block by block.

    Returns
    -------
    array of float64, shape (n_stimuli, at most n_stimuli)
        Less the mean pattern.

    Raises
    ------
    NisslError
        There are fewer than four stimuli, or activity is not finite.

    Examples
    --------
    >>> coordinates(np.random.default_rng(0).standard_normal((5, 900))).shape
    (5, 4)
    """
    n, width = x.shape if hasattr(x, "shape") else np.shape(x)
    if n < 4:
        raise TooFewSamples(
            f"{n} stimuli tell no two representations apart", do="give four or more"
        )
    if width < n:
        values = finite(x)
        return np.asarray(values - values.mean(0))
    size, vectors = np.linalg.eigh(gram(x, centre=True, progress=False))
    kept = size > max(size[-1], 0) * n * np.finfo(float).eps
    return np.asarray(vectors[:, kept] * np.sqrt(size[kept]))


def finite(x: Any) -> Array:
    """Return the activity of a Recording or array in float64, or refuse NaN and infinity."""
    values = np.asarray(getattr(x, "values", x))
    if values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        raise NisslError("activity is not finite", do="leave these stimuli or units out")
    return values.astype(np.float64)
