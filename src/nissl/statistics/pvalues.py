"""P-values of scores against draws of them under a null, whatever the null was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, require_known
from nissl.statistics.finding import Finding
from nissl.statistics.test import ALTERNATIVES, TAILS, Test

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Compared", "against_null", "compare", "corrected", "larger_p"]

Array = NDArray[np.floating[Any]]
TOLERANCE = 1e-4  # of the null's deviation: far above float32 rounding, far below what matters
ROUNDING = 1e-6  # of a score, and least of all: nearer to draws that do not vary it equals them
DUST = 1e-12


@dataclass(frozen=True)
class Compared:
    """Scores compared with their draws.

    Parameters
    ----------
    null_mean, null_sd : array, shape (n_units,)
        Mean and deviation of the draws.
    extremity : array, shape (n_units,)
        The observed score, oriented so that larger is more extreme, in deviations of the null.
    drawn : array, shape (n_draws, n_units)
        The same for the draws.
    p : array, shape (n_units,)
        With the +1 rule, or of the tail; 1 where nothing was tested.
    tail : array of str, shape (n_units,)
        Which tail each p is of; where the draws do not vary, their rank alone counts.
    tested : array of bool, shape (n_units,)
        Where score and draws are finite and not all the same.

    Examples
    --------
    >>> compare([3.0], [[1.0], [2.0], [0.0]], alternative="greater").p.tolist()
    [0.25]
    """

    null_mean: Array
    null_sd: Array
    extremity: Array
    drawn: Array
    p: Array
    tail: NDArray[np.str_]
    tested: NDArray[np.bool_]


def compare(
    observed: ArrayLike,
    draws: ArrayLike,
    *,
    alternative: str = "two-sided",
    tail: str = "permutation",
    centre: float | None = None,
    least_p: ArrayLike = 0.0,
) -> Compared:
    """Compare scores with draws of them under a null, each unit with its own.

    Scores are first standardised by the mean and deviation of draws and observed score together,
    which treats all alike, so that the +1 rule stays exact and units can share a maximum.

    Parameters
    ----------
    observed : array, shape (n_units,)
        The scores.
    draws : array, shape (n_draws, n_units)
        The same scores under the null.
    alternative : {"two-sided", "greater", "less"}
        Which scores are extreme.
    tail : {"permutation", "normal", "gpd"}
        How to go below 1 / (n_draws + 1). Where the approximation does not fit, normal falls back
        to gpd and gpd to permutation; `tail` of the result says which it was.
    centre : float, optional
        The mean of the null, where it is known. A two-sided test then counts a draw as far on the
        other side as the score among those that reach it, which the mean of the draws, being one of
        a sample, would miss.
    least_p : float, or array of shape (n_units,)
        No p is below it: one in the number of different draws that the null has.

    Returns
    -------
    Compared
        Null mean and deviation, standardised scores, p-values.

    Raises
    ------
    NisslError
        Shapes do not fit, or an option is not known.

    Notes
    -----
    The +1 rule: Phipson and Smyth 2010, Statistical Applications in Genetics and Molecular
    Biology 9, 39.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> compare([0.0, 9.0], rng.standard_normal((999, 2))).p.round(3).tolist()
    [0.974, 0.001]
    """
    require_known("tail", tail, TAILS)
    require_known("alternative", alternative, ALTERNATIVES)
    scores, null = np.asarray(observed, dtype=float), np.asarray(draws, dtype=float)
    if null.ndim != 2 or null.shape[1:] != scores.shape or len(null) < 2:
        raise NisslError(
            f"draws of shape {null.shape} do not fit scores of shape {scores.shape}",
            do="give at least two draws, shape (n_draws, n_units)",
        )
    n = len(null)
    whole = np.isfinite(scores) & np.isfinite(null).all(axis=0)
    if not whole.all():  # a comparison with NaN is false, and would look like significance
        scores, null = np.where(whole, scores, 0.0), np.where(whole, null, 0.0)
    null_mean, null_sd = null.mean(axis=0), null.std(axis=0, ddof=1)
    mean = (null_mean * n + scores) / (n + 1)
    spread = np.sqrt((((null - mean) ** 2).sum(axis=0) + (scores - mean) ** 2) / n)
    largest = np.abs(null).max(axis=0)
    varies = null_sd > 1e-9 * np.maximum(largest, 1e-30)
    away = np.abs(scores - null_mean)
    apart = (away > ROUNDING * np.maximum(largest, np.abs(scores))) & (away > DUST)
    tested = whole & (varies | apart)
    spread = np.where(tested & (spread > 0), spread, np.inf)
    extremity = _orient((scores - mean) / spread, alternative)
    drawn = _orient((null - mean) / spread, alternative)
    if centre is not None and alternative == "two-sided":
        mirrored = np.abs(null + scores - 2 * centre) <= TOLERANCE * spread
        drawn = np.where(mirrored & tested, np.maximum(drawn, extremity), drawn)
    reached = (drawn >= extremity - TOLERANCE).sum(axis=0)
    p = np.where(tested, (1 + reached) / (n + 1), 1.0)
    how = np.full(len(p), "permutation", dtype="<U11")
    todo = tested & varies
    if tail == "normal":
        _normal(scores, null, null_mean, null_sd, alternative, p, how, todo)
    if tail != "permutation":
        _gpd(extremity, drawn, reached, p, how, todo)
    return Compared(null_mean, null_sd, extremity, drawn, np.maximum(p, least_p), how, tested)


def against_null(
    observed: ArrayLike,
    draws: ArrayLike,
    *,
    units: Sequence[str] | pd.DataFrame,
    score: str,
    method: str,
    null: str,
    alternative: str = "two-sided",
    least_p: ArrayLike = 0.0,
    test: Test = Test(),
) -> Finding:
    """Make a Finding of scores and their draws under any null: networks, directions, units.

    Parameters
    ----------
    observed : array, shape (n_units,)
        The scores.
    draws : array, shape (n_draws, n_units)
        The same scores under the null. A single column serves units that share a null.
    units : sequence of str, or DataFrame of n_units rows
        Addresses, or ``unit`` and what else is known of each.
    score, method, null : str
        What the score, the method and the null are called.
    alternative : {"two-sided", "greater", "less"}
        Which scores are extreme, where the test does not say.
    least_p : float, or array of shape (n_units,)
        No p is below it: one in the number of different draws that the null has.
    test : Test
        Tail, correction over all rows, alternative; the draws are made.

    Returns
    -------
    Finding
        One row for each unit.

    Raises
    ------
    NisslError
        Shapes do not fit.

    Examples
    --------
    >>> draws = np.random.default_rng(0).standard_normal((999, 2))
    >>> found = against_null([9.0, 0.1], draws, units=["a", "b"], score="logit",
    ...                      method="ablation", null="RandomDirections()")
    >>> found.significant().units
    ['a']
    """
    import pandas as pd

    scores = np.asarray(observed, dtype=float)
    null_draws = np.asarray(draws, dtype=float)
    if null_draws.ndim == 2 and null_draws.shape[1] == 1:
        null_draws = np.broadcast_to(null_draws, (len(null_draws), len(scores)))
    alternative = test.alternative or alternative
    test = test.own()
    made = compare(scores, null_draws, alternative=alternative, tail=test.tail, least_p=least_p)
    tested = made.tested
    known = units if isinstance(units, pd.DataFrame) else pd.DataFrame({"unit": list(units)})
    table = known.reset_index(drop=True).assign(
        **{score: scores},
        effect=scores - made.null_mean,
        null_mean=made.null_mean,
        null_sd=made.null_sd,
        p=made.p,
        tail=made.tail,
        note=np.where(tested, "", "not tested: it equals all draws, or is not finite"),
    )
    if test.correction is not None:
        q = np.ones(len(scores))
        if tested.any():
            maxima = made.drawn[:, tested].max(axis=1)
            q[tested] = corrected(
                made.p[tested],
                made.extremity[tested],
                maxima,
                test,
            )
        table["q"] = q
    said: dict[str, str | int | float] = {
        "n_draws": len(null_draws),
        "alternative": alternative,
        "tail": test.tail,
        "correction": test.correction or "none",
        "n_tests": int(tested.sum()),
    }
    return Finding(table, method, null, said, score)


def larger_p(one: Finding, other: Finding) -> Finding:
    """Return every row as it was under the null that tells more against it.

    Parameters
    ----------
    one, other : Finding
        The same scores under two nulls.

    Returns
    -------
    Finding
        Rows of the larger p, and the larger q.

    Examples
    --------
    >>> how = {"units": ["a"], "score": "r", "method": "m", "null": "none", "test": Test()}
    >>> far, near = (against_null([3.0], [[0.0], [d], [-d]], **how) for d in (1.0, 4.0))
    >>> bool(larger_p(far, near).table["p"][0] == near.table["p"][0])
    True
    """
    a, b = one.table, other.table
    keep = np.broadcast_to((a["p"] >= b["p"]).to_numpy()[:, None], a.shape)
    table = a.where(keep, b)
    if "q" in table:
        table["q"] = np.maximum(a["q"], b["q"])
    return replace(one, table=table)


def corrected(p: Array, extremity: Array, maxima: Array, test: Test) -> Array:
    """Correct p-values of a whole search.

    Parameters
    ----------
    p : array, shape (n_tests,)
        P-values.
    extremity : array, shape (n_tests,)
        Standardised scores, larger is more extreme.
    maxima : array, shape (n_draws,)
        The largest standardised score of each draw.
    test : Test
        Which correction. A tail other than "permutation" lets the maximum go beyond its draws by a
        generalised Pareto tail.

    Returns
    -------
    array of float64, shape (n_tests,)
        Corrected p-values, never below p.

    Examples
    --------
    >>> p = np.array([0.5, 0.01])
    >>> corrected(p, np.array([0.0, 3.0]), np.array([1.0]), Test(correction="bh")).tolist()
    [0.5, 0.02]
    """
    from nissl.statistics.correction import benjamini_hochberg, bonferroni, max_statistic

    test = test.own()
    if test.correction == "bh":
        return benjamini_hochberg(p)
    if test.correction == "bonferroni":
        return bonferroni(p)
    far = "permutation" if test.tail == "permutation" else "gpd"
    return np.maximum(p, max_statistic(extremity, maxima, tail=far, tolerance=TOLERANCE))


def _orient(z: Array, alternative: str) -> Array:
    return np.abs(z) if alternative == "two-sided" else (z if alternative == "greater" else -z)


def _normal(
    scores: Array,
    null: Array,
    mean: Array,
    sd: Array,
    alternative: str,
    p: Array,
    how: NDArray[np.str_],
    todo: NDArray[np.bool_],
) -> None:
    """Put normal tails where they fit; what is left stays in `todo`."""
    from nissl.statistics.tails import normal_tail

    at = np.flatnonzero(todo)
    sign = -1.0 if alternative == "less" else 1.0
    z = sign * (scores[at] - mean[at]) / sd[at]
    drawn = sign * (null[:, at] - mean[at]) / sd[at]
    tails, fits = normal_tail(z, drawn, two_sided=alternative == "two-sided")
    p[at[fits]], how[at[fits]] = tails[fits], "normal"
    todo[at[fits]] = False


def _gpd(
    extremity: Array,
    drawn: Array,
    reached: NDArray[np.integer[Any]],
    p: Array,
    how: NDArray[np.str_],
    todo: NDArray[np.bool_],
) -> None:
    """Put Pareto tails where fewer than ten draws reach the score and the fit is good."""
    from nissl.statistics.tails import gpd_tail

    at = np.flatnonzero(todo & (reached < 10))
    if len(at):
        tails, good = gpd_tail(extremity[at], drawn[:, at])
        p[at[good]], how[at[good]] = tails[good], "gpd"
