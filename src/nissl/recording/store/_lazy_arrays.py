"""Arrays that xarray reads only where they are looked at."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from nissl.recording.store._arrays import read_column
from nissl.recording.store._site_reader import Selection, SiteReader, compact, groups

__all__ = ["LazyColumn", "LazyValues"]

THREADS = 8


class LazyValues(BackendArray):
    """All units of some sites side by side; the first `n_samples` rows may be read."""

    def __init__(self, readers: Sequence[SiteReader], n_samples: int) -> None:
        self.readers = list(readers)
        self.starts = [0, *accumulate(reader.layout.n_units for reader in readers)]
        self.shape = (n_samples, self.starts[-1])
        self._scratch_bytes = max(reader.layout.row_group_bytes for reader in readers)
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
        sites = list(self._by_site(units))
        tasks = [(*site, part) for site in sites for part in self._parts(rows, len(sites))]
        own = threading.local()

        def read(task: tuple[SiteReader, Selection, Selection, slice]) -> None:
            reader, chosen, at, part = task
            # Memory that was touched before is much quicker to fill.
            if not hasattr(own, "scratch"):
                own.scratch = np.empty(self._scratch_bytes, np.uint8)
            reader.read(rows[part], chosen, out[part], at, own.scratch)

        if len(tasks) < 2:
            for task in tasks:
                read(task)
        else:
            # A disk answers several requests at once in little more time than one.
            with ThreadPoolExecutor(min(len(tasks), THREADS)) as pool:
                list(pool.map(read, tasks))
        return out.reshape(shape)

    def _by_site(
        self, units: np.ndarray[Any, Any]
    ) -> Iterator[tuple[SiteReader, Selection, Selection]]:
        """Yield each site with its units and their places among those asked for."""
        if not len(units):
            return
        together = compact(units)
        if isinstance(together, slice):
            for reader, first, last in zip(
                self.readers, self.starts, self.starts[1:], strict=False
            ):
                start, stop = max(together.start, first), min(together.stop, last)
                if start < stop:
                    at = slice(start - together.start, stop - together.start)
                    yield reader, slice(start - first, stop - first), at
            return
        for site, places in groups(np.searchsorted(self.starts, units, side="right") - 1):
            yield self.readers[site], units[places] - self.starts[site], places

    def _parts(self, rows: np.ndarray[Any, Any], n_sites: int) -> list[slice]:
        """Cut the rows into parts for the threads; none cuts a chunk, which would be read twice."""
        row_groups = rows // self.readers[0].layout.chunk_rows
        if n_sites >= THREADS or np.any(row_groups[1:] < row_groups[:-1]):
            return [slice(0, len(rows))]
        edges = np.concatenate([[0], np.flatnonzero(np.diff(row_groups)) + 1])
        firsts = [int(part[0]) for part in np.array_split(edges, THREADS) if len(part)]
        return [slice(a, b) for a, b in pairwise([*firsts, len(rows)])]


class LazyColumn(BackendArray):
    """One column of a table; the first `length` rows may be read."""

    def __init__(self, folder: Path, description: dict[str, Any], length: int) -> None:
        self.folder = folder
        self.described = description
        self.shape = (length,)
        self.dtype = np.dtype(object if description["dtype"] == "string" else description["dtype"])

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read the chunks that hold what is asked for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray[Any, Any]:
        rows = np.arange(self.shape[0])[key]
        if not rows.size:
            return np.empty(rows.shape, self.dtype)
        first = int(rows.min())
        return np.asarray(
            read_column(self.folder, self.described, first, int(rows.max()) + 1)[rows - first]
        )
