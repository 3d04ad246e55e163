"""Which units are active together: correlation inside each run, with values missing or not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.centred import CentredRecording
from nissl.recording import Recording

__all__ = ["neighbours_of"]

Array = NDArray[np.floating[Any]]
FEWEST = 20  # common samples that a correlation of two units needs
TILE = 1024  # units


def neighbours_of(rec: Recording, *, k: int = 10) -> tuple[NDArray[np.int64], Array, str]:
    """Return for every unit the units whose activity is most correlated with its own.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        In memory or lazy.
    k : int
        Neighbours of each unit.

    Returns
    -------
    neighbours : array of int, shape (n_units, k)
        Units, the largest absolute correlation first; -1 where there are fewer.
    r : array, shape (n_units, k)
        Their Pearson correlations; NaN where there is no neighbour. Where values are missing, over
        the samples that two units have in common, of which there must be twenty.
    inside : str
        The coordinate inside which activity was centred first, so that units are not neighbours
        because the level of all differs between subjects, epochs or runs; "" where there is none.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> x = np.random.default_rng(0).standard_normal((20, 1))
    >>> partners, r, inside = neighbours_of(as_recording(np.c_[x, x[::-1], -x]), k=1)
    >>> partners.ravel().tolist(), r[0].round(3).tolist()
    ([2, 0, 0], [-1.0])
    """
    from nissl.statistics import best_partners

    centred = CentredRecording(rec)
    if centred.complete and rec.sizes["sample"] >= 3:
        partners, r = best_partners(centred, k=k)
        return partners, r, centred.inside
    partners = np.full((rec.sizes["unit"], k), -1, np.int64)
    r = np.full((rec.sizes["unit"], k), np.nan)
    for start in range(0, rec.sizes["unit"], TILE):
        here = slice(start, start + TILE)
        strength = np.zeros((min(TILE, rec.sizes["unit"] - start), rec.sizes["unit"]))
        for other in range(0, rec.sizes["unit"], TILE):
            there = slice(other, other + TILE)
            strength[:, there] = _pairwise(centred[:, here], centred[:, there])
        strength[np.arange(len(strength)), start + np.arange(len(strength))] = np.nan
        order = np.argsort(-np.abs(np.nan_to_num(strength)), axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(strength, order, axis=1)
        r[here, : order.shape[1]] = found
        partners[here, : order.shape[1]] = np.where(np.isfinite(found), order, -1)
    return partners, r, centred.inside


def _pairwise(x: Array, y: Array) -> Array:
    """Correlate columns over the rows that both have, (n_x, n_y); NaN where those are few."""
    seen_x, seen_y = np.isfinite(x).astype(float), np.isfinite(y).astype(float)
    x, y = np.where(seen_x > 0, x, 0.0), np.where(seen_y > 0, y, 0.0)
    n = seen_x.T @ seen_y
    sum_x, sum_y = x.T @ seen_y, seen_x.T @ y
    with np.errstate(invalid="ignore", divide="ignore"):
        varies_x = n * ((x**2).T @ seen_y) - sum_x**2
        varies_y = n * (seen_x.T @ y**2) - sum_y**2
        r = (n * (x.T @ y) - sum_x * sum_y) / np.sqrt(varies_x * varies_y)
    enough = (n >= FEWEST) & (varies_x > 0) & (varies_y > 0)
    return np.asarray(np.where(enough, np.clip(r, -1, 1), np.nan))
