"""How many numbers of each unit are NaN or infinite, by shard, so that a resume keeps count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nissl.recording.store.layout import Layout
from nissl.recording.store.rows import nonfinite

__all__ = ["Tally"]


class Tally:
    """Counts of one site, kept apart by shard until the store is complete.

    Parameters
    ----------
    folder : Path
        The array's folder.
    layout : Layout
        The site's arithmetic.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder = folder
        self.layout = layout
        self._shards: dict[int, np.ndarray[Any, Any]] = {}

    def count(self, block: np.ndarray[Any, Any], number: int) -> tuple[int, int] | None:
        """Count the numbers of block `number` that are not finite.

        Returns
        -------
        tuple of int, or None
            Sample and unit of the first of them.
        """
        start = number * self.layout.chunk_rows
        rows = min(self.layout.chunk_rows, self.layout.n_samples - start)
        found = nonfinite(self.layout.chunks(block), rows, self.layout)
        if found is None:
            return None
        counts, first = found[0], np.where(found[0] > 0, found[1] + start, -1)
        shard = number // self.layout.blocks_per_shard
        self._add(shard, np.stack([counts, first]))
        return self._first(first)

    def save(self, shard: int) -> None:
        """Write the counts of a shard beside it, before it is made whole."""
        if shard in self._shards:
            np.save(self._path(shard), self._shards[shard])

    def forget(self, shard: int) -> None:
        """Drop the counts of a shard that is cut back."""
        self._shards.pop(shard, None)
        self._path(shard).unlink(missing_ok=True)

    def load(self, shard: int) -> None:
        """Take up the counts of a whole shard that an earlier run wrote."""
        if self._path(shard).exists():
            self._shards[shard] = np.load(self._path(shard))

    def total(self) -> np.ndarray[Any, Any] | None:
        """Return count and first sample of each unit, shape (2, n_units); None if all is finite."""
        total: np.ndarray[Any, Any] | None = None
        for _, counts in sorted(self._shards.items()):
            total = counts.copy() if total is None else _merged(total, counts)
        return total

    def first(self) -> tuple[int, int] | None:
        """Return sample and unit of the first number that is not finite, if there is one."""
        total = self.total()
        return None if total is None else self._first(total[1])

    def remove(self) -> None:
        """Remove the files beside the shards: their sums are in the manifest."""
        for shard in range(self.layout.n_shards):
            self._path(shard).unlink(missing_ok=True)

    def _first(self, samples: np.ndarray[Any, Any]) -> tuple[int, int]:
        unit = int(np.where(samples < 0, self.layout.n_samples, samples).argmin())
        return int(samples[unit]), unit

    def _add(self, shard: int, counts: np.ndarray[Any, Any]) -> None:
        before = self._shards.get(shard)
        self._shards[shard] = counts if before is None else _merged(before, counts)

    def _path(self, shard: int) -> Path:
        return self.folder / "c" / str(shard) / "nonfinite.npy"


def _merged(first: np.ndarray[Any, Any], then: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.stack([first[0] + then[0], np.where(first[1] >= 0, first[1], then[1])])
