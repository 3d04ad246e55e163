"""Predictions: how well samples that were left out are predicted, against predictions moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.progress import tracked
from nissl.statistics.decoding_null import decoding_null
from nissl.statistics.finding import Finding
from nissl.statistics.pvalues import against_null
from nissl.statistics.test import Test

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["against_moved", "prediction_correlation"]

Array = NDArray[np.floating[Any]]


def against_moved(
    y: Array,
    predicted: Array,
    fold: NDArray[np.int64],
    predictors: Array,
    *,
    units: Sequence[str] | pd.DataFrame,
    method: str,
    test: Test = Test(),
    progress: bool = True,
) -> Finding:
    """Correlate responses and predictions within folds, against predictions moved inside them.

    Parameters
    ----------
    y, predicted : array, shape (n_samples, n_units)
        Responses, and what a model that was fitted to the other folds says of them.
    fold : array of int, shape (n_samples,)
        0, 1, ...
    predictors : array, shape (n_samples, ...)
        What predictions are made of: how it hangs together in time chooses the null.
    units : sequence of str, or DataFrame of n_units rows
        Addresses, or ``unit`` and what else is known of each.
    method : str
        What the finding is of.
    test : Test
        Draws (1,000) as `decoding_null` makes them, tail, correction over units, seed.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        A row for each unit: ``correlation``.

    Raises
    ------
    NotExchangeable
        Responses hang together over what would be moved.

    Examples
    --------
    >>> y = np.random.default_rng(0).standard_normal((60, 2))
    >>> how = {"units": ["a", "b"], "method": "encode", "progress": False}
    >>> found = against_moved(y, y * [1, -1], np.arange(60) // 20, y, test=Test(99), **how)
    >>> found.significant().units
    ['a']
    """
    # A few random sums of predictors say how they hang together in time, and cost little.
    flat = predictors.reshape(len(predictors), -1)
    sums = flat @ np.random.default_rng(0).standard_normal((flat.shape[1], 4))
    orders, null = decoding_null(sums, fold, test.draws(1000), values=y, seed=test.seed)
    a, b = (_standardised(z, fold) for z in (y, predicted))
    moved = tracked(orders, "Moving predictions", unit="draws", progress=progress)
    draws = np.stack([(a * b[order]).sum(0) for order in moved])
    how: Any = {"score": "correlation", "method": method, "null": null, "test": test}
    return against_null((a * b).sum(0), draws, units=units, alternative="greater", **how)


def prediction_correlation(y: Array, predicted: Array, fold: NDArray[np.int64]) -> Array:
    """Return the correlation of responses and predictions within folds, shape (n_units,).

    Across folds, what is left out has another mean than the rest.

    Examples
    --------
    >>> y = np.array([[1.0], [2.0], [11.0], [12.0]])
    >>> prediction_correlation(y, y * [[1], [1], [0], [0]], np.array([0, 0, 1, 1])).round(2)
    array([0.71])
    """
    return np.asarray((_standardised(y, fold) * _standardised(predicted, fold)).sum(0))


def _standardised(z: Array, fold: NDArray[np.int64]) -> Array:
    """Return values less their fold's mean, of norm one over all samples."""
    sums = np.zeros((fold.max() + 1, z.shape[1]))
    np.add.at(sums, fold, z)
    z = z - (sums / np.bincount(fold)[:, None])[fold]
    size = np.linalg.norm(z, axis=0)
    return np.asarray(z / np.where(size > 0, size, 1))
