"""Eta squared: the share of a unit's variance that lies between levels, observed and in draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.tuning_plan import TuningPlan
from nissl.recording import Recording

__all__ = ["EtaSquared", "eta_squared", "level_means"]

Array = NDArray[np.floating[Any]]
BAND = (2.5, 97.5)  # percentiles of the null drawn beside a curve


@dataclass(frozen=True)
class EtaSquared:
    """Eta squared of some units for one coordinate, with its null.

    Parameters
    ----------
    values : array, shape (n_observations, n_units)
        Activity; NaN where it is missing.
    eta2 : array, shape (n_units,)
        Observed.
    draws : array, shape (n_draws, n_units)
        Under the null.
    curve, null_low, null_high : array, shape (n_levels, n_units)
        Mean activity at each level, and percentiles of the same under the null: of spikes the mean
        count, of other quantities the departure from the unit's mean (in its run).
    number : array of int, shape (n_levels, n_units)
        Finite values at each level.

    Examples
    --------
    >>> empty = np.zeros((0, 1))
    >>> EtaSquared(empty, np.zeros(1), empty, empty, empty, empty, empty).eta2.tolist()
    [0.0]
    """

    values: Array
    eta2: Array
    draws: Array
    curve: Array
    null_low: Array
    null_high: Array
    number: NDArray[Any]


def eta_squared(rec: Recording, plan: TuningPlan, units: slice, n: int, *, seed: int) -> EtaSquared:
    """Score some units for one coordinate.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The recording, of which these units alone are read.
    plan : TuningPlan
        The levels, and what is permuted.
    units : slice
        The units.
    n : int
        Draws.
    seed : int
        Of the draws.

    Returns
    -------
    EtaSquared
        Observed and drawn.

    Examples
    --------
    >>> from nissl.atlas.tuning_plan import plan_tuning
    >>> from nissl.recording import as_recording
    >>> side = np.tile([0, 1], 10)
    >>> rec = as_recording(side[:, None] * 1.0, samples={"trial": range(20), "side": side})
    >>> eta_squared(rec, plan_tuning(rec)[0][0], slice(None), 3, seed=0).eta2.tolist()
    [1.0]
    """
    values = observations(rec, plan, units)
    finite = np.isfinite(values)
    # Rates start at zero; other activity has a level of its own, which says nothing.
    offset = _mean(values, finite) if rec.attrs.get("quantity") == "spikes" else 0.0
    centred = _centred(values, finite, plan)
    n_levels, n_units = len(plan.levels), values.shape[1]
    total = np.cumsum(np.vstack([np.zeros(n_units), centred]), axis=0)
    # Where nothing is missing, one column of counts serves all units.
    counted = finite if not finite.all() else finite[:, :1]
    count = np.cumsum(np.vstack([np.zeros(counted.shape[1]), counted]), axis=0)
    variation = (centred**2).sum(axis=0)
    curve, number = level_means(plan.codes, total, count, n_levels)
    draws = np.empty((n, n_units))
    curves = np.empty((n, n_levels, n_units), np.float32)
    for d, index in enumerate(_draws(plan, n, seed)):
        means, numbers = level_means(plan.codes[index], total, count, n_levels)
        draws[d], curves[d] = _eta2(means, numbers, variation), means
    low, high = _percentiles(curves) + offset
    number = np.broadcast_to(number, curve.shape).astype(np.int64)
    eta2 = _eta2(curve, number, variation)
    return EtaSquared(values, eta2, draws, curve + offset, low, high, number)


def level_means(
    codes: NDArray[np.int64], total: Array, count: Array, n_levels: int
) -> tuple[Array, Array]:
    """Return mean and number of values at each level from running sums.

    Runs of one level are taken from the running sums at once, so that a draw costs as many
    operations as there are changes of level.

    Parameters
    ----------
    codes : array of int, shape (n,)
        Level of each observation.
    total : array, shape (n + 1, n_units)
        Running sums of the values, from 0; what is not finite counts as 0.
    count : array, shape (n + 1, n_units or 1)
        Running numbers of finite values.
    n_levels : int
        Number of levels.

    Returns
    -------
    means : array, shape (n_levels, n_units)
        NaN where a level has no value.
    numbers : array, shape (n_levels, n_units or 1)
        Finite values at each level.

    Examples
    --------
    >>> total, count = np.array([[0.0], [1.0], [3.0], [7.0]]), np.arange(4.0)[:, None]
    >>> level_means(np.array([0, 0, 1]), total, count, 2)[0].tolist()
    [[1.5], [4.0]]
    """
    from scipy.sparse import csc_array

    edges = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [len(codes)]])
    runs = len(edges) - 1
    member = csc_array(
        (np.ones(runs), codes[edges[:-1]], np.arange(runs + 1)), shape=(n_levels, runs)
    )
    numbers = np.asarray(member @ np.diff(count[edges], axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.asarray(member @ np.diff(total[edges], axis=0)) / np.where(
            numbers > 0, numbers, np.nan
        )
    return means, numbers


def _draws(plan: TuningPlan, n: int, seed: int) -> Iterator[NDArray[np.int32]]:
    """Yield for every draw the observation whose level each is given."""
    from nissl.statistics import PermutedLabels

    count = np.exp(min(plan.null.log_arrangements(plan.codes, within=plan.within), 30.0))
    if isinstance(plan.null, PermutedLabels) and round(count) == n + 1:
        yield from plan.null.every(plan.codes, within=plan.within)
        return
    step = max(1, int(16e6 / len(plan.codes)))
    for start in range(0, n, step):
        yield from plan.null.draw(
            plan.codes, min(step, n - start), within=plan.within, seed=seed, start=start
        )


def observations(rec: Recording, plan: TuningPlan, units: slice) -> Array:
    """Return the mean activity of each observation.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The recording.
    plan : TuningPlan
        Which samples are an observation.
    units : slice
        The units.

    Returns
    -------
    array of float64, shape (n_observations, n_units)
        NaN where nothing finite was observed.

    Examples
    --------
    >>> from nissl.atlas.tuning_plan import plan_tuning
    >>> from nissl.recording import as_recording
    >>> side = np.tile([0, 1], 10)
    >>> rec = as_recording(side[:, None] * 1.0, samples={"trial": range(20), "side": side})
    >>> observations(rec, plan_tuning(rec)[0][0], slice(None)).shape
    (20, 1)
    """
    values = np.asarray(rec[:, units].values)[plan.rows].astype(np.float64)
    if len(plan.codes) == len(values):
        return np.where(np.isfinite(values), values, np.nan)
    finite = np.isfinite(values)
    starts = np.flatnonzero(np.diff(plan.observation, prepend=-1))
    count = np.add.reduceat(finite, starts, axis=0, dtype=np.float64)
    total = np.add.reduceat(np.where(finite, values, 0.0), starts, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(count > 0, total / count, np.nan))


def _mean(values: Array, finite: NDArray[np.bool_]) -> Array:
    count = np.maximum(finite.sum(axis=0), 1)
    return np.asarray(np.where(finite, values, 0.0).sum(axis=0) / count)


def _centred(values: Array, finite: NDArray[np.bool_], plan: TuningPlan) -> Array:
    """Take out each group's mean, which no draw can change; what is missing becomes 0."""
    group = np.unique(plan.within, return_inverse=True)[1]
    centred = np.where(finite, values, 0.0)
    for g in range(group.max() + 1):
        here = group == g
        centred[here] -= _mean(values[here], finite[here])
    return np.where(finite, centred, 0.0)


def _eta2(means: Array, numbers: NDArray[Any], variation: Array) -> Array:
    """Return the share of variation between levels, for values whose mean is 0."""
    between = np.nansum(means**2 * numbers, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variation > 0, between / variation, 0.0)


def _percentiles(curves: Array) -> Array:
    """Return the band of the null's curves, shape (2, n_levels, n_units)."""
    if not np.isnan(curves).any():
        return np.asarray(np.percentile(curves, BAND, axis=0))
    import warnings

    with warnings.catch_warnings():  # a level that no draw reaches has no band
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanpercentile(curves, BAND, axis=0))
