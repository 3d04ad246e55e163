"""Right and wrong answers compared inside their kind, and the null that keeps kind and subject."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["auroc_within", "permuted"]

Array = NDArray[np.floating[Any]]


def auroc_within(values: ArrayLike, wrong: ArrayLike, kind: ArrayLike) -> Array:
    """Return the chance that a wrong answer scores above a right one of the same kind.

    Parameters
    ----------
    values : array, shape (n_questions, n_units)
        Scores.
    wrong : array of bool, shape (n_questions,) or (n_draws, n_questions)
        Labels, or draws of them with as many wrong in each kind.
    kind : array, shape (n_questions,)
        The kind of each question.

    Returns
    -------
    array, shape (n_units,) or (n_draws, n_units)
        Of all pairs of a kind, over kinds; ties count one half.

    Examples
    --------
    >>> auroc_within([[1.0], [2.0], [9.0], [8.0]], [0, 1, 0, 1], ["a", "a", "b", "b"]).tolist()
    [0.5]
    """
    from scipy.stats import rankdata

    x, y, kinds = np.asarray(values, dtype=float), np.asarray(wrong, dtype=float), np.asarray(kind)
    above, pairs = 0.0, 0.0
    for name in np.unique(kinds):
        rows = np.flatnonzero(kinds == name)
        n = y[..., rows].sum(axis=-1, keepdims=True)
        above = above + y[..., rows] @ rankdata(x[rows], axis=0) - n * (n + 1) / 2
        pairs = pairs + n * (len(rows) - n)
    return np.asarray(above / pairs)


def permuted(
    wrong: ArrayLike, subject: ArrayLike, kind: ArrayLike, n: int, *, seed: int = 0
) -> NDArray[np.bool_]:
    """Permute labels over subjects that were asked about in the same kinds.

    Parameters
    ----------
    wrong : array of bool, shape (n_questions,)
        The labels.
    subject, kind : array, shape (n_questions,)
        What each question is about, and its kind.
    n : int
        How many draws.
    seed : int
        Their seed.

    Returns
    -------
    array of bool, shape (n, n_questions)
        Each kind keeps as many wrong answers, and what one subject has stays together.

    Examples
    --------
    >>> permuted([1, 0, 0], ["a", "b", "c"], ["x", "x", "y"], 50)[:, 2].any()
    np.False_
    """
    y, subjects, kinds = np.asarray(wrong, dtype=bool), np.asarray(subject), np.asarray(kind)
    order = np.lexsort((kinds, subjects))
    starts = np.flatnonzero(np.r_[True, subjects[order][1:] != subjects[order][:-1]])
    alike: dict[tuple[Any, ...], list[NDArray[Any]]] = {}
    for rows in np.split(order, starts[1:]):
        alike.setdefault(tuple(kinds[rows].tolist()), []).append(rows)
    draws = np.tile(y, (n, 1))
    groups = [np.stack(rows) for rows in alike.values()]
    for d in range(n):
        rng = np.random.default_rng([seed, d])
        for rows in groups:
            draws[d, rows] = y[rows[rng.permutation(len(rows))]]
    return draws
