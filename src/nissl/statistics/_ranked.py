"""Average precision of every unit under every drawn labelling, in compiled code."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["average_precision_of_draws"]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def average_precision_of_draws(
    place: NDArray[Any], end: NDArray[Any], which: NDArray[Any], starts: NDArray[Any]
) -> NDArray[Any]:
    """Return average precision, tied samples retrieved together.

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
    hit = np.zeros(n_samples, dtype=np.bool_)
    for unit in range(n_units):
        for draw in range(n_draws):
            n_positive = starts[draw + 1] - starts[draw]
            if n_positive == 0:
                continue
            for i in range(starts[draw], starts[draw + 1]):
                hit[place[unit, which[i]]] = True
            total, found, rank = 0.0, 0, 0
            while found < n_positive:
                stop = end[unit, rank]
                fresh = 0
                while rank < stop:
                    fresh += hit[rank]
                    hit[rank] = False
                    rank += 1
                found += fresh
                total += fresh * found / stop
            out[draw, unit] = total / n_positive
    return out
