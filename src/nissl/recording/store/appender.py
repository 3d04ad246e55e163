"""The thread that writes: blocks come by a bounded queue, errors go out at the next call."""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.store.layout import Layout, fill_value
from nissl.recording.store.shard import Shards, seal
from nissl.recording.store.tally import Tally

__all__ = ["Appender", "disk_error", "nonfinite_error"]

# Blocks that wait to be written hold at most this, beside one block a site that is being filled.
QUEUE_BYTES = 64 << 20


class Appender:
    """Writes the blocks of all sites in one thread, so that computing goes on meanwhile.

    Parameters
    ----------
    root : Path
        The store, for errors.
    shards : mapping of str to Shards
        Where each site's blocks go.
    tallies : mapping of str to Tally
        Where each site's numbers that are not finite are counted.
    refuse_nonfinite : bool
        NaN or infinity is an error.
    """

    def __init__(
        self,
        root: Path,
        shards: Mapping[str, Shards],
        tallies: Mapping[str, Tally],
        *,
        refuse_nonfinite: bool = False,
    ) -> None:
        self._root = root
        self._shards = shards
        self._tallies = tallies
        self._refuse_nonfinite = refuse_nonfinite
        self._error: BaseException | None = None
        self._sealing: list[Future[None]] = []
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="nissl-seal")
        self._jobs: queue.SimpleQueue[tuple[str, np.ndarray[Any, Any], bool] | None] = (
            queue.SimpleQueue()
        )
        self._free: dict[int, queue.SimpleQueue[np.ndarray[Any, Any]]] = {}
        self._unmade: dict[int, int] = {}
        sizes = [s.layout.block_bytes for s in shards.values()]
        for size in set(sizes):
            self._free[size] = queue.SimpleQueue()
            # One to fill for each site, and some that wait: memory is bounded by their number.
            waiting = max(2, QUEUE_BYTES // size // len(set(sizes)))
            self._unmade[size] = sizes.count(size) + min(waiting, 4 * sizes.count(size) + 2)
        self._thread = threading.Thread(target=self._run, name="nissl-append", daemon=True)
        self._thread.start()

    def take(self, layout: Layout) -> np.ndarray[Any, Any]:
        """Return a block to fill, waiting until one is free.

        Returns
        -------
        array of uint8, shape (block_bytes,)
            Its padding units hold the fill value; all else is arbitrary.
        """
        self.check()
        size = layout.block_bytes
        try:
            block = self._free[size].get_nowait()
        except queue.Empty:
            if self._unmade[size]:
                self._unmade[size] -= 1
                block = np.zeros(size, np.uint8)
            else:
                block = self._free[size].get()
        # Sites with blocks of one size may yet pad other units of the last column.
        last = layout.units_of(layout.n_columns - 1)
        layout.chunks(block)[-1, :, last.stop - last.start :] = fill_value(layout.dtype)
        return block

    def put(self, site: str, block: np.ndarray[Any, Any], *, counted: bool = True) -> None:
        """Hand over a filled block, to be counted unless it is filled up with nothing."""
        self.check()
        self._jobs.put((site, block, counted))

    def check(self) -> None:
        """Raise what went wrong in the thread."""
        if self._error is None:
            self._error = next(
                (f.exception() for f in self._sealing if f.done() and f.exception()), None
            )
        if isinstance(self._error, OSError):
            raise disk_error(self._error, self._root) from self._error
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Wait until all is written and sealed; then raise what went wrong."""
        self._jobs.put(None)
        self._thread.join()
        self._sealer.shutdown(wait=True)
        for shards in self._shards.values():
            shards.close()
        self.check()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            site, block, counted = job
            # After an error blocks are only given back, so that no caller waits for ever.
            if self._error is None:
                try:
                    self._write(site, block, counted)
                except BaseException as error:
                    self._error = error
            self._free[len(block)].put(block)

    def _write(self, site: str, block: np.ndarray[Any, Any], counted: bool) -> None:
        shards, tally = self._shards[site], self._tallies[site]
        place = tally.count(block, shards.blocks) if counted else None
        shard = shards.append(block)
        if shard is not None and counted:
            self._sealing = [f for f in self._sealing if not f.done() or f.exception()]
            self._sealing.append(self._sealer.submit(_seal, shards, tally, shard))
        if place is not None and self._refuse_nonfinite:
            raise nonfinite_error(site, *place)


def disk_error(error: OSError, root: Path) -> NisslError:
    """Return what a user can do about a disk that refuses."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what, do = "the disk is full", "make room and run the same again: it resumes"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what, do = "the store cannot be written", "choose a folder that you may write"
    else:
        what, do = f"writing failed: {error.strerror or error}", "run the same again: it resumes"
    return NisslError(what, where=str(error.filename or root), do=do)


def nonfinite_error(site: str, sample: int, unit: int) -> NisslError:
    """Return the error of a recording that refuses NaN and infinity."""
    return NisslError(
        "activity is NaN or infinite",
        where=f"{site}[{unit}], sample {sample}",
        do="nonfinite='count' records and counts it",
    )


def _seal(shards: Shards, tally: Tally, shard: int) -> None:
    tally.save(shard)
    seal(shards.folder, shards.layout, shard)
