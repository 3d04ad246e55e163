"""Numbers that describe a tuning curve: preferred level and AUROC; others are in `nissl.brain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nissl.atlas.tuning_plan import TuningPlan

__all__ = ["preferred_auroc", "preferred_level"]

Array = NDArray[np.floating[Any]]


def preferred_level(curve: Array, plan: TuningPlan) -> tuple[Array, NDArray[np.str_]]:
    """Return the level each unit prefers, and its name.

    Parameters
    ----------
    curve : array, shape (n_levels, n_units)
        Mean activity; NaN where a level has no value.
    plan : TuningPlan
        What the levels are.

    Returns
    -------
    level : array, shape (n_units,)
        The level with the highest mean; of an angle, the direction of the curve's mean vector.
        NaN where a unit has no curve.
    name : array of str, shape (n_units,)
        What the level is called; empty where there is none.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> plan = SimpleNamespace(levels=np.array([0.0, 1.0]), names=["left", "right"], period=0.0)
    >>> preferred_level(np.array([[0.2], [0.9]]), plan)[1].tolist()
    ['right']
    """
    seen = np.isfinite(curve).any(axis=0)
    best = np.where(np.isfinite(curve), curve, -np.inf).argmax(axis=0)
    name = np.where(seen, np.asarray(plan.names)[best], "")
    if not plan.period:
        return np.where(seen, plan.levels[best], np.nan), name
    angle = np.angle(_vector(curve, plan)) % (2 * np.pi) * plan.period / (2 * np.pi)
    return np.where(seen, angle, np.nan), np.where(seen, [f"{a:.3g}" for a in angle], "")


def preferred_auroc(values: Array, codes: NDArray[np.int64], curve: Array) -> Array:
    """Return how well activity tells each unit's preferred level from all others.

    Parameters
    ----------
    values : array, shape (n, n_units)
        Activity; what is not finite is left out.
    codes : array of int, shape (n,)
        Level of each observation.
    curve : array, shape (n_levels, n_units)
        Mean activity, of which the highest is preferred.

    Returns
    -------
    array, shape (n_units,)
        Chance that an observation at the preferred level exceeds one at another, ties by half;
        NaN where one side is empty.

    Examples
    --------
    >>> values, curve = np.array([[1.0], [2.0], [3.0]]), np.array([[1.5], [3.0]])
    >>> preferred_auroc(values, np.array([0, 0, 1]), curve).tolist()
    [1.0]
    """
    from nissl.statistics import auroc as chance_above

    best = np.where(np.isfinite(curve), curve, -np.inf).argmax(axis=0)
    out = np.full(values.shape[1], np.nan)
    for unit in range(values.shape[1]):
        finite = np.isfinite(values[:, unit])
        inside = codes[finite] == best[unit]
        if inside.any() and not inside.all():
            out[unit] = chance_above(values[finite, unit, None], inside)[0]
    return out


def _vector(curve: Array, plan: TuningPlan) -> NDArray[np.complex128]:
    """Return the mean vector of a curve less its mean, which may have either sign."""
    level = curve - np.nanmean(np.where(np.isfinite(curve).any(axis=0), curve, 0.0), axis=0)
    phase = np.exp(2j * np.pi * plan.levels / plan.period)[:, None]
    return np.asarray(np.nansum(level * phase, axis=0))
