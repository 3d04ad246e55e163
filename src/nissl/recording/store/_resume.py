"""What a store holds after any interruption, and how it is cut back to its last whole batch."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.recording.store._layout import Layout
from nissl.recording.store._nonfinite import NonfiniteCounter
from nissl.recording.store._shard import damaged_chunks, partial_path, seal, shard_path
from nissl.recording.store.manifest import Manifest

__all__ = ["has_all_shards", "rows_on_disk", "truncate", "whole_batches"]


def rows_on_disk(
    folder: Path, layout: Layout, recorded: int | None, *, verify: bool = False
) -> int:
    """Return how many rows of a site are on disk without a gap.

    Where a run that was stopped filled up its last row group, `recorded` says how many are in use.
    `verify` checks the row groups of shards that are not whole, whose end a power failure may have
    left unwritten; whole shards were on the disk before they got their name.
    """
    row_groups = 0
    for shard in range(layout.n_shards):
        if _is_whole(folder, layout, shard):
            row_groups += layout.row_groups_in(shard)
            continue
        found = _partial_row_groups(folder, layout, shard, verify=verify)
        row_groups += found
        if found < layout.row_groups_in(shard):
            break
    rows = min(row_groups * layout.chunk_rows, layout.n_samples)
    return rows if recorded is None else min(rows, recorded)


def whole_batches(manifest: Manifest, rows: Mapping[str, int]) -> int:
    """Return how many batches every site holds in full, given the rows on disk of each."""
    axes = manifest["axes"]
    return min(
        bisect_right(axes[entry["axis"]]["boundaries"], rows[site])
        for site, entry in manifest["sites"].items()
    )


def truncate(
    folder: Path, layout: Layout, rows: int, counter: NonfiniteCounter, *, recount: bool = False
) -> tuple[int, np.ndarray[Any, Any] | None]:
    """Cut a site back to its first `rows`, and put its whole shards in order.

    Returned are the row groups kept, and the row group that holds the last rows where they do not
    fill it, shape (row_group_bytes,), which is no longer on disk. `counter` counts what is kept;
    `recount` where no counts of whole shards were kept.
    """
    row_groups, left = divmod(rows, layout.chunk_rows)
    if rows == layout.n_samples:
        row_groups, left = layout.n_row_groups, 0
    tail = _read_row_group(folder, layout, row_groups) if left else None
    shard, place = divmod(row_groups, layout.row_groups_per_shard)
    # From the end, so that what is on disk is without a gap at any moment.
    for later in range(layout.n_shards - 1, shard - 1, -1):
        if later == shard and place == layout.row_groups_in(later):
            continue
        counter.forget(later)
        if later > shard or place == 0:
            shard_path(folder, later).unlink(missing_ok=True)
            partial_path(folder, later).unlink(missing_ok=True)
        else:
            _reopen(folder, later)
            os.truncate(partial_path(folder, later), place * layout.row_group_bytes)
    for whole in range(min(shard + 1, layout.n_shards)):
        _count_and_seal(folder, layout, whole, row_groups, counter, recount=recount)
    return row_groups, tail


def _count_and_seal(
    folder: Path,
    layout: Layout,
    shard: int,
    row_groups: int,
    counter: NonfiniteCounter,
    *,
    recount: bool,
) -> None:
    """Count what a kept shard holds, and seal it if only that is missing."""
    whole = _is_whole(folder, layout, shard)
    if whole and not recount:
        counter.load(shard)
        return
    first = shard * layout.row_groups_per_shard
    for number in range(first, min(row_groups, first + layout.row_groups_in(shard))):
        counter.count(_read_row_group(folder, layout, number), number)
    if row_groups >= first + layout.row_groups_in(shard):
        counter.save(shard)
    if not whole and row_groups >= first + layout.row_groups_in(shard):
        _reopen(folder, shard)
        seal(folder, layout, shard)


def has_all_shards(folder: Path, layout: Layout) -> bool:
    """Tell whether every shard of a site is there, of the size it must have."""
    return all(_is_whole(folder, layout, shard) for shard in range(layout.n_shards))


def _is_whole(folder: Path, layout: Layout, shard: int) -> bool:
    path = shard_path(folder, shard)
    return path.exists() and path.stat().st_size == layout.shard_bytes(shard)


def _partial_row_groups(folder: Path, layout: Layout, shard: int, *, verify: bool) -> int:
    path = partial_path(folder, shard)
    if not path.exists():
        # A file of a wrong size under the final name was cut by others: its beginning may do.
        path = shard_path(folder, shard)
    if not path.exists():
        return 0
    found = min(path.stat().st_size // layout.row_group_bytes, layout.row_groups_in(shard))
    if not verify:
        return found
    for number, row_group in enumerate(_row_groups_of(path, layout, found)):
        if damaged_chunks(row_group, layout):
            return number
    return found


def _row_groups_of(path: Path, layout: Layout, n: int) -> Iterator[np.ndarray[Any, Any]]:
    row_group = np.empty(layout.row_group_bytes, np.uint8)
    with open(path, "rb", buffering=0) as file:
        for _ in range(n):
            file.readinto(row_group.data)
            yield row_group


def _read_row_group(folder: Path, layout: Layout, number: int) -> np.ndarray[Any, Any]:
    shard, place = divmod(number, layout.row_groups_per_shard)
    path = partial_path(folder, shard)
    path = path if path.exists() else shard_path(folder, shard)
    return np.fromfile(
        path, np.uint8, count=layout.row_group_bytes, offset=place * layout.row_group_bytes
    )


def _reopen(folder: Path, shard: int) -> None:
    """Give a shard that is to be written again the name of one that is not whole."""
    if not partial_path(folder, shard).exists():
        os.replace(shard_path(folder, shard), partial_path(folder, shard))
