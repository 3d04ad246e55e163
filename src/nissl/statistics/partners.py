"""The units most correlated with each unit, without the matrix of all correlations."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from nissl.errors import NisslError
from nissl.progress import progress_bar
from nissl.statistics._chunk import Array
from nissl.statistics.standardised import ROWS, standardised

__all__ = ["best_partners", "mutual_partners", "paired_units"]

PAIRS = 10**8  # of units, of which all correlations may stand in memory


def best_partners(
    x: Any, y: Any = None, *, k: int = 5, tile: int = 4096, progress: bool = False
) -> tuple[Array, Array]:
    """Return for every unit the k units whose activity is most correlated with its own.

    Parameters
    ----------
    x : array, shape (n_samples, n_units)
        Activity. Anything whose slices ``x[a:b, c:d]`` are arrays: in memory, mapped from a
        file, or a zarr array; each slice is read once for every tile of partners.
    y : array, shape (n_samples, n_partners), optional
        Units among which to look; without it the other units of `x`.
    k : int
        Partners for each unit.
    tile : int
        Units multiplied at a time. Memory is about ``4 * tile**2 + 8 * 4096 * tile`` bytes.
    progress : bool
        Show a bar.

    Returns
    -------
    partners : array of int, shape (n_units, k)
        Units of `y`, the largest absolute correlation first; -1 where there are fewer than k.
    r : array, shape (n_units, k)
        Their correlations, with sign; NaN where there is no partner.

    Raises
    ------
    NisslError
        The two arrays have different numbers of samples, or fewer than three.

    Notes
    -----
    Units that do not vary, or have values that are not finite, are no one's partner and have none.
    Products are taken in float32 of standardised units: a correlation is right to about 1e-6.

    Examples
    --------
    >>> x = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 1.0], [3.0, 6.1, 0.0]])
    >>> partners, r = best_partners(x, k=1)
    >>> partners[:, 0].tolist()
    [1, 0, 1]
    """
    from nissl.statistics._partners_kernel import take_best

    symmetric = y is None
    y = x if symmetric else y
    n_samples, n_x = x.shape
    n_y = y.shape[1]
    if y.shape[0] != n_samples or n_samples < 3:
        raise NisslError(
            f"correlation needs at least three samples, the same for both: {n_samples} and "
            f"{y.shape[0]} were given",
            do="align the two recordings first",
        )
    best = np.zeros((n_x, k), np.float32)
    partners = np.full((n_x, k), -1, np.int64)
    read_x, _ = standardised(x, tile=tile)
    read_y = read_x if symmetric else standardised(y, tile=tile)[0]
    pairs = [
        (a, b) for a in range(0, n_x, tile) for b in range(0, n_y, tile) if not symmetric or b >= a
    ]
    # One buffer for all tiles: fresh memory for each costs a tenth of the product.
    buffer = np.empty(min(tile, n_x) * min(tile, n_y), np.float32)
    with progress_bar("Correlating", total=len(pairs), unit="tiles", progress=progress) as advance:
        for a, b in pairs:
            r = buffer[: min(tile, n_x - a) * min(tile, n_y - b)].reshape(min(tile, n_x - a), -1)
            for first in range(0, n_samples, ROWS):
                rows = slice(first, first + ROWS)
                left = read_x(rows, slice(a, a + tile))
                right = left if symmetric and a == b else read_y(rows, slice(b, b + tile))
                if first:
                    r += left.T @ right
                else:
                    np.matmul(left.T, right, out=r)
            take_best(r, a, b, symmetric, symmetric and a != b, best, partners)
            advance(1)
    return partners, np.where(partners >= 0, best, np.nan)


def mutual_partners(x: Any, y: Any) -> tuple[Array, Array, Array]:
    """Return the best partner of each unit, their correlation, and whether each is the other's.

    Parameters
    ----------
    x, y : array, shape (n_samples, n_units) and (n_samples, n_partners)
        Activity, as in `best_partners`.

    Returns
    -------
    partner : array of int, shape (n_units,)
        A unit of `y`, or -1.
    r : array, shape (n_units,)
        Their correlation, with sign; 0 where there is no partner.
    mutual : array of bool, shape (n_units,)
        Whether the unit is its partner's best.
    """
    (partners, r), (backs, _) = best_partners(x, y, k=1), best_partners(y, x, k=1)
    partner, back = partners[:, 0], backs[:, 0]
    mutual = (partner >= 0) & (back[partner] == np.arange(len(partner)))
    return partner, np.nan_to_num(r[:, 0]), mutual


def paired_units(x: Any, y: Any) -> tuple[Array, Array, Array]:
    """Return a partner of its own for each unit, so that absolute correlations add up to most.

    Parameters
    ----------
    x, y : array, shape (n_samples, n_units) and (n_samples, n_partners)
        Activity. All correlations stand in memory.

    Returns
    -------
    partner, r, mutual : array, shape (n_units,)
        As `mutual_partners` returns them; mutual where there is a partner.

    Raises
    ------
    NisslError
        There are more than 10^8 pairs of units.
    """
    if x.shape[1] * y.shape[1] > PAIRS:
        raise NisslError("there are too many pairs of units", do="give fewer, or pairs='mutual'")
    (read_x, norm_x), (read_y, norm_y) = standardised(x), standardised(y)
    whole = slice(None)
    r = read_x(whole, whole).T @ read_y(whole, whole)
    rows, columns = linear_sum_assignment(-np.abs(r))
    kept = (norm_x[rows] > 0) & (norm_y[columns] > 0)
    partner, size = np.full(x.shape[1], -1), np.zeros(x.shape[1])
    partner[rows[kept]] = columns[kept]
    size[rows[kept]] = r[rows, columns][kept]
    return partner, size, partner >= 0
