"""Scores compared inside strata, such as kinds of question, and labels permuted inside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["permuted_inside", "stratified_auroc"]

Array = NDArray[np.floating[Any]]


def stratified_auroc(values: ArrayLike, labels: ArrayLike, strata: ArrayLike) -> Array:
    """Return the chance that a positive sample scores above a negative one of the same stratum.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Scores.
    labels : array of bool, shape (n_samples,) or (n_draws, n_samples)
        Labels, or draws of them with as many positive in each stratum.
    strata : array, shape (n_samples,)
        The stratum of each sample.

    Returns
    -------
    array, shape (n_units,) or (n_draws, n_units)
        Of all pairs of a stratum, over strata; ties count one half.

    Examples
    --------
    >>> stratified_auroc([[1.0], [2.0], [9.0], [8.0]], [0, 1, 0, 1], list("aabb")).tolist()
    [0.5]
    """
    from scipy.stats import rankdata

    x, y, kinds = np.asarray(values, dtype=float), np.asarray(labels, float), np.asarray(strata)
    above, pairs = 0.0, 0.0
    for name in np.unique(kinds):
        rows = np.flatnonzero(kinds == name)
        n = y[..., rows].sum(axis=-1, keepdims=True)
        above = above + y[..., rows] @ rankdata(x[rows], axis=0) - n * (n + 1) / 2
        pairs = pairs + n * (len(rows) - n)
    return np.asarray(above / pairs)


def permuted_inside(
    labels: ArrayLike, exchange: ArrayLike, strata: ArrayLike, n: int, *, seed: int = 0
) -> NDArray[np.bool_]:
    """Permute labels over exchangeability blocks that have samples in the same strata.

    Parameters
    ----------
    labels : array of bool, shape (n_samples,)
        The labels.
    exchange, strata : array, shape (n_samples,)
        The exchangeability block of each sample, such as the subject of a question, and its
        stratum.
    n : int
        How many draws.
    seed : int
        Their seed.

    Returns
    -------
    array of bool, shape (n, n_samples)
        Each stratum keeps as many positive labels, and what one block has stays together.

    Examples
    --------
    >>> permuted_inside([1, 0, 0], ["a", "b", "c"], ["x", "x", "y"], 50)[:, 2].any()
    np.False_
    """
    y, blocks, kinds = np.asarray(labels, dtype=bool), np.asarray(exchange), np.asarray(strata)
    order = np.lexsort((kinds, blocks))
    starts = np.flatnonzero(np.r_[True, blocks[order][1:] != blocks[order][:-1]])
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
