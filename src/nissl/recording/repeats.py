"""Repeats of a stimulus: side by side, or in two halves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nissl.recording.aggregate import aggregate
from nissl.recording.align import align, require_aligned
from nissl.recording.labels import coordinate
from nissl.recording.recording import Recording

__all__ = ["aligned_responses", "halves_of_repeats"]

Array = NDArray[np.floating[Any]]


def aligned_responses(
    sides: Iterable[Mapping[str, Any]], on: str, *, repeats: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what is read of each side, and what stands for each stimulus, the same on all sides.

    Parameters
    ----------
    sides : iterable of mapping of str to Recording or array
        Sites of each side, as `by_site` returns them.
    on : str
        The sample coordinate that says which stimulus a sample is.
    repeats : bool
        Several samples of a stimulus are read: arrays are (n_stimuli, n_repeats, n_units).

    Returns
    -------
    list of dict of str to Recording or array
        The sides; of repeats, arrays (n_stimuli, n_repeats, n_units), NaN where a stimulus has
        fewer repeats than others.
    list of dict of str to Recording or array, shape (n_stimuli, n_units)
        The sides; of repeats, their means.

    Raises
    ------
    NisslError
        Stimuli are not the same, row by row.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording([[1.0], [5.0], [3.0]], samples={"stimulus": ["cat", "dog", "cat"]})
    >>> [read], [mean] = aligned_responses([{"site": rec}], "stimulus", repeats=True)
    >>> read["site"][..., 0].tolist(), mean["site"].values.tolist()
    ([[1.0, 3.0], [5.0, nan]], [[2.0], [5.0]])
    """
    read = means = [dict(side) for side in sides]
    if repeats:
        both = [{name: _side_by_side(x, on) for name, x in side.items()} for side in read]
        read, means = ([{k: v[i] for k, v in side.items()} for side in both] for i in (0, 1))
    require_aligned(*means, on=on)
    return read, means


def _side_by_side(x: Any, on: str) -> tuple[Array, Any]:
    """Return all samples of each stimulus, and their mean."""
    if isinstance(x, Recording):
        stimulus = pd.factorize(coordinate(x, on))[0]
        place = pd.Series(stimulus).groupby(stimulus).cumcount().to_numpy()
        mean = aggregate(x, by=on)
        found = np.full((len(mean), place.max() + 1, x.shape[1]), np.nan)
        found[stimulus, place] = x.values
        return found, mean
    values = np.asarray(x, dtype=np.float64)
    return values, np.nanmean(values, axis=1) if values.ndim == 3 else values


def halves_of_repeats(
    rec: Recording, on: str, rng: np.random.Generator
) -> tuple[Recording, Recording]:
    """Return the means of each stimulus over two random halves of its repeats.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Two samples of each stimulus or more; of an odd number, the first half has one more.
    on : str
        The sample coordinate that says which stimulus a sample is.
    rng : Generator
        Of the halves.

    Returns
    -------
    Recording, Recording, shape (n_stimuli, n_units)
        Aligned with each other.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording([[1.0], [5.0], [1.0], [5.0]], samples={"stimulus": list("abab")})
    >>> halves = halves_of_repeats(rec, "stimulus", np.random.default_rng(0))
    >>> [half.values.tolist() for half in halves]
    [[[1.0], [5.0]], [[1.0], [5.0]]]
    """
    stimulus = np.unique(coordinate(rec, on), return_inverse=True)[1]
    order = np.lexsort((rng.random(len(stimulus)), stimulus))
    place = np.arange(len(order)) - np.searchsorted(stimulus[order], stimulus[order])
    sides = (order[place % 2 == side] for side in (0, 1))
    one, two = (aggregate(rec[np.sort(rows)], by=on) for rows in sides)
    return align(one, two, on=on, order="first")
