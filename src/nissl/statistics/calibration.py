"""Does a test hold its level, and what does it find? Rates on null and planted data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.statistics.finding import Finding

__all__ = ["Rate", "false_positive_rate", "power", "rate"]


@dataclass(frozen=True)
class Rate:
    """How often a test called something significant, with the exact binomial interval.

    Parameters
    ----------
    rate : float
        The share of tests.
    low, high : float
        Clopper and Pearson's interval.
    n : int
        How many tests.
    alpha : float
        The p at which a test was called significant.

    Examples
    --------
    >>> Rate(0.05, 0.03, 0.08, 400, 0.05).holds
    True
    """

    rate: float
    low: float
    high: float
    n: int
    alpha: float

    @property
    def holds(self) -> bool:
        """Whether the nominal level lies inside the interval."""
        return self.low <= self.alpha <= self.high

    @property
    def exceeds(self) -> bool:
        """Whether the rate lies above the nominal level, beyond the interval."""
        return self.low > self.alpha


def rate(p: ArrayLike, *, alpha: float = 0.05, level: float = 0.99) -> Rate:
    """Return how many p-values are at most `alpha`.

    Parameters
    ----------
    p : array, any shape
        P-values of independent tests.
    alpha : float
        The nominal level.
    level : float
        Coverage of the interval.

    Returns
    -------
    Rate
        Share and interval.

    Raises
    ------
    NisslError
        There are none.

    Notes
    -----
    Source: Clopper and Pearson 1934, Biometrika 26, 404.

    Examples
    --------
    >>> rate([0.01, 0.5, 0.9, 0.3]).rate
    0.25
    """
    from scipy.special import betaincinv

    values = np.asarray(p, dtype=float).ravel()
    if not len(values):
        raise NisslError("there are no p-values", do="test something")
    n, k = len(values), int((values <= alpha).sum())
    rest = (1 - level) / 2
    low = float(betaincinv(k, n - k + 1, rest)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - rest)) if k < n else 1.0
    return Rate(k / n, low, high, n, alpha)


def false_positive_rate(
    procedure: Callable[..., Finding | ArrayLike],
    data: Callable[[np.random.Generator], Any],
    *,
    n_repeats: int = 1,
    alpha: float = 0.05,
    level: float = 0.99,
    column: str = "p",
    seed: int = 0,
) -> Rate:
    """Run a test procedure on data that hold nothing, and count what it finds.

    Parameters
    ----------
    procedure : callable
        ``procedure(*data)``: a Finding, or p-values. Each null unit is a test: 2,000 units, 2,000
        tests.
    data : callable
        ``data(rng)``: its arguments, a tuple, with no effect in them.
    n_repeats : int
        Fresh data sets.
    alpha : float
        The nominal level.
    level : float
        Coverage of the interval.
    column : str
        "p", or "q" for a corrected level: then a data set counts once, by its smallest q.
    seed : int
        The seed.

    Returns
    -------
    Rate
        ``.holds`` where the nominal level lies inside the interval, ``.exceeds`` above it.

    Examples
    --------
    >>> false_positive_rate(lambda p: p, lambda rng: (rng.random(1000),)).holds
    True
    """
    found = []
    for i in range(n_repeats):
        p = _p_of(procedure(*data(np.random.default_rng([seed, i]))), column)
        found.append(p if column == "p" else np.atleast_1d(p.min()))
    return rate(np.concatenate(found), alpha=alpha, level=level)


def power(
    procedure: Callable[..., Finding | ArrayLike],
    data: Callable[[np.random.Generator], tuple[tuple[Any, ...], ArrayLike]],
    *,
    n_repeats: int = 1,
    alpha: float = 0.05,
    level: float = 0.99,
    column: str = "p",
    seed: int = 0,
) -> Rate:
    """Run a test procedure on data with planted effects, and count how many it finds.

    Parameters
    ----------
    procedure : callable
        ``procedure(*data)``: a Finding with one row for each unit, or p-values.
    data : callable
        ``data(rng)``: its arguments, and which rows hold an effect.
    n_repeats : int
        Fresh data sets.
    alpha : float
        The level at which an effect counts as found.
    level : float
        Coverage of the interval.
    column : str
        "p" or "q".
    seed : int
        The seed.

    Returns
    -------
    Rate
        The share of planted effects that were found.

    Examples
    --------
    >>> power(lambda p: p, lambda rng: ((np.array([0.001, 0.9]),), [True, False])).rate
    1.0
    """
    found = []
    for i in range(n_repeats):
        given, planted = data(np.random.default_rng([seed, i]))
        found.append(_p_of(procedure(*given), column)[np.asarray(planted, dtype=bool)])
    return rate(np.concatenate(found), alpha=alpha, level=level)


def _p_of(result: Finding | ArrayLike, column: str) -> NDArray[np.float64]:
    if isinstance(result, Finding):
        return np.asarray(result.table[column], dtype=float)
    return np.asarray(result, dtype=float)
