"""Communities: non-negative factors of similarities of units over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.progress import tracked

__all__ = ["communities", "community_strength", "errors_by_number"]

Array = NDArray[np.floating[Any]]
STEPS, STARTS = 150, 3  # of the factorisation; its beginnings


def communities(
    similarity: Array, k: int, *, mask: Any = None, seed: int = 0
) -> tuple[Array, Array]:
    """Factorise similarities into course x membership x membership, by least squares.

    Parameters
    ----------
    similarity : array, shape (n_matrices, n_units, n_units)
        Symmetric; entries may be negative.
    k : int
        How many communities.
    mask : array of bool, shape (n_units, n_units) or that of `similarity`, optional
        Entries that count; by default all off the diagonal.
    seed : int
        Of three beginnings; the best is returned.

    Returns
    -------
    course, membership : array, shape (n_matrices, k) and (n_units, k)
        Not negative; the largest membership of a community is 1.

    Notes
    -----
    Multiplicative updates; negative entries are on the other side: Ding et al. 2010, "Convex and
    semi-nonnegative matrix factorizations".

    Examples
    --------
    >>> u = np.array([[1.0], [1.0], [1.0], [0.0]])
    >>> course, membership = communities(np.array([[[2.0]], [[0.0]]]) * (u @ u.T), 1)
    >>> course.round(1).tolist(), membership.round(1).tolist()
    ([[2.0], [0.0]], [[1.0], [1.0], [1.0], [0.0]])
    """
    mask = ~np.eye(similarity.shape[1], dtype=bool) if mask is None else mask
    plus, minus, fits = np.maximum(similarity, 0) * mask, np.maximum(-similarity, 0) * mask, []
    for start in range(STARTS):
        rng = np.random.default_rng([seed, k, start])
        t, u = rng.random((len(similarity), k)), rng.random((similarity.shape[1], k))
        for step in range(2 * STEPS):
            below = minus + (t[:, None] * u) @ u.T * mask
            changed, other, axis = (t, u, 1) if step % 2 else (u, t[:, None], 0)
            up, down = ((side @ u * other).sum(axis=axis) for side in (plus, below))
            changed *= np.sqrt(up / (down + 1e-12))
        error = ((similarity - (t[:, None] * u) @ u.T) * mask) ** 2
        largest = np.maximum(u.max(axis=0), 1e-12)
        fits.append((error.sum(), t * largest**2, u / largest))
    return min(fits, key=lambda fit: fit[0])[1:]


def errors_by_number(
    similarity: Array, numbers: Sequence[int], *, seed: int = 0, progress: bool = True
) -> tuple[dict[int, float], int]:
    """Predict a tenth of the pairs, left out, by each number of communities.

    Parameters
    ----------
    similarity : array, shape (n_matrices, n_units, n_units)
        Symmetric.
    numbers : sequence of int
        Numbers of communities.
    seed : int
        Of the pairs, and of factors.
    progress : bool
        Show a bar.

    Returns
    -------
    errors : dict of int to float
        The share of squares left out that is not explained, by number.
    least : int
        The least number whose error is within a standard error of the best.
    """
    out = np.triu(np.random.default_rng(seed).random(similarity.shape) < 0.1, 1)
    kept = ~np.eye(similarity.shape[1], dtype=bool) & ~(out | out.swapaxes(1, 2))
    errors = {}
    for k in tracked(numbers, "Choosing a number", unit="fits", progress=progress):
        t, u = communities(similarity, k, mask=kept, seed=seed)
        errors[k] = ((similarity - (t[:, None] * u) @ u.T)[out]) ** 2
    best = min(errors.values(), key=np.mean)
    more = {k: one - best for k, one in errors.items()}
    least = min(k for k, d in more.items() if d.mean() <= d.std() / len(d) ** 0.5)
    whole = (similarity[out] ** 2).sum()
    return {k: one.sum() / whole for k, one in errors.items()}, least


def community_strength(course: Array, membership: Array) -> Array:
    """Return the root mean square of what each community adds to two units, shape (k,).

    Examples
    --------
    >>> community_strength(np.array([[2.0], [0.0]]), np.ones((3, 1))).round(2).tolist()
    [1.41]
    """
    n, pairs = len(membership), (membership**2).sum(axis=0) ** 2 - (membership**4).sum(axis=0)
    return np.asarray(np.sqrt((course**2).mean(axis=0) * pairs / (n * (n - 1))))
