"""A file that grows by row groups, past the system's cache where that is possible (O_DIRECT).

A recording is larger than memory and is not read while it is written: to keep it in the system's
cache costs a second copy of every byte, evicts what is of use, and stalls when the cache is full.
Direct writes must begin and end on pages, which row groups do not: what is left of a page is held
back until the next row group completes it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["DirectFile", "write_all"]

PAGE = 4096
# Smaller row groups are left to the system, which gathers them.
DIRECT_BYTES = 1 << 16


class DirectFile:
    """The row groups of a shard that is not whole.

    The file is made where it is missing; row groups of equal size are added behind the first
    `size` bytes.
    """

    def __init__(self, path: Path, size: int, row_group_bytes: int) -> None:
        self._path = path
        self._row_group_bytes = row_group_bytes
        self._file, self._direct = _open(path, direct=row_group_bytes >= DIRECT_BYTES)
        self._written = size
        self._held = 0
        if self._direct:
            # A page more, as up to a page may wait; mapped memory begins on a page.
            pages = mmap.mmap(-1, (row_group_bytes // PAGE + 2) * PAGE)
            self._pages = np.frombuffer(pages, np.uint8)
            self._take_back(size)

    def append(self, row_group: np.ndarray[Any, Any]) -> None:
        """Write a row group, shape (row_group_bytes,), behind the others.

        Where the disk refuses (OSError) the file ends with its last whole row group.
        """
        try:
            if not self._direct:
                write_all(self._file, row_group, self._written)
                self._written += len(row_group)
                return
            self._pages[self._held : self._held + len(row_group)] = row_group
            self._held += len(row_group)
            whole = self._held // PAGE * PAGE
            write_all(self._file, self._pages[:whole], self._written)
            self._written += whole
            self._pages[: self._held - whole] = self._pages[whole : self._held]
            self._held -= whole
        except OSError:
            self._held = 0
            with contextlib.suppress(OSError):
                os.ftruncate(
                    self._file, self._written // self._row_group_bytes * self._row_group_bytes
                )
            raise

    def close(self) -> None:
        """Write what is held back, and close the file."""
        os.close(self._file)
        if self._held:
            file, _ = _open(self._path, direct=False)
            try:
                write_all(file, self._pages[: self._held], self._written)
            finally:
                os.close(file)

    def _take_back(self, size: int) -> None:
        """Hold the last part of a page again, which an earlier run wrote."""
        self._written = size // PAGE * PAGE
        self._held = size - self._written
        if self._held:
            with open(self._path, "rb") as file:
                file.seek(self._written)
                self._pages[: self._held] = np.frombuffer(file.read(self._held), np.uint8)


def write_all(file: int, data: np.ndarray[Any, Any], offset: int) -> None:
    """Write all bytes at `offset`, however many calls it takes."""
    view = data.data
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def _open(path: Path, *, direct: bool) -> tuple[int, bool]:
    """Open a file for writing; tell whether past the cache, which not every file system knows."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    if direct and hasattr(os, "O_DIRECT"):
        with contextlib.suppress(OSError):
            return os.open(path, flags | os.O_DIRECT, 0o666), True
    return os.open(path, flags, 0o666), False
