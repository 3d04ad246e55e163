"""One reading of a block for its moments, extremes and histogram.

Units are taken in tiles so that all running sums stay in the first-level cache, and rows in
stretches short enough that sums in the block's own precision are exact to a few units in the last
place; the sums of a stretch go into float64. A stretch with values that are not finite, or whose
fourth powers leave the range of the type, is read again slowly, unit by unit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from nissl.statistics._block import Array

__all__ = ["insert_column", "summarise"]

TILE = 128  # units; seven running float32 sums of a tile take 3.5 KB
STRETCH = 64  # rows; a tile of them takes 32 KB
PANEL = 32_768  # rows counted in 16-bit counters before they are added to the histogram

# Contraction to fused multiply-add is all that is let loose: NaN and infinity must show.
_FAST: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "boundscheck": False,
    "error_model": "numpy",
    "fastmath": {"contract", "nsz"},
}


@njit(**_FAST)  # type: ignore[untyped-decorator]
def insert_column(
    values: Array,
    unit: int,
    first: int,
    last: int,
    keep: Array,
    start: int,
    sign: int,
    best: Array,
    places: Array,
) -> None:
    """Put the values of one unit, rows first to last, into its sorted list of extremes."""
    k = best.shape[0]
    for row in range(first, last):
        if not keep[row]:
            continue
        value = sign * np.float64(values[row, unit])
        place = start + row
        worst = best[k - 1]
        if not np.isfinite(value) or value < worst:
            continue
        if value == worst and places[k - 1] >= 0 and place >= places[k - 1]:
            continue
        slot = k - 1
        while slot > 0 and (
            best[slot - 1] < value or (best[slot - 1] == value and places[slot - 1] > place)
        ):
            best[slot] = best[slot - 1]
            places[slot] = places[slot - 1]
            slot -= 1
        best[slot] = value
        places[slot] = place


@njit(**_FAST)  # type: ignore[untyped-decorator]
def summarise(
    values: Array,
    bits: Array,
    keep: Array,
    start: int,
    shift: Array,
    below: Array,
    above: Array,
    power: Array,
    low: Array,
    high: Array,
    active: Array,
    nonfinite: Array,
    first_nonfinite: Array,
    top: Array,
    top_places: Array,
    bottom: Array,
    bottom_places: Array,
    counts: Array,
    base: int,
) -> None:
    """Add a block to power sums about `shift`, extremes (bottom negated) and histogram counts."""
    n_rows, n_units = values.shape
    kind = values.dtype
    n_bins = counts.shape[1]
    half = np.int32(n_bins // 2)
    lowest_half_octave = np.int32(base)
    k = top.shape[1]
    s1 = np.empty(TILE, kind)
    s2 = np.empty(TILE, kind)
    s3 = np.empty(TILE, kind)
    s4 = np.empty(TILE, kind)
    lo = np.empty(TILE, kind)
    hi = np.empty(TILE, kind)
    on = np.empty(TILE, np.int32)
    bins = np.empty(TILE, np.uint8)
    tile = np.zeros((TILE, n_bins), np.uint16)
    tiny = 1e-36
    for u0 in range(0, n_units, TILE):
        width = min(TILE, n_units - u0)
        shifts = shift[u0 : u0 + width]
        lower = below[u0 : u0 + width]
        upper = above[u0 : u0 + width]
        in_tile = 0
        for r0 in range(0, n_rows, STRETCH):
            r1 = min(r0 + STRETCH, n_rows)
            s1[:] = 0
            s2[:] = 0
            s3[:] = 0
            s4[:] = 0
            on[:] = 0
            lo[:] = np.inf
            hi[:] = -np.inf
            kept = 0
            for r in range(r0, r1):
                if not keep[r]:
                    continue
                kept += 1
                row = values[r, u0 : u0 + width]
                for u in range(width):
                    d = row[u] - shifts[u]
                    dd = d * d
                    s1[u] += d
                    s2[u] += dd
                    s3[u] += dd * d
                    s4[u] += dd * dd
                for u in range(width):
                    x = row[u]
                    lo[u] = x if x < lo[u] else lo[u]
                    hi[u] = x if x > hi[u] else hi[u]
                    on[u] += np.int32(x > upper[u]) + np.int32(x < lower[u])
            if kept == 0:
                continue
            finite = True
            for u in range(width):
                unit = u0 + u
                if np.isfinite(s4[u]) and (s4[u] >= tiny or s2[u] == 0):
                    power[0, unit] += s1[u]
                    power[1, unit] += s2[u]
                    power[2, unit] += s3[u]
                    power[3, unit] += s4[u]
                    active[unit] += on[u]
                    low[unit] = min(low[unit], np.float64(lo[u]))
                    high[unit] = max(high[unit], np.float64(hi[u]))
                else:
                    for r in range(r0, r1):
                        if not keep[r]:
                            continue
                        x = np.float64(values[r, unit])
                        if not np.isfinite(x):
                            finite = False
                            if nonfinite[unit] == 0 or start + r < first_nonfinite[unit]:
                                first_nonfinite[unit] = start + r
                            nonfinite[unit] += 1
                            continue
                        d64 = x - np.float64(shifts[u])
                        power[0, unit] += d64
                        power[1, unit] += d64 * d64
                        power[2, unit] += d64 * d64 * d64
                        power[3, unit] += d64 * d64 * d64 * d64
                        active[unit] += np.int64(x > upper[u]) + np.int64(x < lower[u])
                        low[unit] = min(low[unit], x)
                        high[unit] = max(high[unit], x)
                # A stretch is looked through only where its extreme would enter the list; at a
                # tie the earlier place wins, so a later stretch of equal values is passed over.
                edge = top[unit, k - 1]
                if hi[u] > edge or (hi[u] == edge and start + r0 < top_places[unit, k - 1]):
                    insert_column(values, unit, r0, r1, keep, start, 1, top[unit], top_places[unit])
                edge = -bottom[unit, k - 1]
                if lo[u] < edge or (lo[u] == edge and start + r0 < bottom_places[unit, k - 1]):
                    insert_column(
                        values, unit, r0, r1, keep, start, -1, bottom[unit], bottom_places[unit]
                    )
            for r in range(r0, r1):
                if not keep[r]:
                    continue
                line = bits[r, u0 : u0 + width]
                for u in range(width):
                    b = line[u]
                    octave = ((b & np.int32(0x7FFFFFFF)) >> np.int32(22)) - lowest_half_octave
                    octave = min(max(octave, np.int32(0)), half)
                    bins[u] = np.uint8(half - octave if b < 0 else half + octave)
                if finite:
                    for u in range(width):
                        tile[u, bins[u]] += np.uint16(1)
                else:
                    for u in range(width):
                        if np.isfinite(values[r, u0 + u]):
                            tile[u, bins[u]] += np.uint16(1)
            in_tile += kept
            if in_tile > PANEL:
                for u in range(width):
                    for b in range(n_bins):
                        counts[u0 + u, b] += tile[u, b]
                tile[:] = 0
                in_tile = 0
        for u in range(width):
            for b in range(n_bins):
                counts[u0 + u, b] += tile[u, b]
        tile[:] = 0
