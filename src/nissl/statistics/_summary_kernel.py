"""One reading of a chunk for its moments, extremes and histogram.

Units are taken in tiles so that all running sums stay in the first-level cache, and rows in
stretches short enough that sums in the chunk's own precision are exact to a few units in the last
place; the sums of a stretch go into float64. A stretch with values that are not finite, or whose
fourth powers leave the range of the type, is read again slowly, unit by unit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from nissl.statistics._chunk import Array

__all__ = ["insert_column", "summarise"]

TILE = 128  # units; seven running float32 sums of a tile take 3.5 KB
STRETCH = 64  # rows; a tile of them takes 32 KB
TINY = 1e-36  # fourth powers below it have lost digits in float32
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
def _add_stretch(
    values: Array,
    first: int,
    last: int,
    u0: int,
    width: int,
    keep: Array,
    shift: Array,
    below: Array,
    above: Array,
    sums: Array,
    low: Array,
    high: Array,
    active: Array,
) -> int:
    """Sum powers, range and activity of a tile over a few rows; return how many were kept."""
    s1, s2, s3, s4 = sums[0], sums[1], sums[2], sums[3]
    sums[:] = 0
    active[:] = 0
    low[:] = np.inf
    high[:] = -np.inf
    kept = 0
    for r in range(first, last):
        if not keep[r]:
            continue
        kept += 1
        row = values[r, u0 : u0 + width]
        for u in range(width):
            d = row[u] - shift[u]
            dd = d * d
            s1[u] += d
            s2[u] += dd
            s3[u] += dd * d
            s4[u] += dd * dd
        for u in range(width):
            x = row[u]
            low[u] = x if x < low[u] else low[u]
            high[u] = x if x > high[u] else high[u]
            active[u] += np.int32(x > above[u]) + np.int32(x < below[u])
    return kept


@njit(**_FAST)  # type: ignore[untyped-decorator]
def _add_slowly(
    values: Array,
    first: int,
    last: int,
    unit: int,
    keep: Array,
    start: int,
    shift: float,
    below: float,
    above: float,
    power: Array,
    low: Array,
    high: Array,
    active: Array,
    nonfinite: Array,
    first_nonfinite: Array,
) -> bool:
    """Do the same for one unit in float64, leaving out what is not finite; tell if all was."""
    finite = True
    for r in range(first, last):
        if not keep[r]:
            continue
        x = np.float64(values[r, unit])
        if not np.isfinite(x):
            finite = False
            if nonfinite[unit] == 0 or start + r < first_nonfinite[unit]:
                first_nonfinite[unit] = start + r
            nonfinite[unit] += 1
            continue
        d = x - shift
        power[0, unit] += d
        power[1, unit] += d * d
        power[2, unit] += d * d * d
        power[3, unit] += d * d * d * d
        active[unit] += np.int64(x > above) + np.int64(x < below)
        low[unit] = min(low[unit], x)
        high[unit] = max(high[unit], x)
    return finite


@njit(**_FAST)  # type: ignore[untyped-decorator]
def _count_stretch(
    values: Array,
    bits: Array,
    first: int,
    last: int,
    u0: int,
    width: int,
    keep: Array,
    finite: bool,
    base: int,
    bins: Array,
    tile: Array,
) -> None:
    """Count a tile's values in its bins; the exponent and first digit of a float name its bin."""
    half = np.int32(tile.shape[1] // 2)
    lowest = np.int32(base)
    for r in range(first, last):
        if not keep[r]:
            continue
        line = bits[r, u0 : u0 + width]
        for u in range(width):
            b = line[u]
            octave = ((b & np.int32(0x7FFFFFFF)) >> np.int32(22)) - lowest
            octave = min(max(octave, np.int32(0)), half)
            bins[u] = np.uint8(half - octave if b < 0 else half + octave)
        if finite:
            for u in range(width):
                tile[u, bins[u]] += np.uint16(1)
        else:
            for u in range(width):
                if np.isfinite(values[r, u0 + u]):
                    tile[u, bins[u]] += np.uint16(1)


@njit(**_FAST)  # type: ignore[untyped-decorator]
def _flush(tile: Array, counts: Array) -> None:
    for u in range(len(counts)):
        for b in range(counts.shape[1]):
            counts[u, b] += tile[u, b]
    tile[:] = 0


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
    """Add a chunk to power sums about `shift`, extremes (bottom negated) and histogram counts."""
    n_rows, n_units = values.shape
    k = top.shape[1]
    sums = np.empty((4, TILE), values.dtype)
    lo = np.empty(TILE, values.dtype)
    hi = np.empty(TILE, values.dtype)
    on = np.empty(TILE, np.int32)
    bins = np.empty(TILE, np.uint8)
    tile = np.zeros((TILE, counts.shape[1]), np.uint16)
    for u0 in range(0, n_units, TILE):
        width = min(TILE, n_units - u0)
        in_tile = 0
        for r0 in range(0, n_rows, STRETCH):
            r1 = min(r0 + STRETCH, n_rows)
            kept = _add_stretch(
                values,
                r0,
                r1,
                u0,
                width,
                keep,
                shift[u0 : u0 + width],
                below[u0 : u0 + width],
                above[u0 : u0 + width],
                sums,
                lo,
                hi,
                on,
            )
            if kept == 0:
                continue
            finite = True
            for u in range(width):
                unit = u0 + u
                if np.isfinite(sums[3, u]) and (sums[3, u] >= TINY or sums[1, u] == 0):
                    for p in range(4):
                        power[p, unit] += sums[p, u]
                    active[unit] += on[u]
                    low[unit] = min(low[unit], np.float64(lo[u]))
                    high[unit] = max(high[unit], np.float64(hi[u]))
                else:
                    finite &= _add_slowly(
                        values,
                        r0,
                        r1,
                        unit,
                        keep,
                        start,
                        np.float64(shift[unit]),
                        np.float64(below[unit]),
                        np.float64(above[unit]),
                        power,
                        low,
                        high,
                        active,
                        nonfinite,
                        first_nonfinite,
                    )
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
            _count_stretch(values, bits, r0, r1, u0, width, keep, finite, base, bins, tile)
            in_tile += kept
            if in_tile > PANEL:
                _flush(tile, counts[u0 : u0 + width])
                in_tile = 0
        _flush(tile, counts[u0 : u0 + width])
