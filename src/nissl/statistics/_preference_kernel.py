"""Standardise activity within each window, and sum it by label and its exponentials by document."""

from __future__ import annotations

import numpy as np
from numba import njit

from nissl.statistics._chunk import Array

__all__ = ["HIGHEST", "STEPS", "add_preferences", "bound_labels", "search_labels"]

TILE = 128  # units
STEPS = 5  # exponents 1/8, 1/4, 1/2, 1 and 2, each the square of the one before
HIGHEST = 32.0  # deviations beyond which a value is held


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def add_preferences(
    values: Array,
    labels: Array,
    weights: Array,
    windows: Array,
    groups: Array,
    keep: Array,
    least: int,
    sums: Array,
    exponentials: Array,
) -> None:
    """Add a chunk.

    `windows` holds the first row of each window and the end of the last; `sums` is (labels, units)
    and `exponentials` (groups, 2 * STEPS, units), the second half of which is for the other sign.
    """
    n_units = values.shape[1]
    n_sets = labels.shape[1]
    mean = np.empty(TILE, np.float32)
    scale = np.empty(TILE, np.float32)
    z = np.empty(TILE, np.float32)
    local = np.empty((2 * STEPS, TILE), np.float32)
    for u0 in range(0, n_units, TILE):
        width = min(TILE, n_units - u0)
        for w in range(len(windows) - 1):
            first, last = windows[w], windows[w + 1]
            rows = 0
            for r in range(first, last):
                rows += keep[r]
            if rows < least:
                continue
            _standard(values, first, last, u0, width, keep, rows, mean, scale)
            local[:] = 0
            for r in range(first, last):
                if not keep[r]:
                    continue
                row = values[r, u0 : u0 + width]
                for u in range(width):
                    d = np.float32(row[u] - mean[u]) * scale[u]
                    d = min(max(d, np.float32(-HIGHEST)), np.float32(HIGHEST))
                    z[u] = d if scale[u] > 0 else np.float32(0)
                for s in range(n_sets):
                    label = labels[r, s]
                    if label >= 0:
                        weight = weights[r, s]
                        line = sums[label, u0 : u0 + width]
                        for u in range(width):
                            line[u] += weight * z[u]
                for side in range(2):
                    one = np.float32(1.0 / 128.0) if side == 0 else np.float32(-1.0 / 128.0)
                    at = side * STEPS
                    for u in range(width):
                        # |t| is at most 1/4: five terms are exact to float32. Four squarings
                        # reach exp(z / 8), and each one more doubles the exponent.
                        t = z[u] * one
                        e = np.float32(1 / 120) * t + np.float32(1 / 24)
                        e = e * t + np.float32(1 / 6)
                        e = e * t + np.float32(0.5)
                        e = e * t + np.float32(1)
                        e = e * t + np.float32(1)
                        e *= e
                        e *= e
                        e *= e
                        e *= e
                        local[at, u] += e
                        e *= e
                        local[at + 1, u] += e
                        e *= e
                        local[at + 2, u] += e
                        e *= e
                        local[at + 3, u] += e
                        e *= e
                        local[at + 4, u] += e
            for j in range(2 * STEPS):
                into = exponentials[groups[first], j, u0 : u0 + width]
                for u in range(width):
                    into[u] += local[j, u]


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _standard(
    values: Array,
    first: int,
    last: int,
    u0: int,
    width: int,
    keep: Array,
    rows: int,
    mean: Array,
    scale: Array,
) -> None:
    """Mean and inverse deviation of a window; zero where a unit is constant or not finite."""
    mean[:] = 0
    scale[:] = 0
    start = first
    while not keep[start]:
        start += 1
    # In two readings: one value far from the rest would cost the variance its digits in one.
    shift = values[start, u0 : u0 + width]
    for r in range(start, last):
        if keep[r]:
            row = values[r, u0 : u0 + width]
            for u in range(width):
                mean[u] += np.float32(row[u] - shift[u])
    for u in range(width):
        mean[u] = np.float32(np.float64(shift[u]) + np.float64(mean[u]) / rows)
    for r in range(start, last):
        if keep[r]:
            row = values[r, u0 : u0 + width]
            for u in range(width):
                d = np.float32(row[u] - mean[u])
                scale[u] += d * d
    for u in range(width):
        variance = np.float64(scale[u]) / rows
        # Below this the differences are rounding, not activity.
        if np.isfinite(variance) and variance > (1e-5 * np.float64(mean[u])) ** 2 + 1e-37:
            scale[u] = np.float32(1.0 / np.sqrt(variance))
        else:
            mean[u] = 0
            scale[u] = 0


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def search_labels(
    sums: Array,
    documents: Array,
    log_pooled: Array,
    exponents: Array,
    minimum: int,
    score: Array,
    best: Array,
) -> None:
    """Keep for every unit the labels whose bound, with all documents pooled, is the lowest.

    `sums` is (labels, units), `log_pooled` (2 * STEPS, units); `score` and `best` are (k, units),
    sorted, and are changed.
    """
    n_labels, n_units = sums.shape
    k = score.shape[0]
    found = np.empty(TILE, np.float32)
    for u0 in range(0, n_units, TILE):
        width = min(TILE, n_units - u0)
        worst = score[k - 1, u0 : u0 + width]
        for label in range(n_labels):
            d = np.float32(documents[label])
            if d < minimum:
                continue
            line = sums[label, u0 : u0 + width]
            found[:] = 0
            for j in range(STEPS):
                s = np.float32(exponents[j])
                up = log_pooled[j, u0 : u0 + width]
                down = log_pooled[STEPS + j, u0 : u0 + width]
                for u in range(width):
                    a = d * up[u] - s * line[u]
                    b = d * down[u] + s * line[u]
                    a = a if a < b else b
                    found[u] = a if a < found[u] else found[u]
            for u in range(width):
                if found[u] < worst[u]:
                    unit = u0 + u
                    slot = k - 1
                    while slot > 0 and score[slot - 1, unit] > found[u]:
                        score[slot, unit] = score[slot - 1, unit]
                        best[slot, unit] = best[slot - 1, unit]
                        slot -= 1
                    score[slot, unit] = found[u]
                    best[slot, unit] = label


@njit(nogil=True, cache=True, error_model="numpy")
def bound_labels(
    sums: Array,
    incidence: Array,
    log_means: Array,
    exponents: Array,
    labels: Array,
    log_p: Array,
) -> None:
    """Bound the one-sided tail of each unit's candidate labels, document by document.

    `log_means` is (groups, 2 * STEPS, units); `labels` and `log_p` are (k, units).
    """
    k, n_units = labels.shape
    n_groups = incidence.shape[1]
    total = np.empty(STEPS)
    for unit in range(n_units):
        for slot in range(k):
            label = labels[slot, unit]
            if label < 0:
                continue
            s = np.float64(sums[label, unit])
            side = 0 if s >= 0 else STEPS
            total[:] = 0
            for g in range(n_groups):
                d = incidence[label, g]
                if d > 0:
                    for j in range(STEPS):
                        total[j] += d * log_means[g, side + j, unit]
            lowest = 0.0
            for j in range(STEPS):
                lowest = min(lowest, total[j] - exponents[j] * abs(s))
            log_p[slot, unit] = lowest
