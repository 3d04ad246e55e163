"""Keep the best of a tile of correlations."""

from __future__ import annotations

import numpy as np
from numba import njit

from nissl.statistics._block import Array

__all__ = ["take_best"]

STRIP = 64  # correlations whose maximum is taken together, as vectors


# Correlations are finite here, so sums and maxima may be taken in any order.
@njit(nogil=True, cache=True, fastmath=True)
def take_best(
    r: Array, row: int, column: int, skip_self: bool, best: Array, partners: Array
) -> None:
    """Put a tile's correlations, its first row and column given, into each row's sorted list."""
    n_rows, n_columns = r.shape
    k = best.shape[1]
    for i in range(n_rows):
        unit = row + i
        for c0 in range(0, n_columns, STRIP):
            c1 = min(c0 + STRIP, n_columns)
            highest = np.float32(0)
            for c in range(c0, c1):
                size = abs(r[i, c])
                highest = size if size > highest else highest
            if highest < abs(best[unit, k - 1]) or highest == 0:
                continue
            for c in range(c0, c1):
                value = r[i, c]
                partner = column + c
                if value == 0 or (skip_self and partner == unit):
                    continue
                size = abs(value)
                slot = k
                # Of equal correlations the unit that comes first is nearer.
                while slot > 0 and (
                    abs(best[unit, slot - 1]) < size
                    or (abs(best[unit, slot - 1]) == size and partners[unit, slot - 1] > partner)
                ):
                    slot -= 1
                if slot == k:
                    continue
                for s in range(k - 1, slot, -1):
                    best[unit, s] = best[unit, s - 1]
                    partners[unit, s] = partners[unit, s - 1]
                best[unit, slot] = value
                partners[unit, slot] = partner
