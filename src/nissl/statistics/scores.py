"""Scores of units against every drawn labelling, as matrix products where they are linear in it.

Mean difference, Cohen's d, correlation, Spearman's correlation and AUROC are functions of one
correlation between labels and values (or their ranks), so that all draws of all units are one
matrix product. Average precision is not: a compiled kernel ranks each unit once and counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FAR",
    "LINEAR",
    "LinearScore",
    "average_precision_by_chance",
    "average_precisions",
    "exact_cohens_d",
    "linear_scores",
    "ranked_scores",
    "ranks",
    "retrieval_order",
    "slow_scores",
]

Array = NDArray[np.floating[Any]]
FAR = 500.0  # Cohen's d beyond this is computed from the groups: 1 - r^2 has no digits left
DRAW_BYTES = 128 * 2**20  # of label contrasts held at once


@dataclass(frozen=True)
class LinearScore:
    """A score that is a function of the correlation of labels and values.

    Parameters
    ----------
    ranks : bool
        Values are replaced by their mid-ranks first.
    numeric : bool
        Labels may be numbers; else each label is tested against the rest.
    linear : bool
        The score itself is linear in labels, where their sum of squares stays the same.
    none : float
        The score where there is no effect.
    of : callable
        ``of(r, ss_values, ss_labels, n)``: the score from the correlation ``r`` (n_draws, n_units),
        the sums of squares of values (n_units,) and of labels (n_draws, 1), and the samples.

    Examples
    --------
    >>> float(LINEAR["auroc"].of(np.array([[0.0]]), np.array([2.0]), np.array([[1.0]]), 4)[0, 0])
    0.5
    """

    ranks: bool
    numeric: bool
    linear: bool
    none: float
    of: Callable[[Array, Array, Array, int], Array]


def _slope(r: Array, ss_values: Array, ss_labels: Array, n: int) -> Array:
    return np.asarray(r * np.sqrt(ss_values / ss_labels))


def exact_cohens_d(values: Array, labels: NDArray[np.bool_]) -> Array:
    """Return the difference of means in pooled deviations, however far apart the groups lie.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity, finite.
    labels : array of bool, shape (n_samples,)
        Which samples are positive.

    Returns
    -------
    array of float64, shape (n_units,)
        0 where a unit does not vary. Deviations are taken as no smaller than the rounding of
        float64, so that d is finite where groups do not vary at all.

    Examples
    --------
    >>> exact_cohens_d(np.array([[0.0], [5.0], [2.0], [7.0]]), np.array([0, 1, 0, 1], bool))
    array([3.53553391])
    """
    x = np.asarray(values, dtype=float)
    one, rest = x[labels], x[~labels]
    far = one.mean(axis=0) - rest.mean(axis=0)
    inside = sum(((part - part.mean(axis=0)) ** 2).sum(axis=0) for part in (one, rest))
    pooled = np.sqrt(inside / max(len(x) - 2, 1))
    least = np.finfo(float).eps * np.abs(x).max(axis=0)
    pooled = np.maximum(pooled, least)
    d = np.divide(far, pooled, out=np.zeros(x.shape[1]), where=pooled > 0)
    return np.asarray(np.where(np.ptp(x, axis=0) > 0, d, 0.0))


def _cohens_d(r: Array, ss_values: Array, ss_labels: Array, n: int) -> Array:
    # t = r sqrt((n - 2) / (1 - r^2)), and d = t sqrt(1/n1 + 1/n0) with ss_labels = n1 n0 / n.
    rest = np.maximum(1 - r**2, np.finfo(np.float32).eps)
    return np.asarray(r * np.sqrt((n - 2) / (rest * ss_labels)))


def _auroc(r: Array, ss_values: Array, ss_labels: Array, n: int) -> Array:
    return np.asarray(0.5 + _slope(r, ss_values, ss_labels, n) / n)


LINEAR = {
    "mean_difference": LinearScore(False, False, True, 0.0, _slope),
    "cohens_d": LinearScore(False, False, False, 0.0, _cohens_d),
    "correlation": LinearScore(False, True, True, 0.0, lambda r, v, y, n: r),
    "spearman": LinearScore(True, True, True, 0.0, lambda r, v, y, n: r),
    "auroc": LinearScore(True, False, True, 0.5, _auroc),
}


def linear_scores(
    score: LinearScore,
    values: Array,
    drawn: NDArray[Any],
    positive: Any,
    *,
    group: NDArray[np.int64] | None = None,
    device: str | None = None,
) -> Array:
    """Score every unit against every drawn labelling by matrix products.

    Parameters
    ----------
    score : LinearScore
        Which.
    values : array, shape (n_samples, n_units)
        Activity, finite.
    drawn : array, shape (n_draws, n_samples) or (n_draws, n_blocks)
        Labels, one labelling a row; of blocks where `group` is given. The first row is the
        observed one, which is scored in float64.
    positive : label or None
        The label that is tested against the rest; None where labels are numbers.
    group : array of int, shape (n_samples,), optional
        The block of every sample, 0 to n_blocks - 1; values are then summed by block first.
    device : str, optional
        A torch device for the products; NumPy on the processor by default.

    Returns
    -------
    array of float64, shape (n_draws, n_units)
        Scores; 0 (or no effect) where a unit does not vary.

    Notes
    -----
    Products are float32 of values centred and scaled to unit length in float64: an error of about
    1e-7 on a correlation whose null deviation is 1 / sqrt(n_samples).

    Examples
    --------
    >>> values = np.array([[0.0], [0.0], [1.0], [3.0]])
    >>> linear_scores(LINEAR["mean_difference"], values, np.array([[0, 0, 1, 1]]), 1)
    array([[2.]])
    """
    n = len(values)
    x = ranks(values) if score.ranks else np.asarray(values, dtype=float)
    # What does not vary is exactly 0: the mean's rounding is no deviation.
    x = np.where(np.ptp(x, axis=0) > 0, x - x.mean(axis=0), 0.0)
    ss = (x**2).sum(axis=0)
    x = x / np.sqrt(np.where(ss > 0, ss, 1.0))
    size = np.ones(n) if group is None else np.bincount(group).astype(float)
    if group is not None:
        x = sum_by(x, group, len(size))
    exact, x = x, np.ascontiguousarray(x, dtype=np.float32)
    shift, scale = 0.0, 1.0
    if positive is None:
        shift = float(drawn[0].astype(float) @ size / n)
        # A power of two, which changes no digit, brings labels of any scale near one.
        scale = 2.0 ** np.floor(np.log2(np.abs(drawn[0] - shift).max() or 1.0))
    r = np.empty((len(drawn), x.shape[1]))
    ss_labels = np.empty((len(drawn), 1))
    step = max(1, DRAW_BYTES // (4 * drawn.shape[1]))
    product = _multiplier(x, device)
    for a in range(0, len(drawn), step):
        part = drawn[a : a + step]
        # Labels and centred values: no need to centre the labels too, only to keep them small.
        y = (part == positive) if positive is not None else (part - shift) / scale
        y = y.astype(np.float32)
        mean = y @ size / n
        ss_labels[a : a + step, 0] = (y.astype(float) ** 2) @ size - n * mean**2
        r[a : a + step] = product(y)
        if a == 0:
            r[0] = y[0].astype(float) @ exact
    r /= np.sqrt(np.maximum(ss_labels, 1e-30))
    return score.of(np.clip(r, -1, 1), ss, np.maximum(ss_labels, 1e-30), n)


def ranked_scores(values: Array, drawn: NDArray[Any], positive: Any) -> Array:
    """Score every unit against every drawn labelling by average precision.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity, finite.
    drawn : array, shape (n_draws, n_samples)
        Labels, one labelling a row.
    positive : label
        The label that is to be retrieved.

    Returns
    -------
    array of float64, shape (n_draws, n_units)
        Average precision; tied samples are retrieved together.

    Examples
    --------
    >>> ranked_scores(np.array([[3.0], [1.0], [2.0]]), np.array([[1, 0, 1]]), 1)
    array([[1.]])
    """
    return average_precisions(retrieval_order(values), drawn, positive)


def retrieval_order(values: Array) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rank the samples of every unit, for `average_precisions`.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity, finite.

    Returns
    -------
    place : array of int32, shape (n_units, n_samples)
        The rank of every sample, most active first.
    end : array of int32, shape (n_units, n_samples)
        For every rank the number of samples at least as active: to the end of its group of ties.

    Examples
    --------
    >>> [part.tolist() for part in retrieval_order(np.array([[3.0], [1.0], [2.0]]))]
    [[[0, 2, 1]], [[1, 2, 3]]]
    """
    across = np.ascontiguousarray(-values.T)  # a sort along memory is several times quicker
    order = np.argsort(across, axis=1)
    n = across.shape[1]
    place = np.empty(order.shape, dtype=np.int32)
    np.put_along_axis(place, order, np.arange(n, dtype=np.int32)[None], axis=1)
    ordered = np.take_along_axis(across, order, axis=1)
    end = np.broadcast_to(np.arange(1, n + 1, dtype=np.int32), order.shape).copy()
    end[:, :-1][ordered[:, 1:] == ordered[:, :-1]] = n
    return place, np.minimum.accumulate(end[:, ::-1], axis=1)[:, ::-1].copy()


def average_precisions(
    orders: tuple[NDArray[np.int32], NDArray[np.int32]], drawn: NDArray[Any], positive: Any
) -> Array:
    """Score ranked units against every drawn labelling by average precision.

    Parameters
    ----------
    orders : tuple of two arrays
        What `retrieval_order` returns.
    drawn : array, shape (n_draws, n_samples)
        Labels, one labelling a row.
    positive : label
        The label that is to be retrieved.

    Returns
    -------
    array of float64, shape (n_draws, n_units)
        As of `ranked_scores`.

    Examples
    --------
    >>> orders = retrieval_order(np.array([[3.0], [1.0], [2.0]]))
    >>> average_precisions(orders, np.array([[1, 0, 1]]), 1)
    array([[1.]])
    """
    from nissl.statistics._ranked import average_precision_of_draws

    chosen = drawn == positive
    counts = chosen.sum(axis=1)
    which = np.nonzero(chosen)[1].astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return np.asarray(average_precision_of_draws(*orders, which, starts))


def average_precision_by_chance(n: int, n_positive: int) -> float:
    """Return the mean average precision of samples in random order.

    Parameters
    ----------
    n, n_positive : int
        How many samples, and how many of them are to be retrieved.

    Returns
    -------
    float
        Exact; a little above the share of positives.

    Examples
    --------
    >>> average_precision_by_chance(2, 1)
    0.75
    """
    if n < 2 or not n_positive:
        return float(n_positive > 0)
    places = np.arange(1, n + 1)
    return float(np.mean((1 + (places - 1) * (n_positive - 1) / (n - 1)) / places))


def slow_scores(
    score: Callable[[Array, NDArray[Any]], Array],
    values: Array,
    drawn: NDArray[Any],
    positive: Any,
) -> Array:
    """Score every unit by calling a function once for every drawn labelling.

    Parameters
    ----------
    score : callable
        ``score(values, labels) -> (n_units,)``.
    values : array, shape (n_samples, n_units)
        Activity, finite.
    drawn : array, shape (n_draws, n_samples)
        Labels, one labelling a row.
    positive : label or None
        The label that is tested against the rest (labels are then bool); None: labels as they are.

    Returns
    -------
    array of float64, shape (n_draws, n_units)
        Scores.

    Examples
    --------
    >>> slow_scores(lambda v, y: v[y].mean(axis=0), np.eye(2), np.array([[0, 1]]), 1)
    array([[0., 1.]])
    """
    rows = [np.asarray(score(values, y if positive is None else y == positive)) for y in drawn]
    return np.asarray(rows, dtype=float)


def sum_by(values: Array, group: NDArray[np.int64], n_groups: int) -> Array:
    """Sum rows by group.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Rows.
    group : array of int, shape (n_samples,)
        The group of every row; every group from 0 to n_groups - 1 occurs.
    n_groups : int
        How many.

    Returns
    -------
    array, shape (n_groups, n_units)
        Sums.

    Examples
    --------
    >>> sum_by(np.array([[1.0], [2.0], [4.0]]), np.array([1, 0, 1]), 2).tolist()
    [[2.0], [5.0]]
    """
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(n_groups))
    return np.asarray(np.add.reduceat(values[order], starts, axis=0))


def ranks(values: Array) -> Array:
    """Return middle ranks from 1, of each column.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity, finite.

    Returns
    -------
    array of float64, shape (n_samples, n_units)
        Tied samples have the mean of their ranks.

    Examples
    --------
    >>> ranks(np.array([[5.0], [-1.0], [5.0]])).ravel().tolist()
    [2.5, 1.0, 2.5]
    """
    from nissl.statistics._midranks_kernel import midranks

    across = np.ascontiguousarray(values.T, dtype=np.float64)  # a unit lies along memory
    return np.asarray(midranks(across)).T


def _multiplier(x: NDArray[np.float32], device: str | None) -> Callable[[Array], Array]:
    """Return a function that multiplies by `x`, kept on the device."""
    if device in (None, "cpu"):
        return lambda y: np.asarray(y @ x)
    import torch

    there = torch.from_numpy(x).to(device)
    return lambda y: np.asarray((torch.from_numpy(y).to(device) @ there).cpu().numpy())
