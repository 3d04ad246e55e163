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

__all__ = ["aligned_responses", "halves_of_repeats", "repeats_of"]

Array = NDArray[np.floating[Any]]


def repeats_of(sites: Mapping[str, Any], on: str) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return all samples of each stimulus, and their mean.

    Parameters
    ----------
    sites : mapping of str to Recording or array, shape (n_stimuli, n_repeats, n_units)
        Sites, as `sites_of` returns them; an array may have no axis of repeats.
    on : str
        The sample coordinate that says which stimulus a sample is.

    Returns
    -------
    dict of str to array, shape (n_stimuli, n_repeats, n_units)
        NaN where a stimulus has fewer repeats than others.
    dict of str to Recording or array, shape (n_stimuli, n_units)
        What stands for each stimulus where only one sample can.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording([[1.0], [5.0], [3.0]], samples={"stimulus": ["cat", "dog", "cat"]})
    >>> repeats_of({"site": rec}, "stimulus")[0]["site"][..., 0].tolist()
    [[1.0, 3.0], [5.0, nan]]
    """
    found: dict[str, Array] = {}
    means: dict[str, Any] = {}
    for name, x in sites.items():
        if isinstance(x, Recording):
            stimulus = pd.factorize(coordinate(x, on))[0]
            place = pd.Series(stimulus).groupby(stimulus).cumcount().to_numpy()
            means[name] = aggregate(x, by=on)
            found[name] = np.full((len(means[name]), place.max() + 1, x.shape[1]), np.nan)
            found[name][stimulus, place] = x.values
        else:
            found[name] = np.asarray(x, dtype=np.float64)
            means[name] = np.nanmean(found[name], axis=1) if np.ndim(x) == 3 else found[name]
    return found, means


def aligned_responses(
    sides: Iterable[Mapping[str, Any]], on: str, *, repeats: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what is read of each side, and what stands for each stimulus, the same on all sides.

    Parameters
    ----------
    sides : iterable of mapping of str to Recording or array
        Sites of each side, as `sites_of` returns them.
    on : str
        The sample coordinate that says which stimulus a sample is.
    repeats : bool
        Several samples of a stimulus are read.

    Returns
    -------
    list of dict of str to Recording or array
        All repeats (n_stimuli, n_repeats, n_units), or the sides themselves.
    list of dict of str to Recording or array, shape (n_stimuli, n_units)
        Their means, or the sides themselves.

    Raises
    ------
    NisslError
        Stimuli are not the same row by row.
    """
    both = [repeats_of(side, on) if repeats else (dict(side), dict(side)) for side in sides]
    require_aligned(*(means for _, means in both), on=on)
    return [read for read, _ in both], [means for _, means in both]


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
