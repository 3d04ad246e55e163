"""One site's chunks read by offset: the address is arithmetic, so no index is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from nissl.errors import NisslError
from nissl.recording.store._cast import bfloat16_values
from nissl.recording.store._layout import BFLOAT16, CHECKSUM_BYTES, Layout, checksum
from nissl.recording.store._shard import partial_path, shard_path

__all__ = ["Selection", "SiteReader", "compact", "groups"]

Indices: TypeAlias = np.ndarray[Any, Any]
Selection: TypeAlias = slice | Indices

# Of chunks verified before, up to so many rows are read alone; more, and whole chunks are quicker.
FEW_PIECES = 64


class SiteReader:
    """Reads any rows and units of a site; `verify` checks each chunk, whole, the first time."""

    def __init__(self, folder: Path, site: str, layout: Layout, *, verify: bool) -> None:
        self.folder = folder
        self.site = site
        self.layout = layout
        self.dtype = np.dtype("float32") if layout.dtype == BFLOAT16 else np.dtype(layout.dtype)
        self._verify = verify
        self._verified = np.full((layout.n_row_groups, layout.n_columns), not verify)

    def read(
        self,
        rows: Indices,
        units: Selection,
        out: np.ndarray[Any, Any],
        at: Selection,
        scratch: np.ndarray[Any, Any],
    ) -> None:
        """Read rows and units, in any order and with repeats, into columns `at` of an array.

        `units` and `at` are both arrays or both slices of step one; `scratch`, of row_group_bytes
        or more, is overwritten. An error says which shard is missing, too short or damaged.
        """
        columns = list(self._columns(units, at))
        wanted = [column for column, _, _ in columns]
        scratch = scratch[: self.layout.row_group_bytes]
        opened, file = -1, -1
        try:
            for row_group, mine in groups(rows // self.layout.chunk_rows):
                shard = row_group // self.layout.row_groups_per_shard
                if shard != opened:
                    _close(file)
                    opened, file = shard, -1
                    file = self._open(shard)
                inside = rows[mine] - row_group * self.layout.chunk_rows
                few = len(inside) * len(wanted) <= FEW_PIECES
                if few and self._verified[row_group, wanted].all():
                    chunks = self._rows(file, row_group, wanted, inside, scratch)
                else:
                    chunks = self._whole(file, row_group, wanted, scratch)
                lines, target = compact(inside), compact(mine)
                for column, chosen, places in columns:
                    values = chunks[column][lines][:, chosen]
                    if self.layout.dtype == BFLOAT16:
                        values = bfloat16_values(values)
                    _put(out, target, places, values)
        finally:
            _close(file)

    def _columns(
        self, units: Selection, at: Selection
    ) -> Iterator[tuple[int, Selection, Selection]]:
        """Yield each column of chunks with what is wanted of it and where that goes."""
        width = self.layout.width
        if isinstance(units, slice) and isinstance(at, slice):
            for column in range(units.start // width, (units.stop - 1) // width + 1):
                start, stop = (
                    max(units.start, column * width),
                    min(units.stop, (column + 1) * width),
                )
                first = at.start + start - units.start
                chosen = slice(start - column * width, stop - column * width)
                yield column, chosen, slice(first, first + stop - start)
        elif not isinstance(units, slice) and not isinstance(at, slice):
            for column, mine in groups(units // width):
                yield column, compact(units[mine] - column * width), compact(at[mine])

    def _whole(
        self, file: int, row_group: int, wanted: list[int], scratch: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        """Read columns of a row group into the scratch, check them, and return it as chunks."""
        size = self.layout.chunk_bytes
        for first, last in _runs(wanted):
            part = scratch[first * size : (last + 1) * size]
            self._fill(part, file, row_group, first * size)
            if not self._verify:
                continue
            for column, chunk in enumerate(part.reshape(-1, size), first):
                kept = int.from_bytes(chunk[-CHECKSUM_BYTES:], "little")
                if checksum(chunk[:-CHECKSUM_BYTES]) != kept:
                    raise self._damaged(row_group, column)
                self._verified[row_group, column] = True
        return self.layout.chunks(scratch)

    def _rows(
        self,
        file: int,
        row_group: int,
        wanted: list[int],
        inside: Indices,
        scratch: np.ndarray[Any, Any],
    ) -> np.ndarray[Any, Any]:
        """Read a few rows of a row group to their places in the scratch; return it as chunks."""
        size = self.layout.width * self.layout.storage.itemsize
        lines = inside.tolist()
        starts = [c * self.layout.chunk_bytes + r * size for c in wanted for r in lines]
        if hasattr(os, "posix_fadvise"):
            # All are asked for before the first is waited for.
            for start in starts:
                offset = self._offset(row_group) + start
                os.posix_fadvise(file, offset, size, os.POSIX_FADV_WILLNEED)
        for start in starts:
            self._fill(scratch[start : start + size], file, row_group, start)
        return self.layout.chunks(scratch)

    def _fill(self, part: np.ndarray[Any, Any], file: int, row_group: int, start: int) -> None:
        if os.preadv(file, [part.data], self._offset(row_group) + start) != len(part):
            raise NisslError(
                f"a shard of '{self.site}' ends too early",
                where=str(self._path(row_group // self.layout.row_groups_per_shard)),
                do="copy the store again, or record it again",
            )

    def _offset(self, row_group: int) -> int:
        return row_group % self.layout.row_groups_per_shard * self.layout.row_group_bytes

    def _open(self, shard: int) -> int:
        path = self._path(shard)
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NisslError(
                f"a shard of '{self.site}' cannot be opened: {error.strerror}",
                where=str(path),
                do="copy the store again, or record it again",
            ) from error
        if hasattr(os, "posix_fadvise"):
            # What lies around a chunk is of no use: reading ahead would read the whole file.
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        return file

    def _path(self, shard: int) -> Path:
        whole = shard_path(self.folder, shard)
        return whole if whole.exists() else partial_path(self.folder, shard)

    def _damaged(self, row_group: int, column: int) -> NisslError:
        first, units = row_group * self.layout.chunk_rows, self.layout.units_of(column)
        return NisslError(
            f"a chunk of '{self.site}' is damaged: its checksum differs (samples {first} to "
            f"{first + self.layout.chunk_rows - 1}, units {units.start} to {units.stop - 1})",
            where=str(self._path(row_group // self.layout.row_groups_per_shard)),
            do="copy the store again; or remove this file and run what recorded it again: it"
            " records what is missing",
        )


def groups(keys: Indices) -> Iterator[tuple[int, Indices]]:
    """Yield each key with the places where it stands."""
    if not len(keys):
        return
    order = np.arange(len(keys))
    if np.any(keys[1:] < keys[:-1]):
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
    edges = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    starts, stops = [0, *edges.tolist()], [*edges.tolist(), len(keys)]
    for start, stop in zip(starts, stops, strict=True):
        yield int(keys[start]), order[start:stop]


def _runs(columns: list[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of adjacent columns."""
    first = columns[0]
    for column, then in pairwise([*columns, -1]):
        if then != column + 1:
            yield first, column
            first = then


def compact(indices: Indices) -> slice | Indices:
    """Return consecutive indices as a slice, which copies faster."""
    first, n = int(indices[0]), len(indices)
    if int(indices[-1]) - first == n - 1 and (n < 3 or bool(np.all(np.diff(indices) == 1))):
        return slice(first, first + n)
    return indices


def _put(
    out: np.ndarray[Any, Any],
    rows: slice | Indices,
    columns: slice | Indices,
    values: np.ndarray[Any, Any],
) -> None:
    if isinstance(rows, slice) or isinstance(columns, slice):
        out[rows, columns] = values
    else:
        out[np.ix_(rows, columns)] = values


def _close(file: int) -> None:
    if file >= 0:
        os.close(file)
