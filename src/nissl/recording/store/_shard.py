"""One site's shards: row groups go to a ``.partial`` file; an index and a rename make it whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from nissl.recording.store._direct_file import DirectFile, write_all
from nissl.recording.store._layout import CHECKSUM_BYTES, Layout, checksum

__all__ = ["Shards", "damaged_chunks", "partial_path", "seal", "shard_path", "sync"]


def shard_path(folder: Path, shard: int) -> Path:
    """Return where zarr looks for shard number `shard` of the array in `folder`."""
    return folder / "c" / str(shard) / "0"


def partial_path(folder: Path, shard: int) -> Path:
    """Return where shard number `shard` grows until it is whole."""
    return folder / "c" / str(shard) / "0.partial"


class Shards:
    """The shards of one site while they are written; so many row groups are on disk already."""

    def __init__(self, folder: Path, layout: Layout, *, row_groups: int = 0) -> None:
        self.folder = folder
        self.layout = layout
        self.row_groups = row_groups
        self._file: DirectFile | None = None

    def append(self, row_group: np.ndarray[Any, Any]) -> int | None:
        """Add the checksums to a row group and write it.

        Returned is the number of the shard that now has all its row groups and waits to be sealed.
        Where the disk refuses (OSError) the file ends with its last whole row group.
        """
        _add_checksums(row_group, self.layout)
        shard, place = divmod(self.row_groups, self.layout.row_groups_per_shard)
        if self._file is None:
            path = partial_path(self.folder, shard)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = DirectFile(
                path, place * self.layout.row_group_bytes, self.layout.row_group_bytes
            )
        self._file.append(row_group)
        self.row_groups += 1
        if place + 1 < self.layout.row_groups_in(shard):
            return None
        self.close()
        return shard

    def close(self) -> None:
        """Write what is held back and close the file, if one is open."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()


def seal(folder: Path, layout: Layout, shard: int) -> None:
    """Make a shard whole: its index behind its row groups, on the disk, under the name zarr reads.

    Where the disk refuses (OSError) the partial file still has all its row groups.
    """
    path = partial_path(folder, shard)
    end = layout.row_groups_in(shard) * layout.row_group_bytes
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(file, end)
        write_all(file, np.frombuffer(layout.index(shard), np.uint8), end)
        # The name must not reach the disk before what it names.
        os.fsync(file)
    finally:
        os.close(file)
    os.replace(path, shard_path(folder, shard))
    sync(path.parent)


def damaged_chunks(row_group: np.ndarray[Any, Any], layout: Layout) -> list[int]:
    """Return the columns of a row group of bytes whose checksum does not fit."""
    rows = row_group.reshape(layout.n_columns, layout.chunk_bytes)
    return [
        column
        for column, chunk in enumerate(rows)
        if checksum(chunk[:-CHECKSUM_BYTES]) != int.from_bytes(chunk[-CHECKSUM_BYTES:], "little")
    ]


def sync(path: Path) -> None:
    """Put a file, or a folder's names, on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _add_checksums(row_group: np.ndarray[Any, Any], layout: Layout) -> None:
    for chunk in row_group.reshape(layout.n_columns, layout.chunk_bytes):
        value = checksum(chunk[:-CHECKSUM_BYTES])
        chunk[-CHECKSUM_BYTES:] = np.frombuffer(value.to_bytes(CHECKSUM_BYTES, "little"), np.uint8)
