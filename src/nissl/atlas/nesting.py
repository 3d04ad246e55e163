"""Nested exchangeability blocks: subjects, runs, trials, found by the names of coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nissl.recording import Recording
from nissl.recording.labels import coordinate, word_codes

__all__ = ["CONTINUOUS", "innermost_groups", "nested_groups", "nesting_coordinates"]

#: Between these the level of a whole recording may differ.
CONTINUOUS = ("subject", "session", "day", "epoch", "run")
REPETITIONS = ("document", "trial", "interval")
#: Innermost groups of samples where there are no repetitions.
PRESENTED = ("stimulus", "image")


def nesting_coordinates(rec: Recording) -> list[str]:
    """Name the sample coordinates of exchangeability blocks, from large to small.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The recording; its values are not read.

    Returns
    -------
    list of str
        Of subject, session, day, epoch, run, document, trial and interval those that are there;
        where there is neither document, trial nor interval, also stimulus and image.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.zeros((2, 1)), samples={"trial": [0, 1], "run": [0, 0]})
    >>> nesting_coordinates(rec)
    ['run', 'trial']
    """
    names = [n for n in (*CONTINUOUS, *REPETITIONS) if n in rec.coords]
    if not set(names) & set(REPETITIONS):
        names += [n for n in PRESENTED if n in rec.coords]
    return [name for name in names if rec[name].dims == ("sample",)]


def nested_groups(rec: Recording, nesting: Sequence[str]) -> list[NDArray[np.int64]]:
    """Number the blocks at every level, those of one level inside those of the level above.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The recording; its values are not read.
    nesting : sequence of str
        Sample coordinates that hold samples together, from large to small.

    Returns
    -------
    list of array of int, each of shape (n_samples,)
        The block of every sample, for each coordinate: run 0 of another subject is another block.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.zeros((4, 1)), samples={"subject": [0, 0, 1, 1], "run": [0, 1, 0, 1]})
    >>> [key.tolist() for key in nested_groups(rec, ["subject", "run"])]
    [[0, 0, 1, 1], [0, 1, 2, 3]]
    """
    keys: list[NDArray[np.int64]] = []
    above = np.zeros(rec.sizes["sample"], np.int64)
    for name in nesting:
        own = np.unique(word_codes(coordinate(rec, name)), return_inverse=True)[1]
        above = np.unique(above * (own.max() + 1) + own, return_inverse=True)[1]
        keys.append(above)
    return keys


def innermost_groups(rec: Recording) -> NDArray[np.int64]:
    """Number the smallest exchangeability blocks, found by the names of coordinates.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The recording; its values are not read.

    Returns
    -------
    array of int, shape (n_samples,)
        The block of every sample; all 0 where no coordinate names one.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> innermost_groups(as_recording(np.zeros((3, 1)), samples={"trial": [4, 4, 9]})).tolist()
    [0, 0, 1]
    """
    keys = nested_groups(rec, nesting_coordinates(rec))
    return keys[-1] if keys else np.zeros(rec.sizes["sample"], np.int64)
