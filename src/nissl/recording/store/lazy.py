"""Arrays that xarray reads only where they are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from nissl.recording.store.arrays import read_column
from nissl.recording.store.chunks import SiteReader

__all__ = ["LazyColumn", "LazyValues"]


class LazyValues(BackendArray):
    """All units of some sites side by side.

    Parameters
    ----------
    readers : sequence of SiteReader
        The sites, in their order along ``unit``.
    n_samples : int
        Rows that may be read.
    """

    def __init__(self, readers: Sequence[SiteReader], n_samples: int) -> None:
        self.readers = list(readers)
        self.starts = np.cumsum([0, *(reader.layout.n_units for reader in readers)])
        self.shape = (n_samples, int(self.starts[-1]))
        self.dtype = readers[0].dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read a selection by integers, slices and arrays along each side."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray[Any, Any]:
        rows, units = (np.arange(n)[k] for n, k in zip(self.shape, key, strict=True))
        shape = np.shape(rows) + np.shape(units)
        rows, units = np.atleast_1d(rows), np.atleast_1d(units)
        out = np.empty((len(rows), len(units)), self.dtype)
        site_of = np.searchsorted(self.starts, units, side="right") - 1
        for site in np.unique(site_of):
            places = np.flatnonzero(site_of == site)
            self.readers[site].read(rows, units[places] - self.starts[site], out, places)
        return out.reshape(shape)


class LazyColumn(BackendArray):
    """One column of a table.

    Parameters
    ----------
    folder : Path
        Its zarr array.
    description : dict
        Its dtype.
    length : int
        Rows that may be read.
    """

    def __init__(self, folder: Path, description: dict[str, Any], length: int) -> None:
        self.folder = folder
        self.shape = (length,)
        self.dtype = np.dtype(description["dtype"])

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read the column, and take of it what is asked for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray[Any, Any]:
        return np.asarray(read_column(self.folder)[: self.shape[0]][key])
