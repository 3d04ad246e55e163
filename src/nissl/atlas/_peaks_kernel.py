"""The highest and lowest place of each unit in each item."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["peaks"]


@njit(nogil=True, cache=True)
def peaks(
    values: NDArray[Any], n_places: int
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
    """Return the highest value and its place, and the lowest and its place, (n_items, n_units).

    What is not finite is passed over; where nothing is finite, infinity is left.
    """
    n_items, n_units = len(values) // n_places, values.shape[1]
    high = np.full((n_items, n_units), np.float32(-np.inf))
    low = np.full((n_items, n_units), np.float32(np.inf))
    high_at = np.zeros((n_items, n_units), np.int32)
    low_at = np.zeros((n_items, n_units), np.int32)
    for i in range(n_items):
        for p in range(n_places):
            for u in range(n_units):
                x = values[i * n_places + p, u]
                if x > high[i, u] and x < np.inf:
                    high[i, u] = x
                    high_at[i, u] = p
                if x < low[i, u] and x > -np.inf:
                    low[i, u] = x
                    low_at[i, u] = p
    return high, high_at, low, low_at
