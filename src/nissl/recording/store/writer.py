"""The writer of a store: rows in as they are computed, whole shards out, resumed after any end."""

from __future__ import annotations

import shutil
import warnings
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.free_memory import in_words
from nissl.recording.store._cast import as_numbers, copy_rows, fill_row_group
from nissl.recording.store._finalize import finalize
from nissl.recording.store._layout import Layout
from nissl.recording.store._lock import disk_error, lock_folder
from nissl.recording.store._nonfinite import NonfiniteCounter, nonfinite_error
from nissl.recording.store._resume import has_all_shards, rows_on_disk, truncate, whole_batches
from nissl.recording.store._schema import SampleAxis, StoreSchema
from nissl.recording.store._shard import Shards
from nissl.recording.store._writer_thread import WriterThread
from nissl.recording.store.manifest import (
    Manifest,
    StoreMismatch,
    differences,
    is_store,
    read_manifest,
    write_manifest,
)

__all__ = ["StoreWriter"]


class StoreWriter:
    """Write the activity of many sites to a store while it is computed.

    Rows are copied as they come and written by a thread. A run that ends at any moment, killed or
    by an error, is resumed by making the same writer again: it cuts the store back to the last
    batch that every site holds in full, and `batch` says where to go on. What results is the same
    to the byte as from a run that never ended.

    Parameters
    ----------
    path : str or Path
        The store's folder.
    sites : mapping of str to int
        Units of each site.
    n_samples : int
        Samples there will be.
    boundaries : sequence of int, optional
        Rows there are after each batch; by default all come in one.
    dtype : str
        ``float32``, ``float16``, ``bfloat16`` (kept as bit patterns in an array of uint16, as
        numpy and zarr have none; `open_store` gives float32), or any numpy number.
    samples : mapping of str to array, optional
        Columns of length n_samples, numbers or words; attributes of a Variable are kept.
    units : mapping of str to mapping, optional
        For each site, columns of the length of its units; ``unit``, ``site`` and ``index`` are
        made where they are missing.
    axes : mapping of str to SampleAxis, optional
        The samples of sites that have others than the rest.
    provenance : mapping, optional
        Scalars or strings: network, weights, text, versions, and ``quantity``, what the numbers
        are. A store resumes only with its own.
    nonfinite : {"count", "error"}
        NaN or infinity: count it for each unit, or stop. What comes with it is kept either way.
    resume : bool
        Go on with a store that is there; otherwise refuse it.

    Attributes
    ----------
    bytes_needed : int
        What is still to be written, in bytes.

    Raises
    ------
    StoreMismatch
        The store that is there was made by another run.
    NisslError
        The folder is not a store, is being written, cannot be written, or the disk has too little
        room; a store is there and `resume` is false.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with StoreWriter(folder, sites={"embed": 3}, n_samples=4, boundaries=[2, 4]) as writer:
    ...     for batch in range(writer.batch, 2):
    ...         writer.append("embed", np.full((2, 3), batch))
    >>> import xarray
    >>> xarray.open_zarr(folder, chunks=None)["embed"].values[:, 0].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """

    def __init__(
        self,
        path: str | Path,
        *,
        sites: Mapping[str, int],
        n_samples: int,
        boundaries: Sequence[int] | np.ndarray[Any, Any] | None = None,
        dtype: str = "float32",
        samples: Mapping[str, Any] | None = None,
        units: Mapping[str, Mapping[str, Any]] | None = None,
        axes: Mapping[str, SampleAxis] | None = None,
        provenance: Mapping[str, Any] | None = None,
        nonfinite: Literal["count", "error"] = "count",
        resume: bool = True,
        _layout: Mapping[str, int] | None = None,
    ) -> None:
        self.path = Path(path)
        self._schema = StoreSchema(
            sites=sites,
            main=SampleAxis(n_samples, boundaries, samples or {}),
            axes=axes or {},
            dtype=dtype,
            units=units or {},
            attrs={"quantity": "activity", **(provenance or {})},
            layout=_layout or {},
        )
        self._closed = False
        self._failed = False
        self._lock = lock_folder(self.path, resume=resume)
        try:
            self._begin(refuse_nonfinite=nonfinite == "error")
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError):
                raise disk_error(error, self.path) from error
            raise

    @property
    def batch(self) -> int:
        """The first batch that some site still lacks; the number of batches once all have all."""
        return min(
            bisect_right(axis.boundaries, min(self._rows[s] for s in self._sites_of[number]))
            for number, axis in enumerate(self._schema.axes)
        )

    def append(self, site: str, values: Any) -> None:
        """Add rows of the current batch to one site.

        Parameters
        ----------
        site : str
            The site; sites come in any order.
        values : array or tensor, shape (n_rows, n_units)
            Copied before this returns.

        Raises
        ------
        NisslError
            A wrong shape, more rows than the batch has, a number that overflows the store's dtype
            (with its unit and sample), or a disk that refuses. What was whole stays.
        """
        layout = self._layout_of(site)
        self._thread.check()
        numbers = as_numbers(values, layout.dtype, site=site)
        if numbers.ndim != 2 or numbers.shape[1] != layout.n_units:
            raise NisslError(
                f"rows of shape (n, {layout.n_units}) are expected, not {numbers.shape}", where=site
            )
        self._check_batch(site, len(numbers))
        start = 0
        while start < len(numbers):
            if site not in self._row_groups:
                self._row_groups[site] = self._thread.take(layout)
            row = self._rows[site] % layout.chunk_rows
            part = numbers[start : start + layout.chunk_rows - row]
            chunks = layout.chunks(self._row_groups[site])
            if (place := copy_rows(chunks, row, part, layout)) is not None:
                row, unit = place
                self._overflow(site, float(part[row, unit]), unit, self._rows[site] + row)
            start += len(part)
            self._rows[site] += len(part)
            if row + len(part) == layout.chunk_rows or self._rows[site] == layout.n_samples:
                fill_row_group(chunks, row + len(part), layout)
                self._thread.put(site, self._row_groups.pop(site))

    def close(self) -> None:
        """Write what is left and make the store whole, or, where batches lack, ready to resume.

        Raises
        ------
        NisslError
            The disk refused; the same run resumes.
        """
        if self._closed:
            return
        self._closed = True
        try:
            complete = self.batch == self._schema.n_batches and not self._failed
            if complete:
                self._thread.close()
                if not self._manifest["complete"]:
                    finalize(self.path, self._schema, self._manifest, self._counters)
            else:
                self._interrupt()
        except OSError as error:
            raise disk_error(error, self.path) from error
        finally:
            self._lock.release()
        if not complete and not self._failed:
            warnings.warn(
                f"{self.path} holds {self.batch} of {self._schema.n_batches} batches; "
                "the same run resumes it",
                stacklevel=2,
            )

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; after an exception keep what is whole, and let the exception go on."""
        self._failed = self._failed or kind is not None
        try:
            self.close()
        except NisslError:
            if kind is None:
                raise

    def _begin(self, *, refuse_nonfinite: bool) -> None:
        schema = self._schema
        self._manifest = schema.manifest()
        folders = {site: self.path / name for site, name in schema.arrays.items()}
        self._counters = {
            s: NonfiniteCounter(folders[s], layout) for s, layout in schema.layouts.items()
        }
        self._rows = dict.fromkeys(schema.layouts, 0)
        self._row_groups: dict[str, np.ndarray[Any, Any]] = {}
        self._tails: dict[str, np.ndarray[Any, Any]] = {}
        self._sites_of = [
            [s for s, axis in schema.axis_of.items() if axis == number]
            for number in range(len(schema.axes))
        ]
        row_groups = dict.fromkeys(schema.layouts, 0)
        if is_store(self.path):
            old = read_manifest(self.path)
            if fields := differences(old, self._manifest):
                raise StoreMismatch(fields, where=str(self.path))
            row_groups = self._resume(old, folders)
            # What an earlier run refused is not let pass by the next.
            for site, counter in self._counters.items() if refuse_nonfinite else ():
                if (place := counter.first()) is not None:
                    raise nonfinite_error(site, *place)
        self.bytes_needed = schema.total_bytes - sum(
            row_groups[site] * layout.row_group_bytes for site, layout in schema.layouts.items()
        )
        if not self._manifest["complete"]:
            self._check_room()
            write_manifest(self.path, self._manifest)
            schema.write(self.path)
        self._shards = {
            site: Shards(folders[site], layout, row_groups=row_groups[site])
            for site, layout in schema.layouts.items()
        }
        self._thread = WriterThread(
            self.path, self._shards, self._counters, refuse_nonfinite=refuse_nonfinite
        )
        for site, tail in self._tails.items():
            self._row_groups[site] = self._thread.take(schema.layouts[site])
            self._row_groups[site][:] = tail

    def _resume(self, old: Manifest, folders: Mapping[str, Path]) -> dict[str, int]:
        """Cut what is there back to its last whole batch; return the row groups that are kept."""
        layouts = self._schema.layouts
        whole = old["complete"] and all(
            has_all_shards(folders[site], layout) for site, layout in layouts.items()
        )
        if whole:
            for counter in self._counters.values():
                counter.remove()  # a kill may have come between the manifest and this
            self._manifest = old
            self._rows = {site: layout.n_samples for site, layout in layouts.items()}
            return {site: layout.n_row_groups for site, layout in layouts.items()}
        found = {
            site: rows_on_disk(folders[site], layout, old["sites"][site]["rows"], verify=True)
            for site, layout in layouts.items()
        }
        batch = whole_batches(old, found)
        row_groups = {}
        for site, layout in layouts.items():
            boundaries = self._schema.axes[self._schema.axis_of[site]].boundaries
            rows = boundaries[batch - 1] if batch else 0
            # Where a shard of a complete store was lost, the counts beside the shards are gone too.
            row_groups[site], tail = truncate(
                folders[site], layout, rows, self._counters[site], recount=old["complete"]
            )
            self._rows[site] = rows
            if tail is not None:
                self._tails[site] = tail
        return row_groups

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.path).free
        if self.bytes_needed > free:
            raise NisslError(
                f"the recording needs {in_words(self.bytes_needed)}; {in_words(free)} are free",
                where=str(self.path),
                do="record fewer sites or samples, keep float16, or choose another disk",
            )

    def _layout_of(self, site: str) -> Layout:
        if self._closed or self._failed:
            raise NisslError(
                "this writer is closed", where=str(self.path), do="make it again: it resumes"
            )
        if site not in self._schema.layouts:
            raise UnknownName("site", site, self._schema.layouts)
        return self._schema.layouts[site]

    def _check_batch(self, site: str, n_rows: int) -> None:
        boundaries = self._schema.axes[self._schema.axis_of[site]].boundaries
        batch = self.batch
        end = boundaries[batch] if batch < len(boundaries) else self._rows[site]
        if self._rows[site] + n_rows > end:
            raise NisslError(
                f"batch {batch} ends at row {end}, but {n_rows} rows come after row "
                f"{self._rows[site]}",
                where=site,
                do="append every site's rows of a batch before the next batch",
            )

    def _overflow(self, site: str, value: float, unit: int, sample: int) -> NoReturn:
        self._failed = True
        raise NisslError(
            f"{value:.6g} does not fit into {self._schema.dtype}",
            where=f"{site}[{unit}], sample {sample}",
            do="keep this site as float32 or bfloat16; what was recorded before is kept",
        )

    def _interrupt(self) -> None:
        """Keep every row that came: note how many, and fill up the unfinished row groups."""
        try:
            self._thread.check()
            for site, rows in self._rows.items():
                self._manifest["sites"][site]["rows"] = rows
            # Before the row groups, whose filling must not be taken for rows.
            write_manifest(self.path, self._manifest)
            for site, row_group in self._row_groups.items():
                layout = self._schema.layouts[site]
                # An interrupt may come when a row group is full and not yet handed over.
                used = (self._rows[site] - 1) % layout.chunk_rows + 1 if self._rows[site] else 0
                fill_row_group(layout.chunks(row_group), used, layout)
                self._thread.put(site, row_group, counted=False)
        finally:
            self._row_groups.clear()
            self._thread.close()
