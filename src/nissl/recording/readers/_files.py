"""What every reader needs before it reads: the file, its library, and words for damage."""

from __future__ import annotations

import gzip
import importlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nissl.errors import NisslError, first_line, nearest

IN_CACHE = 1 << 19  # numbers that are read and laid out at a time: memory is slower than work


def existing(path: Path | str) -> Path:
    """Return the path of a file that is there and not empty, or say what is there instead."""
    path = Path(path).expanduser()
    if path.is_dir():
        raise NisslError("this is a folder, not a file", where=str(path), do="name a file in it")
    if not path.exists():
        there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, there)
        do = f"did you mean {' or '.join(near)}?" if near else "look whether the path is right"
        raise NisslError("there is no such file", where=str(path), do=do)
    if path.stat().st_size == 0:
        raise NisslError("the file is empty", where=str(path), do="copy or fetch it again")
    return path


def library(name: str, *, reads: str, extra: str = "brain") -> Any:
    """Import a library that not everyone has, or name the extra that brings it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NisslError(
            f"reading {reads} needs {name.split('.')[0]}, which does not import: {error}",
            do=f"pip install 'nissl[{extra}]'",
        ) from error


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into an error that says what to do."""
    try:
        yield
    except (NisslError, KeyboardInterrupt):
        raise
    except PermissionError as error:
        raise NisslError(
            "the file cannot be read: permission denied",
            where=str(path),
            do="ask its owner for the right to read it",
        ) from error
    except MemoryError as error:
        raise NisslError(
            f"this {kind} file does not fit into memory",
            where=str(path),
            do="read a part of it, or on a machine with more memory",
        ) from error
    except Exception as error:
        raise damaged(path, kind, f"{type(error).__name__}: {first_line(error)}") from error


def gunzip(path: Path, kind: str, keep: int = 0) -> bytes:
    """Return the first bytes of what a gzip file holds, all of it read and its checksum compared.

    The checksum stands behind the last byte, where a reader that stops early never looks.
    """
    parts = [part[: max(0, keep - n)] for n, part in _gunzipping(path, kind)]
    return b"".join(parts)


def gunzipped(path: Path, kind: str) -> int:
    """Return how many bytes a gzip file holds, its checksum compared; none of them is kept."""
    return sum(len(part) for _, part in _gunzipping(path, kind))


def _gunzipping(path: Path, kind: str) -> Iterator[tuple[int, bytes]]:
    n = 0
    try:
        with gzip.open(path, "rb") as file:
            while part := file.read(1 << 22):
                yield n, part
                n += len(part)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, kind, str(error)) from error


def damaged(path: Path, kind: str, why: str) -> NisslError:
    """Return the error for a file that is cut short, or not what its name says."""
    return NisslError(
        f"this {kind} file is damaged, cut short, or of another kind ({why})",
        where=str(path),
        do="copy or fetch it again, and compare its size with the original",
    )
