"""The few largest of each row of a wide matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["largest"]

STRIP = 64  # values compared together, as vectors


@njit(nogil=True, cache=True, fastmath=True)
def largest(
    values: NDArray[Any], k: int, sign: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the places and values of the k highest (sign 1) or lowest (-1) of each row, sorted."""
    n_rows, n_columns = values.shape
    places = np.full((n_rows, k), -1, np.int64)
    best = np.full((n_rows, k), np.float32(-3.4e38))
    side = np.float32(sign)
    for i in range(n_rows):
        for c0 in range(0, n_columns, STRIP):
            c1 = min(c0 + STRIP, n_columns)
            highest = np.float32(-3.4e38)
            for c in range(c0, c1):
                x = side * values[i, c]
                highest = x if x > highest else highest
            if highest <= best[i, k - 1]:
                continue
            for c in range(c0, c1):
                x = side * values[i, c]
                if x > best[i, k - 1]:
                    slot = k - 1
                    while slot > 0 and best[i, slot - 1] < x:
                        best[i, slot] = best[i, slot - 1]
                        places[i, slot] = places[i, slot - 1]
                        slot -= 1
                    best[i, slot] = x
                    places[i, slot] = c
    return places, side * best
