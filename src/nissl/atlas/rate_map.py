"""Mean activity over a plane: where an animal was, or where a stimulus lay."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.recording import Recording, chunks

__all__ = ["RateMap", "rate_map"]

Array = NDArray[np.floating[Any]]
N_BINS = 24  # along the longer side
FEWEST = 500  # samples with a place, and
FEWEST_BINS = 50  # places visited, below which nothing is drawn
SMOOTHING = 1.0  # standard deviation of the Gaussian, in bins


@dataclass(frozen=True)
class RateMap:
    """Mean activity of units in the bins of a plane.

    Parameters
    ----------
    names : tuple of str
        The coordinates to the right and upwards.
    x, y : array, shapes (n_columns + 1,) and (n_rows + 1,)
        Edges of the bins, which are squares.
    values : array of float32, shape (n_units, n_rows, n_columns)
        Activity over occupancy, both smoothed; NaN in bins that were not visited.
    """

    names: tuple[str, str]
    x: Array
    y: Array
    values: Array


def rate_map(rec: Recording) -> RateMap | None:
    """Draw activity over the first plane that the sample coordinates span; it is not tested.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        In memory or lazy. A plane is two columns of numbers whose names differ in their last
        letter: position_x and position_y, or x and z.

    Returns
    -------
    RateMap or None
        None where no two coordinates span a plane, or fewer than 500 samples or 50 bins have a
        place.

    Notes
    -----
    Activity and occupancy are smoothed by a Gaussian of one bin, and divided, as is usual for
    place cells (Skaggs et al. 1996, Hippocampus 6).

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> place = rng.uniform(0, 1, (2000, 2))
    >>> rec = as_recording(place[:, :1] > 0.8, samples={"x": place[:, 0], "y": place[:, 1]})
    >>> drawn = rate_map(rec)
    >>> drawn.names, int(np.nanmean(drawn.values[0], axis=0).argmax()) > 18
    (('x', 'y'), True)
    """
    from scipy.ndimage import gaussian_filter

    names = _plane(rec)
    bins = None if names is None else _bins(*(np.asarray(rec[n].values, float) for n in names))
    if names is None or bins is None:
        return None
    edges, cell = bins
    n_columns, n_rows = (len(e) - 1 for e in edges)
    total = np.zeros((n_rows * n_columns, rec.sizes["unit"]))
    count = np.zeros_like(total)
    for chunk in chunks(rec):
        here = cell[chunk.start : chunk.start + len(chunk.values)]
        values = np.asarray(chunk.values, np.float64)[here >= 0]
        finite = np.isfinite(values)
        np.add.at(total, here[here >= 0], np.where(finite, values, 0.0))
        np.add.at(count, here[here >= 0], finite)
    smooth = [
        gaussian_filter(part.T.reshape(-1, n_rows, n_columns), (0, SMOOTHING, SMOOTHING))
        for part in (total, count)
    ]
    visited = np.bincount(cell[cell >= 0], minlength=len(total)).reshape(n_rows, n_columns) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(visited, smooth[0] / smooth[1], np.nan)
    return RateMap(names, edges[0], edges[1], values.astype(np.float32))


def _bins(x: Array, y: Array) -> tuple[tuple[Array, Array], NDArray[np.int64]] | None:
    """Return edges of square bins, and the bin of each sample, -1 without a place; or None."""
    there = np.isfinite(x) & np.isfinite(y)
    if there.sum() < FEWEST:
        return None
    width = max(np.ptp(x[there]), np.ptp(y[there])) / N_BINS
    if width <= 0:
        return None
    edges, places = [], []
    for along in (x, y):
        low, reach = along[there].min(), np.ptp(along[there])
        n = max(1, int(np.ceil(reach / width - 1e-9)))
        edges.append(low + width * np.arange(n + 1))
        places.append(np.clip(np.searchsorted(edges[-1], along, side="right") - 1, 0, n - 1))
    cell = np.where(there, places[1] * (len(edges[0]) - 1) + places[0], -1)
    if len(np.unique(cell)) - (not there.all()) < FEWEST_BINS:
        return None
    return (edges[0], edges[1]), cell


def _plane(rec: Recording) -> tuple[str, str] | None:
    """Return the names of two coordinates of numbers that end in two of x, y and z."""
    axes: dict[str, list[str]] = {}
    for name in sorted(str(n) for n, c in rec.coords.items() if c.dims == ("sample",)):
        if re.search(r"(?:^|_)[xyz]$", name) and rec[name].dtype.kind == "f":
            axes.setdefault(name[:-1], []).append(name)
    return next(((found[0], found[1]) for found in axes.values() if len(found) > 1), None)
