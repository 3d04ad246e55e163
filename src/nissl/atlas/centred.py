"""A recording less the level that each unit has in each subject, epoch or run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.nesting import CONTINUOUS, nested_groups
from nissl.recording import Chunk, Recording, chunks

__all__ = ["CentredRecording"]

Array = NDArray[np.floating[Any]]


class CentredRecording:
    """A recording less the mean of each unit in each run, read slice by slice.

    Activity rises and falls between subjects, epochs and runs for reasons that have nothing to do
    with what units do; correlation and density look inside them.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        In memory or lazy; read once for the means.

    Attributes
    ----------
    inside : str
        The coordinate inside which it is centred; "" where there is none: the whole recording.
    complete : bool
        Whether all values are finite.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.array([[1.0], [3.0], [8.0]]), samples={"run": [0, 0, 1]})
    >>> centred = CentredRecording(rec)
    >>> centred.inside, centred[:, 0:1].ravel().tolist()
    ('run', [-1.0, 1.0, 0.0])
    """

    def __init__(self, rec: Recording) -> None:
        nesting = [n for n in CONTINUOUS if n in rec.coords and rec[n].dims == ("sample",)]
        keys = nested_groups(rec, nesting)
        self.inside = nesting[-1] if nesting else ""
        self.group = keys[-1] if keys else np.zeros(rec.sizes["sample"], np.int64)
        self.rec = rec
        self.shape = rec.shape
        total = np.zeros((int(self.group.max()) + 1, rec.sizes["unit"]))
        count = np.zeros_like(total)
        for chunk in chunks(rec):
            here = self._of(chunk)
            finite = np.isfinite(chunk.values)
            for s in np.unique(here):
                kept = finite[here == s]
                total[s] += np.where(kept, chunk.values[here == s], 0).sum(0, dtype=np.float64)
                count[s] += kept.sum(axis=0)
        self.means = total / np.maximum(count, 1)
        self.complete = bool(np.all(np.bincount(self.group)[:, None] == count))

    def __getitem__(self, at: tuple[slice, slice]) -> Array:
        rows, units = at
        values = np.asarray(self.rec.variable[rows, units].values, np.float64)
        return np.asarray(values - self.means[:, units][self.group[rows]])

    def chunks(self) -> Iterator[Array]:
        """Yield the values chunk by chunk.

        Yields
        ------
        array, shape (n_rows, n_units)
            Consecutive samples.
        """
        for chunk in chunks(self.rec):
            yield chunk.values - self.means[self._of(chunk)]

    def _of(self, chunk: Chunk) -> NDArray[np.int64]:
        return self.group[chunk.start : chunk.start + len(chunk.values)]
