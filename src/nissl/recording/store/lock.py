"""One writer at a time: a lock that the system releases when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from nissl.errors import NisslError

__all__ = ["Lock"]


class Lock:
    """The right to write a store, held until `release` or the end of the process.

    Parameters
    ----------
    path : Path
        The lock file, which holds the writer's process id.

    Raises
    ------
    NisslError
        Another writer holds it. The file of a writer that died is taken over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        while True:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(self._file, 32, 0).decode(errors="replace").strip()
                os.close(self._file)
                raise NisslError(
                    f"another process ({holder or 'unknown'}) is writing this store",
                    where=str(path.parent.parent),
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
