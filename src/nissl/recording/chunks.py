"""Chunks: a recording in runs of consecutive samples, so that memory is bounded by a chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.recording import Recording, check

__all__ = ["Chunk", "chunks"]

COLUMN_ROWS = 1 << 20


@dataclass(frozen=True)
class Chunk:
    """Consecutive samples of a recording, with their labels.

    Parameters
    ----------
    site : str
        The site of the units; empty where a recording has several or none.
    values : array, shape (n_rows, n_units)
        float32 or float64, C-contiguous; valid until the next chunk, and not to be written to.
    samples : mapping of str to array
        The sample coordinates, each of shape (n_rows,).
    start : int
        The index of the first row among all samples.

    Examples
    --------
    >>> chunk = Chunk("embed", np.zeros((2, 3)), {"token": np.array([5, 7])}, start=10)
    >>> chunk.values.shape, chunk.start
    ((2, 3), 10)
    """

    site: str
    values: np.ndarray[Any, Any]
    samples: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    start: int = 0


def chunks(rec: Recording, *, size: int = 8192) -> Iterator[Chunk]:
    """Yield a recording chunk by chunk, reading no more than a chunk at a time.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        In memory or lazy. Half floats, booleans and integers of up to 16 bits come as float32,
        wider integers as float64.
    size : int
        Samples in a chunk; the last one has what is left.

    Yields
    ------
    Chunk
        At most `size` samples, in the recording's order.

    Raises
    ------
    NisslError
        `size` is less than one.
    NotARecording
        `rec` is not a Recording.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.arange(6).reshape(3, 2), samples={"trial": [0, 0, 1]})
    >>> [(b.start, b.values.shape, b.samples["trial"].tolist()) for b in chunks(rec, size=2)]
    [(0, (2, 2), [0, 0]), (2, (1, 2), [1])]
    """
    check(rec)
    if size < 1:
        raise NisslError(f"a chunk of {size} samples holds nothing", do="give size=1 or more")
    return _blocks(rec, size)


def _blocks(rec: Recording, size: int) -> Iterator[Chunk]:
    site = _only_site(rec)
    dtype = _floating(rec.dtype)
    # Variables, not DataArrays: slicing them costs a tenth, and reads no more than the slice.
    values = rec.variable
    columns = {str(n): c.variable for n, c in rec.coords.items() if c.dims == ("sample",)}
    # Columns are read many chunks at a time: a chunk of one would cost as much as the read.
    stretch = max(1, COLUMN_ROWS // size) * size
    held: dict[str, np.ndarray[Any, Any]] = {}
    for start in range(0, rec.sizes["sample"], size):
        first = start % stretch
        if first == 0:
            held = {n: np.asarray(c[start : start + stretch].values) for n, c in columns.items()}
        yield Chunk(
            site=site,
            values=np.ascontiguousarray(values[start : start + size].values, dtype=dtype),
            samples={name: column[first : first + size] for name, column in held.items()},
            start=start,
        )


def _only_site(rec: Recording) -> str:
    if "site" not in rec.coords:
        return ""
    sites = np.unique(np.asarray(rec["site"].values).astype(str))
    return str(sites[0]) if len(sites) == 1 else ""


def _floating(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the narrowest of float32 and float64 that holds every value of a type."""
    if dtype.kind == "f" and dtype.itemsize in (4, 8):
        return dtype.newbyteorder("=")
    exact = dtype == np.float16 or (dtype.kind in "iub" and dtype.itemsize <= 2)
    return np.dtype(np.float32 if exact else np.float64)
