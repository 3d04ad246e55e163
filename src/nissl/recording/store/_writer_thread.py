"""The thread that writes: row groups come by a bounded queue, the next call raises its errors."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from nissl.recording.store._layout import Layout, fill_value
from nissl.recording.store._lock import disk_error
from nissl.recording.store._nonfinite import NonfiniteCounter, nonfinite_error
from nissl.recording.store._shard import Shards, seal

__all__ = ["WriterThread"]

# Row groups that wait to be written hold at most this, beside one that is being filled a site.
QUEUE_BYTES = 64 << 20


class WriterThread:
    """Writes the row groups of all sites in one thread, so that computing goes on meanwhile.

    `root` is the store, for errors; `refuse_nonfinite` makes an error of NaN and infinity.
    """

    def __init__(
        self,
        root: Path,
        shards: Mapping[str, Shards],
        counters: Mapping[str, NonfiniteCounter],
        *,
        refuse_nonfinite: bool = False,
    ) -> None:
        self._root = root
        self._shards = shards
        self._counters = counters
        self._refuse_nonfinite = refuse_nonfinite
        self._error: BaseException | None = None
        self._sealing: list[Future[None]] = []
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="nissl-seal")
        self._jobs: queue.SimpleQueue[tuple[str, np.ndarray[Any, Any], bool] | None] = (
            queue.SimpleQueue()
        )
        self._free: dict[int, queue.SimpleQueue[np.ndarray[Any, Any]]] = {}
        self._unmade: dict[int, int] = {}
        sizes = [s.layout.row_group_bytes for s in shards.values()]
        for size in set(sizes):
            self._free[size] = queue.SimpleQueue()
            # One to fill for each site, and some that wait: memory is bounded by their number.
            waiting = max(2, QUEUE_BYTES // size // len(set(sizes)))
            self._unmade[size] = sizes.count(size) + min(waiting, 4 * sizes.count(size) + 2)
        self._thread = threading.Thread(target=self._run, name="nissl-append", daemon=True)
        self._thread.start()

    def take(self, layout: Layout) -> np.ndarray[Any, Any]:
        """Return a row group to fill, shape (row_group_bytes,), waiting until one is free.

        Its padding units hold the fill value; all else is arbitrary.
        """
        self.check()
        size = layout.row_group_bytes
        try:
            row_group = self._free[size].get_nowait()
        except queue.Empty:
            if self._unmade[size]:
                self._unmade[size] -= 1
                row_group = np.zeros(size, np.uint8)
            else:
                row_group = self._free[size].get()
        # Sites with row groups of one size may yet pad other units of the last column.
        last = layout.units_of(layout.n_columns - 1)
        layout.chunks(row_group)[-1, :, last.stop - last.start :] = fill_value(layout.dtype)
        return row_group

    def put(self, site: str, row_group: np.ndarray[Any, Any], *, counted: bool = True) -> None:
        """Hand over a filled row group, to be counted unless it is filled up with nothing."""
        self.check()
        self._jobs.put((site, row_group, counted))

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
            site, row_group, counted = job
            # After an error row groups are only given back, so that no caller waits for ever.
            if self._error is None:
                try:
                    self._write(site, row_group, counted)
                except BaseException as error:
                    self._error = error
            self._free[len(row_group)].put(row_group)

    def _write(self, site: str, row_group: np.ndarray[Any, Any], counted: bool) -> None:
        shards, counter = self._shards[site], self._counters[site]
        place = counter.count(row_group, shards.row_groups) if counted else None
        shard = shards.append(row_group)
        if shard is not None and counted:
            self._sealing = [f for f in self._sealing if not f.done() or f.exception()]
            self._sealing.append(self._sealer.submit(_seal, shards, counter, shard))
        if place is not None and self._refuse_nonfinite:
            raise nonfinite_error(site, *place)


def _seal(shards: Shards, counter: NonfiniteCounter, shard: int) -> None:
    counter.save(shard)
    seal(shards.folder, shards.layout, shard)
