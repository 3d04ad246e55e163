"""Effect sizes of every unit at once: AUROC, average precision, Cohen's d, mutual information."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.statistics.nulls import codes
from nissl.statistics.scores import FAR, LINEAR, exact_cohens_d, linear_scores, ranked_scores, ranks

__all__ = ["auroc", "average_precision", "cohens_d", "mutual_information"]

Array = NDArray[np.floating[Any]]


def auroc(values: ArrayLike, labels: ArrayLike) -> Array:
    """Return the chance that a positive sample is more active than a negative one.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity.
    labels : array of bool, shape (n_samples,)
        Which samples are positive.

    Returns
    -------
    array of float64, shape (n_units,)
        Between 0 and 1; 0.5 is none; ties count one half. NaN where activity is not finite.

    Raises
    ------
    NisslError
        Shapes do not fit, or there is only one kind of sample.

    Notes
    -----
    Equals the Mann-Whitney statistic over the number of pairs.

    Examples
    --------
    >>> auroc([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]], [False, True, True]).tolist()
    [1.0, 0.5]
    """
    x, y, finite = _given(values, labels)
    out = linear_scores(LINEAR["auroc"], x, y[None], True)[0]
    return np.where(finite, out, np.nan)


def average_precision(values: ArrayLike, labels: ArrayLike) -> Array:
    """Return the precision at each positive sample, most active first, averaged.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity.
    labels : array of bool, shape (n_samples,)
        Which samples are positive.

    Returns
    -------
    array of float64, shape (n_units,)
        Between 0 and 1; about the share of positives where there is no relation. Tied samples are
        retrieved together. NaN where activity is not finite.

    Raises
    ------
    NisslError
        Shapes do not fit, or there is only one kind of sample.

    Examples
    --------
    >>> average_precision([[3.0], [2.0], [1.0]], [True, False, True]).round(3).tolist()
    [0.833]
    """
    x, y, finite = _given(values, labels)
    return np.where(finite, ranked_scores(x, y[None], True)[0], np.nan)


def cohens_d(values: ArrayLike, labels: ArrayLike) -> Array:
    """Return the difference of means in pooled standard deviations.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity.
    labels : array of bool, shape (n_samples,)
        Which samples are positive.

    Returns
    -------
    array of float64, shape (n_units,)
        Positive where positive samples are more active; 0 where a unit does not vary. NaN where
        activity is not finite.

    Raises
    ------
    NisslError
        Shapes do not fit, or there is only one kind of sample.

    Notes
    -----
    Source: Cohen 1988, "Statistical Power Analysis", section 2.2; deviations pooled with n - 2.

    Examples
    --------
    >>> cohens_d([[0.0], [2.0], [3.0], [5.0]], [False, False, True, True]).round(4).tolist()
    [2.1213]
    """
    x, y, finite = _given(values, labels)
    out = linear_scores(LINEAR["cohens_d"], x, y[None], True)[0]
    far = np.flatnonzero(np.abs(out) > FAR)
    out[far] = exact_cohens_d(x[:, far], y)
    return np.where(finite, out, np.nan)


def mutual_information(
    values: ArrayLike, labels: ArrayLike, *, bins: int = 8, corrected: bool = True
) -> Array:
    """Return the information between activity, cut into bins, and labels.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity; cut by rank into bins as equal as ties allow.
    labels : array, shape (n_samples,)
        Labels, discrete.
    bins : int
        How many bins.
    corrected : bool
        Take out the first-order bias (Miller and Madow); what is left may be below 0 by chance.

    Returns
    -------
    array of float64, shape (n_units,)
        Bits. NaN where activity is not finite.

    Raises
    ------
    NisslError
        Shapes do not fit, labels are all the same, or fewer than two bins.

    Notes
    -----
    Source: Miller 1955, "Note on the bias of information estimates"; Panzeri et al. 2007, Journal
    of Neurophysiology 98, 1064.

    Examples
    --------
    >>> mutual_information([[0.0], [0.0], [1.0], [1.0]], [0, 0, 1, 1], corrected=False).tolist()
    [1.0]
    """
    if bins < 2:
        raise NisslError(f"{bins} bins tell nothing apart", do="use at least 2")
    x, y, finite = _given(values, labels, binary=False)
    n, n_units = x.shape
    n_labels = int(y.max()) + 1
    # Middle ranks, so that tied samples fall into one bin.
    cut = np.minimum((ranks(x) - 0.5) * bins / n, bins - 1).astype(np.int64)
    cell = (np.arange(n_units) * bins + cut) * n_labels + y[:, None]
    joint = np.bincount(cell.ravel(), minlength=n_units * bins * n_labels)
    joint = joint.reshape(n_units, bins, n_labels)
    sides = (joint.sum(axis=2), joint.sum(axis=1), joint.reshape(n_units, -1))
    entropies = [_entropy(side, n, corrected) for side in sides]
    return np.where(finite, entropies[0] + entropies[1] - entropies[2], np.nan)


def _entropy(counts: NDArray[np.int64], n: int, corrected: bool) -> Array:
    """Return the entropy of each row of counts, in bits."""
    share = counts / n
    logs = np.log2(np.where(counts > 0, share, 1.0))
    bias = ((counts > 0).sum(axis=1) - 1) / (2 * n * np.log(2)) if corrected else 0.0
    return np.asarray(-(share * logs).sum(axis=1) + bias)


def _given(
    values: ArrayLike, labels: ArrayLike, *, binary: bool = True
) -> tuple[Array, NDArray[Any], NDArray[np.bool_]]:
    """Return activity with units that are not finite set to 0, labels, and which are finite."""
    x, y = np.asarray(values, dtype=float), np.asarray(labels)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise NisslError(
            f"values have shape {x.shape} and labels {y.shape}",
            do="give (n_samples, n_units) and (n_samples,)",
        )
    found = np.unique(y)
    if len(found) < 2:
        raise NisslError("all samples have the same label", do="give labels that differ")
    if binary and (y.dtype.kind not in "biuf" or set(found.tolist()) != {0, 1}):
        raise NisslError(
            "labels must say which samples are positive: True and False, or 1 and 0",
            do="test one label against the rest: labels == name",
        )
    finite = np.isfinite(x).all(axis=0)
    return np.where(finite, x, 0.0), y.astype(bool) if binary else codes(y), finite
