"""Sums of a chunk by group of its rows."""

from __future__ import annotations

import numpy as np
from numba import njit

from nissl.statistics._chunk import Array

__all__ = ["add_groups"]

TILE = 256  # units
STRETCH = 64  # rows whose squares are summed in the chunk's own precision


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def add_groups(
    values: Array, groups: Array, shift: Array, sums: Array, squares: Array, nonfinite: Array
) -> None:
    """Add values less `shift` to their group's sums; values that are not finite are counted."""
    n_rows, n_units = values.shape
    square = np.empty(TILE, values.dtype)
    for u0 in range(0, n_units, TILE):
        width = min(TILE, n_units - u0)
        shifts = shift[u0 : u0 + width]
        for r0 in range(0, n_rows, STRETCH):
            r1 = min(r0 + STRETCH, n_rows)
            square[:] = 0
            for r in range(r0, r1):
                if groups[r] < 0:
                    continue
                row = values[r, u0 : u0 + width]
                for u in range(width):
                    d = row[u] - shifts[u]
                    square[u] += d * d
            finite = True
            for u in range(width):
                finite &= np.isfinite(square[u])
            if not finite:
                square[:] = 0
            for r in range(r0, r1):
                if groups[r] < 0:
                    continue
                row = values[r, u0 : u0 + width]
                line = sums[groups[r], u0 : u0 + width]
                if finite:
                    for u in range(width):
                        line[u] += row[u] - shifts[u]
                else:
                    for u in range(width):
                        if np.isfinite(row[u]):
                            d64 = np.float64(row[u]) - np.float64(shifts[u])
                            line[u] += d64
                            squares[u0 + u] += d64 * d64
                        else:
                            nonfinite[u0 + u] += 1
            for u in range(width):
                squares[u0 + u] += square[u]
