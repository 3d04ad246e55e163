"""How many numbers of each unit are NaN or infinite, by shard, so that a resume keeps count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.store._layout import BFLOAT16, Layout

__all__ = ["NonfiniteCounter", "nonfinite_error"]


class NonfiniteCounter:
    """Counts of one site, kept apart by shard until the store is complete."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder = folder
        self.layout = layout
        self._shards: dict[int, np.ndarray[Any, Any]] = {}

    def count(self, row_group: np.ndarray[Any, Any], number: int) -> tuple[int, int] | None:
        """Count in row group `number`; return sample and unit of the first, if there is one."""
        start = number * self.layout.chunk_rows
        rows = min(self.layout.chunk_rows, self.layout.n_samples - start)
        found = _nonfinite(self.layout.chunks(row_group), rows, self.layout)
        if found is None:
            return None
        counts, first = found[0], np.where(found[0] > 0, found[1] + start, -1)
        shard = number // self.layout.row_groups_per_shard
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


def nonfinite_error(site: str, sample: int, unit: int) -> NisslError:
    """Return the error of a recording that refuses NaN and infinity."""
    return NisslError(
        "activity is NaN or infinite",
        where=f"{site}[{unit}], sample {sample}",
        do="nonfinite='count' records and counts it",
    )


def _nonfinite(
    chunks: np.ndarray[Any, Any], n_rows: int, layout: Layout
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Count NaN and infinity in the first rows of a row group.

    Returns, of each unit, how many and the row of the first; None where all are finite.
    """
    if layout.dtype != BFLOAT16 and layout.storage.kind != "f":
        return None
    bad = np.zeros((n_rows, layout.n_units), dtype=bool)
    for column in range(layout.n_columns):
        units = layout.units_of(column)
        part = chunks[column, :n_rows, : units.stop - units.start]
        if not _all_finite(part, layout.dtype):
            bad[:, units] = _not_finite(part, layout.dtype)
    return (bad.sum(axis=0), bad.argmax(axis=0)) if bad.any() else None


def _all_finite(part: np.ndarray[Any, Any], dtype: str) -> bool:
    # A sum is finite only where all its terms are, and costs a third of looking at each.
    if dtype in ("float32", "float64"):
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(np.add.reduce(part, axis=None)))
    return not _not_finite(part, dtype).any()


def _not_finite(part: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    return np.asarray((part & 0x7F80) == 0x7F80 if dtype == BFLOAT16 else ~np.isfinite(part))
