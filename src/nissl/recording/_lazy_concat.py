"""Values of several recordings as one array: in memory, of dask, or lazy."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

Array = np.ndarray[Any, Any]


def joined(parts: list[xr.Variable], axis: int) -> xr.Variable:
    """Put values together: in memory, by dask where they are dask's, else lazily."""
    if len(parts) == 1:
        return parts[0].copy(deep=False)
    if any(p.chunks is not None for p in parts):
        dask_array: Any = importlib.import_module("dask.array")
        chunked = [p.chunk({}).data if p.chunks is None else p.data for p in parts]
        return xr.Variable(parts[0].dims, dask_array.concatenate(chunked, axis=axis))
    if all(p._in_memory for p in parts):
        return xr.Variable(parts[0].dims, np.concatenate([p.values for p in parts], axis=axis))
    return xr.Variable(parts[0].dims, indexing.LazilyIndexedArray(LazyParts(parts, axis)))


class LazyParts(BackendArray):
    """Variables one after another along an axis, each read only where it is looked at."""

    def __init__(self, parts: list[xr.Variable], axis: int) -> None:
        self.parts = parts
        self.axis = axis
        self.starts = np.cumsum([0, *(p.shape[axis] for p in parts)])
        other = parts[0].shape[1 - axis]
        total = int(self.starts[-1])
        self.shape = (total, other) if axis == 0 else (other, total)
        self.dtype = np.result_type(*(p.dtype for p in parts))

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Array:
        return np.asarray(
            indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.OUTER, self._read
            )
        )

    def _read(self, key: tuple[Any, ...]) -> Array:
        places = [np.arange(n)[k] for n, k in zip(self.shape, key, strict=True)]
        shape = np.shape(places[0]) + np.shape(places[1])
        places = [np.atleast_1d(p) for p in places]
        out = np.empty((len(places[0]), len(places[1])), self.dtype)
        part_of = np.searchsorted(self.starts, places[self.axis], side="right") - 1
        for n in np.unique(part_of):
            here = np.flatnonzero(part_of == n)
            take = list(places)
            take[self.axis] = places[self.axis][here] - self.starts[n]
            read = self.parts[n][tuple(_run(t) for t in take)].values
            out[(here, slice(None)) if self.axis == 0 else (slice(None), here)] = read
        return out.reshape(shape)


def _run(places: Array) -> Array | slice:
    """Return consecutive places as a slice, which is quicker to read."""
    if len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places
