"""The folder a store is written to: empty, or a store that no one else is writing."""

from __future__ import annotations

import os
from pathlib import Path

from nissl.errors import NisslError
from nissl.recording.store.appender import disk_error
from nissl.recording.store.lock import Lock
from nissl.recording.store.manifest import GROUP, is_store

__all__ = ["claim"]


def claim(path: Path, *, resume: bool) -> Lock:
    """Make a store's folder, see that it is ours to write, and lock it.

    Parameters
    ----------
    path : Path
        The folder.
    resume : bool
        A store may be there already.

    Returns
    -------
    Lock
        To be released by the caller.

    Raises
    ------
    NisslError
        Something else is there, another writer is at work, or the folder cannot be written.
    """
    try:
        _check_folder(path)
        (path / GROUP).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error
    if is_store(path) and not resume:
        raise NisslError(
            "a store is there already",
            where=str(path),
            do="resume it with resume=True, write to another folder, or remove it",
        )
    try:
        return Lock(path / GROUP / "lock")
    except OSError as error:
        raise disk_error(error, path) from error


def _check_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise NisslError("a file is in the way", where=str(path), do="choose another folder")
    if path.is_dir() and not is_store(path) and set(os.listdir(path)) - {GROUP}:
        raise NisslError(
            "the folder holds other things than a store",
            where=str(path),
            do="write to an empty folder or a new one",
        )
