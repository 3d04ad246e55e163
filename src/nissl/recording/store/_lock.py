"""The folder a store is written to: empty or a store, and locked, so that one writer is at work."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from nissl.errors import NisslError
from nissl.recording.store.manifest import GROUP, is_store

__all__ = ["Lock", "disk_error", "lock_folder"]


def lock_folder(path: Path, *, resume: bool) -> Lock:
    """Make a store's folder, see that it is ours to write, and lock it; the caller releases it.

    Refused is a folder with other things, that another process writes to, that cannot be written,
    or that holds a store where `resume` is false.
    """
    try:
        _check_folder(path)
        _refuse_links(path)
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


class Lock:
    """The right to write a store, held until `release` or the end of the process.

    The lock file holds the writer's process id; that of a writer that died is taken over.
    """

    def __init__(self, path: Path, *, what: str = "store", where: Path | None = None) -> None:
        self.path = path
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(path, flags, 0o666)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(self._file, 32, 0).decode(errors="replace").strip()
                os.close(self._file)
                raise NisslError(
                    f"another process ({holder or 'unknown'}) is writing this {what}",
                    where=str(where or path.parent.parent),
                    do="wait for it to end, or write to another folder",
                ) from error
            # The holder before us may have removed the file between our opening and locking it.
            if path.exists() and os.path.samestat(os.fstat(self._file), os.stat(path)):
                break
            os.close(self._file)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next writer in, and leave no file behind."""
        self.path.unlink(missing_ok=True)
        os.close(self._file)


def disk_error(error: OSError, root: Path) -> NisslError:
    """Return what a user can do about a disk that refuses."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what, do = "the disk is full", "make room and run the same again: it resumes"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what, do = "the store cannot be written", "choose a folder that you may write"
    else:
        what, do = f"writing failed: {error.strerror or error}", "run the same again: it resumes"
    return NisslError(what, where=str(error.filename or root), do=do)


def _check_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise NisslError("a file is in the way", where=str(path), do="choose another folder")
    if path.is_dir() and not is_store(path) and set(os.listdir(path)) - {GROUP}:
        raise NisslError(
            "the folder holds other things than a store",
            where=str(path),
            do="write to an empty folder or a new one",
        )


def _refuse_links(path: Path) -> None:
    """Refuse a folder in which a link would lead what is written to another place."""
    for folder, folders, files in os.walk(path):
        for name in [*folders, *files]:
            if (place := Path(folder, name)).is_symlink():
                raise NisslError(
                    "the folder holds a link, which is not followed when a store is written",
                    where=str(place),
                    do="put what it names in its place, or write to another folder",
                )
