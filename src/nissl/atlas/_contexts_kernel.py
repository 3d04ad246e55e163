"""Copy activity around new extremes out of a chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["update_contexts"]

Array = NDArray[Any]


@njit(nogil=True, cache=True)
def update_contexts(
    values: Array,
    start: int,
    now: Array,
    first_row: Array,
    end_row: Array,
    before: int,
    places: Array,
    kept: Array,
) -> None:
    """Bring `places` and `kept` from the extremes of before the chunk to those of `now`."""
    n_units, n = now.shape
    n_rows = len(values)
    old_places = np.empty(n, np.int64)
    old = np.empty_like(kept[0])
    for unit in range(n_units):
        same = True
        for i in range(n):
            same &= now[unit, i] == places[unit, i]
        if same:
            continue
        old_places[:] = places[unit]
        old[:] = kept[unit]
        for i in range(n):
            place = now[unit, i]
            places[unit, i] = place
            row = place - start
            if 0 <= row < n_rows:
                kept[unit, i, :] = 0
                for r in range(first_row[row], end_row[row]):
                    kept[unit, i, r - place + before] = values[r - start, unit]
            else:
                for j in range(n):
                    if old_places[j] == place:
                        kept[unit, i, :] = old[j]
