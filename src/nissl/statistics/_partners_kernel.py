"""Keep the best of a tile of correlations."""

from __future__ import annotations

import numpy as np
from numba import njit

from nissl.statistics._chunk import Array

__all__ = ["take_best"]

STRIP = 64  # correlations compared together, as vectors


@njit(nogil=True, cache=True)
def insert(value: float, partner: int, best: Array, partners: Array) -> None:
    """Put a correlation into one unit's sorted list; of equal ones the first unit is nearer."""
    k = best.shape[0]
    size = abs(value)
    slot = k
    while slot > 0 and (
        abs(best[slot - 1]) < size or (abs(best[slot - 1]) == size and partners[slot - 1] > partner)
    ):
        slot -= 1
    if slot == k:
        return
    for s in range(k - 1, slot, -1):
        best[s] = best[s - 1]
        partners[s] = partners[s - 1]
    best[slot] = value
    partners[slot] = partner


# Correlations are finite here, so maxima may be taken in any order.
@njit(nogil=True, cache=True, fastmath=True)
def take_best(
    r: Array, row: int, column: int, skip_self: bool, both: bool, best: Array, partners: Array
) -> None:
    """Put a tile, its first row and column given, into the lists of its rows (`both`: and columns).

    Nearly all correlations are below the worst that is kept; a strip of them is passed over after
    one comparison.
    """
    n_rows, n_columns = r.shape
    k = best.shape[1]
    edges = np.empty(n_columns, np.float32)
    for c in range(n_columns):
        edges[c] = abs(best[column + c, k - 1]) if both else np.float32(2)
    for i in range(n_rows):
        unit = row + i
        for c0 in range(0, n_columns, STRIP):
            c1 = min(c0 + STRIP, n_columns)
            highest = np.float32(0)
            above = np.float32(-2)
            for c in range(c0, c1):
                size = abs(r[i, c])
                highest = size if size > highest else highest
                over = size - edges[c]
                above = over if over > above else above
            if highest == 0:
                continue
            if highest >= abs(best[unit, k - 1]):
                for c in range(c0, c1):
                    partner = column + c
                    if r[i, c] != 0 and not (skip_self and partner == unit):
                        insert(r[i, c], partner, best[unit], partners[unit])
            if above >= 0:
                for c in range(c0, c1):
                    if r[i, c] != 0 and abs(r[i, c]) >= edges[c]:
                        insert(r[i, c], unit, best[column + c], partners[column + c])
                        edges[c] = abs(best[column + c, k - 1])
