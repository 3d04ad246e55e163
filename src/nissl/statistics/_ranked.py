"""Average precision of every unit under every drawn labelling, in compiled code."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["average_precision_of_draws"]


# Multiplying a single bit by this constant puts a number of its own into the top six bits
# (Leiserson, Prokop and Randall 1998, "Using de Bruijn sequences to index a 1 in a word").
_SEQUENCE = 0x03F79D71B4CB0A89
_PLACE = np.zeros(64, dtype=np.int64)
for _bit in range(64):
    _PLACE[((_SEQUENCE << _bit) & (2**64 - 1)) >> 58] = _bit


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def average_precision_of_draws(
    place: NDArray[Any], end: NDArray[Any], which: NDArray[Any], starts: NDArray[Any]
) -> NDArray[Any]:
    """Return average precision, tied samples retrieved together.

    The positives of a draw are marked as bits in order of rank, so that they are found in order
    without a sort: the work is that of the positives, and of one word for 64 samples.

    Parameters
    ----------
    place : array of int32, shape (n_units, n_samples)
        The rank of every sample, most active first.
    end : array of int32, shape (n_units, n_samples)
        For every rank, the number of samples at least as active.
    which : array of int32, shape (n_positives_of_all_draws,)
        The positive samples of each draw, one draw after the other.
    starts : array of int64, shape (n_draws + 1,)
        Where each draw starts in `which`.

    Returns
    -------
    array of float64, shape (n_draws, n_units)
        Average precision; 0 where a draw has no positives.
    """
    n_units, n_samples = place.shape
    n_draws = len(starts) - 1
    out = np.zeros((n_draws, n_units))
    words = np.zeros((n_samples + 63) // 64, dtype=np.uint64)
    one, none, sequence = np.uint64(1), np.uint64(0), np.uint64(_SEQUENCE)
    for unit in range(n_units):
        for draw in range(n_draws):
            for i in range(starts[draw], starts[draw + 1]):
                rank = place[unit, which[i]]
                words[rank >> 6] |= one << np.uint64(rank & 63)
            total, found, tied, last = 0.0, 0, 0, 1
            for w in range(len(words)):
                word = words[w]
                words[w] = none
                while word != none:
                    low = word & (~word + one)
                    word ^= low
                    rank = w * 64 + _PLACE[(low * sequence) >> np.uint64(58)]
                    if end[unit, rank] != last:
                        total += tied * found / last
                        tied, last = 0, end[unit, rank]
                    tied += 1
                    found += 1
            if found:
                out[draw, unit] = (total + tied * found / last) / found
    return out
