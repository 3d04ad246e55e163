"""Intervals over groups of samples: bootstrap (percentile, BCa) and jackknife."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples, require_known
from nissl.statistics.nulls import codes

__all__ = ["Interval", "bootstrap_interval", "jackknife_margin"]

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval.

    Parameters
    ----------
    estimate, low, high, standard_error : array, shape of the statistic
        The statistic of the data, the ends of the interval, the deviation over resamples.
    level : float
        The nominal coverage.

    Examples
    --------
    >>> Interval(np.array([1.0]), np.array([0.5]), np.array([1.5]), np.array([0.2]), 0.95).level
    0.95
    """

    estimate: Array
    low: Array
    high: Array
    standard_error: Array
    level: float


def bootstrap_interval(
    values: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    statistic: Callable[..., Any],
    groups: ArrayLike | None = None,
    level: float = 0.95,
    kind: str = "bca",
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return an interval for a statistic by drawing groups with replacement.

    Parameters
    ----------
    values : array, shape (n_samples, ...)
        The data.
    labels : array, shape (n_samples,), optional
        Drawn together with the values.
    statistic : callable
        ``statistic(values)``, or ``statistic(values, labels)``: a number or an array.
    groups : array, shape (n_samples,), optional
        Samples of a group are drawn together; None where every sample is independent.
    level : float
        Nominal coverage.
    kind : {"bca", "percentile"}
        Bias-corrected and accelerated, or the quantiles of the resamples.
    n_resamples : int
        How many; 2,000 hold a 95% interval's ends still.
    seed : int
        The seed.

    Returns
    -------
    Interval
        The estimate with both ends, each of the shape of the statistic.

    Raises
    ------
    TooFewSamples
        There are fewer than eight groups.
    NisslError
        A level is not between 0 and 1, or shapes do not fit.

    Notes
    -----
    Source: Efron 1987, Journal of the American Statistical Association 82, 171.

    Examples
    --------
    >>> values = np.random.default_rng(0).standard_normal((100, 1))
    >>> found = bootstrap_interval(values, statistic=lambda v: v.mean(axis=0), n_resamples=500)
    >>> bool(found.low[0] < found.estimate[0] < found.high[0])
    True
    """
    require_known("kind", kind, ("bca", "percentile"))
    if not 0 < level < 1:
        raise NisslError(f"a level of {level} is no coverage", do="use 0.95")
    x = np.asarray(values)
    given = (x,) if labels is None else (x, np.asarray(labels))
    group = np.arange(len(x)) if groups is None else codes(groups)
    if len(group) != len(x) or len(given[-1]) != len(x):
        raise NisslError("values, labels and groups differ in length", do="one of each a sample")
    rows = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    n_groups = len(rows)
    if n_groups < 8:
        raise TooFewSamples(
            f"{n_groups} groups are too few to draw from", do="record more, or use smaller groups"
        )

    def on(chosen: NDArray[np.int64]) -> Array:
        return np.asarray(statistic(*(g[chosen] for g in given)), dtype=float)

    estimate = on(np.arange(len(x)))
    rng = np.random.default_rng(seed)
    draws = np.empty((n_resamples, *estimate.shape))
    for i in range(n_resamples):
        draws[i] = on(np.concatenate([rows[g] for g in rng.integers(0, n_groups, n_groups)]))
    ends = np.array([(1 - level) / 2, (1 + level) / 2])
    if kind == "percentile":
        low, high = np.quantile(draws, ends, axis=0)
    else:
        every = np.arange(n_groups)
        without = [np.concatenate([rows[g] for g in every[every != i]]) for i in range(n_groups)]
        low, high = _bca(estimate, draws, np.stack([on(w) for w in without]), ends)
    return Interval(estimate, low, high, draws.std(axis=0, ddof=1), level)


def _bca(estimate: Array, draws: Array, without: Array, ends: Array) -> tuple[Array, Array]:
    """Return the quantiles of `draws` at ends moved by bias and acceleration."""
    from scipy.special import ndtr, ndtri

    n = len(draws)
    below = ((draws < estimate).sum(axis=0) + 0.5 * (draws == estimate).sum(axis=0)) / n
    bias = ndtri(np.clip(below, 0.5 / n, 1 - 0.5 / n))
    pull = without.mean(axis=0) - without
    spread = (pull**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        acceleration = np.where(spread > 0, (pull**3).sum(axis=0) / (6 * spread**1.5), 0.0)
    ordered = np.sort(draws, axis=0)
    out = []
    for end in ndtri(ends):
        moved = bias + (bias + end) / (1 - acceleration * (bias + end))
        at = ndtr(moved) * (n - 1)
        floor = np.clip(np.floor(at).astype(int), 0, n - 2)
        lower = np.take_along_axis(ordered, floor[None], axis=0)[0]
        upper = np.take_along_axis(ordered, floor[None] + 1, axis=0)[0]
        out.append(lower + (at - floor) * (upper - lower))
    return out[0], out[1]


def jackknife_margin(without: ArrayLike, *, level: float = 0.95) -> Array:
    """Return half the width of an interval, from the statistic without each group of samples.

    Parameters
    ----------
    without : array, shape (n_groups, ...)
        The statistic of all samples but those of each group.
    level : float
        Nominal coverage.

    Returns
    -------
    array, shape of the statistic
        By Student's t of one degree less than there are groups.

    Examples
    --------
    >>> x = np.arange(6.0)
    >>> jackknife_margin([np.delete(x, i).mean() for i in range(6)]).round(3).item()
    1.963
    """
    from scipy.stats import t

    values = np.asarray(without)
    n = len(values)
    error = np.sqrt((n - 1) / n * ((values - values.mean(0)) ** 2).sum(0))
    return np.asarray(t.ppf((1 + level) / 2, n - 1) * error)
