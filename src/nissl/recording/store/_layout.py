"""Where every number of a site lies on disk: chunks of samples by units, in shards, without gaps.

A *chunk* holds 256 samples of at most 192 units, sample-major, and is followed by its CRC-32C. A
*row group* is the chunks of the same 256 samples side by side, spanning all units. A *shard* is the
row groups of 65,536 samples one after another, followed by the index that zarr's
``sharding_indexed`` codec asks for. As every chunk is whole and none is compressed, an address is
arithmetic: the index is written for others and never read by us.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import google_crc32c
import numpy as np

__all__ = ["BFLOAT16", "CHECKSUM_BYTES", "Layout", "checksum", "fill_value", "storage_dtype"]

CHUNK_ROWS = 256
CHUNK_UNITS = 192
SHARD_ROWS = 65_536
CHECKSUM_BYTES = 4
BFLOAT16 = "bfloat16"
# numpy and zarr have no bfloat16: its bit patterns are kept, with those of NaN where nothing is.
BFLOAT16_NAN = 0x7FC0


@dataclass(frozen=True)
class Layout:
    """The arithmetic of one site's chunks, row groups and shards.

    >>> layout = Layout(100_000, 1536, "float32")
    >>> layout.n_columns, layout.row_group_bytes, layout.n_shards, layout.row_groups_in(1)
    (8, 1572896, 2, 135)
    """

    n_samples: int
    n_units: int
    dtype: str
    chunk_rows: int = CHUNK_ROWS
    chunk_units: int = CHUNK_UNITS
    shard_rows: int = SHARD_ROWS

    @cached_property
    def storage(self) -> np.dtype[Any]:
        """The numpy dtype on disk, little-endian."""
        return storage_dtype(self.dtype)

    @cached_property
    def n_columns(self) -> int:
        """Chunks side by side in a row group."""
        return max(1, math.ceil(self.n_units / self.chunk_units))

    @cached_property
    def width(self) -> int:
        """Units of a chunk: even over the columns, so that little padding is needed."""
        return max(1, math.ceil(self.n_units / self.n_columns))

    @cached_property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk with its checksum."""
        return self.chunk_rows * self.width * self.storage.itemsize + CHECKSUM_BYTES

    @cached_property
    def row_group_bytes(self) -> int:
        """Bytes of a row group."""
        return self.n_columns * self.chunk_bytes

    @cached_property
    def row_groups_per_shard(self) -> int:
        """Row groups of a full shard."""
        return self.shard_rows // self.chunk_rows

    @cached_property
    def n_row_groups(self) -> int:
        """Row groups of the whole array."""
        return math.ceil(self.n_samples / self.chunk_rows)

    @cached_property
    def n_shards(self) -> int:
        """Shards of the whole array."""
        return math.ceil(self.n_samples / self.shard_rows)

    def row_groups_in(self, shard: int) -> int:
        """Row groups that shard number `shard` holds once it is whole."""
        return min(self.row_groups_per_shard, self.n_row_groups - shard * self.row_groups_per_shard)

    def shard_bytes(self, shard: int) -> int:
        """Bytes of shard number `shard` once it is whole, with its index."""
        entries = self.row_groups_per_shard * self.n_columns
        return self.row_groups_in(shard) * self.row_group_bytes + entries * 16 + CHECKSUM_BYTES

    @property
    def total_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(self.shard_bytes(shard) for shard in range(self.n_shards))

    def index(self, shard: int) -> bytes:
        """Return the index at the end of a whole shard: (offset, bytes) of each chunk, checksum."""
        written = self.row_groups_in(shard) * self.n_columns
        table = np.full((self.row_groups_per_shard * self.n_columns, 2), 2**64 - 1, dtype="<u8")
        table[:written, 0] = np.arange(written, dtype="<u8") * np.uint64(self.chunk_bytes)
        table[:written, 1] = self.chunk_bytes
        data = table.tobytes()
        return data + checksum(data).to_bytes(CHECKSUM_BYTES, "little")

    def chunks(self, row_group: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """View the bytes of a row group, shape (row_group_bytes,), as its chunks side by side.

        The view, shape (n_columns, chunk_rows, width), shares the bytes.
        """
        item = self.storage.itemsize
        return np.ndarray(
            (self.n_columns, self.chunk_rows, self.width),
            dtype=self.storage,
            buffer=row_group.data,
            strides=(self.chunk_bytes, self.width * item, item),
        )

    def units_of(self, column: int) -> slice:
        """Return the units whose values are in column number `column` of chunks."""
        return slice(column * self.width, min((column + 1) * self.width, self.n_units))


def storage_dtype(dtype: str) -> np.dtype[Any]:
    """Return the little-endian numpy dtype that holds `dtype` on disk."""
    return np.dtype("<u2") if dtype == BFLOAT16 else np.dtype(dtype).newbyteorder("<")


def fill_value(dtype: str) -> float | int | bool:
    """Return what stands where nothing was written: NaN in every type that has one."""
    if dtype == BFLOAT16:
        return BFLOAT16_NAN
    kind = np.dtype(dtype).kind
    return float("nan") if kind == "f" else (False if kind == "b" else 0)


def checksum(data: bytes | np.ndarray[Any, Any]) -> int:
    """Return the CRC-32C of contiguous bytes."""
    return int(google_crc32c.value(data))
