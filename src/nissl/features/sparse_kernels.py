"""Products with sparse codes, in compiled code: k features of each sample are not zero."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["gather_dot", "gather_sum", "largest", "scatter_sum"]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def largest(
    products: NDArray[Any], bias: NDArray[Any], k: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the k largest sums of each row of products and a bias, in no order.

    Parameters
    ----------
    products : array, shape (n_samples, n_features)
        Activity times an encoder.
    bias : array, shape (n_features,)
        What is added to each row.
    k : int
        How many are wanted.

    Returns
    -------
    values : array, shape (n_samples, k)
        The sums.
    indices : array of int64, shape (n_samples, k)
        Where they are.
    """
    n, width = products.shape
    values, indices = np.empty((n, k), products.dtype), np.empty((n, k), np.int64)
    for i in range(n):
        row, best, which = products[i], values[i], indices[i]
        for j in range(k):
            best[j], which[j] = row[j] + bias[j], j
        least = np.argmin(best)
        for j in range(k, width):
            value = row[j] + bias[j]
            if value > best[least]:
                best[least], which[least] = value, j
                least = np.argmin(best)
    return values, indices


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})  # type: ignore[untyped-decorator, unused-ignore]
def gather_sum(values: NDArray[Any], indices: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Return for each sample the sum of the rows of its features, times their values.

    Parameters
    ----------
    values : array, shape (n_samples, k)
        The features' values.
    indices : array of int64, shape (n_samples, k)
        Which features they are.
    rows : array, shape (n_features, width)
        Such as a decoder.

    Returns
    -------
    array, shape (n_samples, width)
        The sums.
    """
    out = np.zeros((len(values), rows.shape[1]), rows.dtype)
    for i in range(len(values)):
        for j in range(values.shape[1]):
            value, row = values[i, j], rows[indices[i, j]]
            if value != 0:
                for d in range(len(row)):
                    out[i, d] += value * row[d]
    return out


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})  # type: ignore[untyped-decorator, unused-ignore]
def scatter_sum(
    values: NDArray[Any], indices: NDArray[Any], samples: NDArray[Any], n_features: int
) -> NDArray[Any]:
    """Return for each feature the sum of the samples that have it, times its values.

    Parameters
    ----------
    values, indices
        As in `gather_sum`.
    samples : array, shape (n_samples, width)
        Such as activity.
    n_features : int
        How many features there are.

    Returns
    -------
    array, shape (n_features, width)
        The sums.
    """
    out = np.zeros((n_features, samples.shape[1]), samples.dtype)
    for i in range(len(values)):
        for j in range(values.shape[1]):
            value, row = values[i, j], out[indices[i, j]]
            if value != 0:
                for d in range(len(row)):
                    row[d] += value * samples[i, d]
    return out


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})  # type: ignore[untyped-decorator, unused-ignore]
def gather_dot(samples: NDArray[Any], indices: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Return the product of each sample with the rows of its features.

    Parameters
    ----------
    samples : array, shape (n_samples, width)
        Such as gradients of what is decoded.
    indices : array of int64, shape (n_samples, k)
        The features of each.
    rows : array, shape (n_features, width)
        Such as a decoder.

    Returns
    -------
    array, shape (n_samples, k)
        The products.
    """
    out = np.empty(indices.shape, rows.dtype)
    for i in range(len(samples)):
        for j in range(indices.shape[1]):
            row = rows[indices[i, j]]
            total = row[0] * 0
            for d in range(len(row)):
                total += samples[i, d] * row[d]
            out[i, j] = total
    return out
