"""How many places units share, without the matrix of all pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["best_overlaps", "pair_overlaps"]

Array = NDArray[Any]


@njit(nogil=True, cache=True)
def best_overlaps(
    starts: Array, samples: Array, at_sample: Array, others: Array, sizes: Array
) -> tuple[Array, Array, Array]:
    """Return for each unit its best partner and their overlap, and the best of each partner.

    Places ``samples[starts[i]:starts[i + 1]]`` are those of unit i; ``others[at_sample[s]:...]``
    are the partners with a place at sample s, each of which has as many as `sizes` says. Time goes
    with the number of (unit, partner, sample) that coincide, memory with the units.
    """
    n_units, n_others = len(starts) - 1, len(sizes)
    count = np.zeros(n_others, np.int32)
    touched = np.empty(n_others, np.int32)
    overlap = np.zeros(n_units, np.float32)
    partner = np.full(n_units, -1, np.int32)
    back = np.full(n_others, -1, np.int32)
    best = np.zeros(n_others, np.float32)
    for i in range(n_units):
        n = 0
        for s in samples[starts[i] : starts[i + 1]]:
            for j in others[at_sample[s] : at_sample[s + 1]]:
                if count[j] == 0:
                    touched[n] = j
                    n += 1
                count[j] += 1
        for j in touched[:n]:
            found = np.float32(count[j] / (starts[i + 1] - starts[i] + sizes[j] - count[j]))
            count[j] = 0
            if found > overlap[i]:
                overlap[i], partner[i] = found, j
            if found > best[j]:
                best[j], back[j] = found, i
    return partner, overlap, back


@njit(nogil=True, cache=True)
def pair_overlaps(
    starts: Array,
    samples: Array,
    other_starts: Array,
    other_samples: Array,
    partner: Array,
    block: Array,
    shift: Array,
) -> Array:
    """Return how many places each unit shares with its partner.

    Samples of a unit are in ascending order. In a block of samples the partner is the unit that
    lies `shift` before it.
    """
    n_others = len(other_starts) - 1
    shared = np.zeros(len(partner), np.int32)
    for i in range(len(partner)):
        for s in samples[starts[i] : starts[i + 1]]:
            j = (partner[i] - shift[block[s]]) % n_others
            low, high = other_starts[j], other_starts[j + 1]
            at = low + np.searchsorted(other_samples[low:high], s)
            if at < high and other_samples[at] == s:
                shared[i] += 1
    return shared
