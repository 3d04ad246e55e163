"""What a store holds after any interruption, and how it is cut back to its last whole batch."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.recording.store.layout import Layout
from nissl.recording.store.manifest import Manifest
from nissl.recording.store.shard import damaged_chunks, partial_path, seal, shard_path
from nissl.recording.store.tally import Tally

__all__ = ["cut", "rows_on_disk", "whole_batches"]


def rows_on_disk(
    folder: Path, layout: Layout, recorded: int | None, *, verify: bool = False
) -> int:
    """Return how many rows of a site are on disk without a gap.

    Parameters
    ----------
    folder : Path
        The array's folder.
    layout : Layout
        The site's arithmetic.
    recorded : int or None
        Rows in use, where a run that was stopped filled up its last block.
    verify : bool
        Check the blocks of shards that are not whole, whose end a power failure may have left
        unwritten; whole shards were on the disk before they got their name.

    Returns
    -------
    int
        Rows; a multiple of the chunk's, or all, or `recorded`.
    """
    blocks = 0
    for shard in range(layout.n_shards):
        if _is_whole(folder, layout, shard):
            blocks += layout.blocks_in(shard)
            continue
        found = _partial_blocks(folder, layout, shard, verify=verify)
        blocks += found
        if found < layout.blocks_in(shard):
            break
    rows = min(blocks * layout.chunk_rows, layout.n_samples)
    return rows if recorded is None else min(rows, recorded)


def whole_batches(manifest: Manifest, rows: Mapping[str, int]) -> int:
    """Return how many batches every site holds in full.

    Parameters
    ----------
    manifest : dict
        The store's manifest.
    rows : mapping of str to int
        Rows on disk of each site.

    Returns
    -------
    int
        The first batch that is still to be computed.
    """
    axes = manifest["axes"]
    return min(
        bisect_right(axes[entry["axis"]]["boundaries"], rows[site])
        for site, entry in manifest["sites"].items()
    )


def cut(
    folder: Path, layout: Layout, rows: int, tally: Tally
) -> tuple[int, np.ndarray[Any, Any] | None]:
    """Cut a site back to its first `rows`, and put its whole shards in order.

    Parameters
    ----------
    folder : Path
        The array's folder.
    layout : Layout
        The site's arithmetic.
    rows : int
        How many rows to keep; there are at least as many.
    tally : Tally
        Takes up the counts of what is kept.

    Returns
    -------
    blocks : int
        Blocks kept.
    tail : array of uint8, shape (block_bytes,), or None
        The block that holds the last rows where they do not fill it; it is no longer on disk.
    """
    blocks, left = divmod(rows, layout.chunk_rows)
    if rows == layout.n_samples:
        blocks, left = layout.n_blocks, 0
    tail = _read_block(folder, layout, blocks) if left else None
    shard, place = divmod(blocks, layout.blocks_per_shard)
    # From the end, so that what is on disk is without a gap at any moment.
    for later in range(layout.n_shards - 1, shard - 1, -1):
        if later == shard and place == layout.blocks_in(later):
            continue
        tally.forget(later)
        if later > shard or place == 0:
            shard_path(folder, later).unlink(missing_ok=True)
            partial_path(folder, later).unlink(missing_ok=True)
        else:
            _reopen(folder, later)
            os.truncate(partial_path(folder, later), place * layout.block_bytes)
    for whole in range(min(shard + 1, layout.n_shards)):
        _take_up(folder, layout, whole, blocks, tally)
    return blocks, tail


def _take_up(folder: Path, layout: Layout, shard: int, blocks: int, tally: Tally) -> None:
    """Count what a kept shard holds, and seal it if only that is missing."""
    if _is_whole(folder, layout, shard):
        tally.load(shard)
        return
    first = shard * layout.blocks_per_shard
    for number in range(first, min(blocks, first + layout.blocks_in(shard))):
        tally.count(_read_block(folder, layout, number), number)
    if blocks >= first + layout.blocks_in(shard):
        tally.save(shard)
        _reopen(folder, shard)
        seal(folder, layout, shard)


def _is_whole(folder: Path, layout: Layout, shard: int) -> bool:
    path = shard_path(folder, shard)
    return path.exists() and path.stat().st_size == layout.shard_bytes(shard)


def _partial_blocks(folder: Path, layout: Layout, shard: int, *, verify: bool) -> int:
    path = partial_path(folder, shard)
    if not path.exists():
        # A file of a wrong size under the final name was cut by others: its first blocks may do.
        path = shard_path(folder, shard)
    if not path.exists():
        return 0
    found = min(path.stat().st_size // layout.block_bytes, layout.blocks_in(shard))
    if not verify:
        return found
    for number, block in enumerate(_blocks_of(path, layout, found)):
        if damaged_chunks(block, layout):
            return number
    return found


def _blocks_of(path: Path, layout: Layout, n: int) -> Iterator[np.ndarray[Any, Any]]:
    block = np.empty(layout.block_bytes, np.uint8)
    with open(path, "rb", buffering=0) as file:
        for _ in range(n):
            file.readinto(block.data)
            yield block


def _read_block(folder: Path, layout: Layout, number: int) -> np.ndarray[Any, Any]:
    shard, place = divmod(number, layout.blocks_per_shard)
    path = partial_path(folder, shard)
    path = path if path.exists() else shard_path(folder, shard)
    return np.fromfile(path, np.uint8, count=layout.block_bytes, offset=place * layout.block_bytes)


def _reopen(folder: Path, shard: int) -> None:
    """Give a shard that is to be written again the name of one that is not whole."""
    if not partial_path(folder, shard).exists():
        os.replace(shard_path(folder, shard), partial_path(folder, shard))
