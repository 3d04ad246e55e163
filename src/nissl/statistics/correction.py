"""Correction over every axis that was searched: maximum statistic, Benjamini-Hochberg, Bonferroni.

Give each function the p-values of the whole search (units x labels x layers), not of one slice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError

__all__ = ["benjamini_hochberg", "bonferroni", "max_statistic"]

Array = NDArray[np.floating[Any]]


def max_statistic(
    observed: ArrayLike, maxima: ArrayLike, *, tail: str = "permutation", tolerance: float = 0.0
) -> Array:
    """Correct by the distribution of the largest score of the whole search, in one step.

    Controls the chance of even one false row, whatever depends on what.

    Parameters
    ----------
    observed : array, any shape
        Scores, larger is more extreme, comparable with each other (standardised by their nulls).
    maxima : array, shape (n_draws,)
        The largest score over the whole search in each draw.
    tail : {"permutation", "gpd"}
        How to go below 1 / (n_draws + 1): not at all, or by a generalised Pareto fit to `maxima`.
    tolerance : float
        Draws this much below an observed score count as equal to it (rounding of scores).

    Returns
    -------
    array of float64, the shape of `observed`
        Corrected p-values, with the +1 rule.

    Notes
    -----
    Source: Westfall and Young 1993, "Resampling-based multiple testing", single-step maxT.

    Examples
    --------
    >>> max_statistic([5.0, 0.0], [1.0, 2.0, 3.0]).tolist()
    [0.25, 1.0]
    """
    scores, largest = np.asarray(observed, dtype=float), np.sort(np.asarray(maxima, dtype=float))
    n = len(largest)
    reached = n - np.searchsorted(largest, scores - tolerance, side="left")
    p = (1 + reached) / (n + 1)
    if tail == "gpd":
        from nissl.statistics.tails import gpd_tail

        few = np.flatnonzero(reached.ravel() < 10)
        if len(few):
            # One fit serves every score: the draws are the same maxima.
            extreme, good = gpd_tail(scores.ravel()[few], largest[:, None])
            flat = p.ravel()
            flat[few] = np.where(good, extreme, flat[few])
            p = flat.reshape(p.shape)
    return np.asarray(p)


def benjamini_hochberg(p: ArrayLike) -> Array:
    """Return q-values: the least false discovery rate at which each row is found.

    Parameters
    ----------
    p : array, any shape
        All p-values of the search.

    Returns
    -------
    array of float64, the shape of `p`
        Adjusted p-values, at most 1.

    Raises
    ------
    NisslError
        A p-value is NaN or not between 0 and 1.

    Notes
    -----
    Holds under independence and positive regression dependence. Source: Benjamini and Hochberg
    1995, Journal of the Royal Statistical Society B 57, 289.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.5]).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.5]
    """
    values = _checked(p)
    flat = values.ravel()
    order = np.argsort(-flat, kind="stable")
    rank = np.arange(len(flat), 0, -1)
    q = np.empty_like(flat)
    q[order] = np.minimum(np.minimum.accumulate(flat[order] * len(flat) / rank), 1.0)
    return q.reshape(values.shape)


def bonferroni(p: ArrayLike) -> Array:
    """Multiply every p-value by their number.

    Parameters
    ----------
    p : array, any shape
        All p-values of the search.

    Returns
    -------
    array of float64, the shape of `p`
        Adjusted p-values, at most 1.

    Raises
    ------
    NisslError
        A p-value is NaN or not between 0 and 1.

    Examples
    --------
    >>> bonferroni([0.01, 0.4, 0.5]).tolist()
    [0.03, 1.0, 1.0]
    """
    values = _checked(p)
    return np.asarray(np.minimum(values * values.size, 1.0))


def _checked(p: ArrayLike) -> Array:
    values = np.asarray(p, dtype=float)
    if not np.all((values >= 0) & (values <= 1)):
        raise NisslError(
            "p-values must lie between 0 and 1", do="leave out what could not be tested"
        )
    return values
