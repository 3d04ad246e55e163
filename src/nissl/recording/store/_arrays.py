"""Zarr metadata, and the small one-dimensional arrays (sample and unit columns) written with it."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.labels import is_words, shared
from nissl.recording.store._layout import (
    CHECKSUM_BYTES,
    Layout,
    checksum,
    fill_value,
)

__all__ = [
    "digest",
    "folder_name",
    "group_metadata",
    "read_column",
    "site_metadata",
    "write_column",
    "write_json",
]

Metadata = dict[str, Any]

# Rows of a chunk of numbers, and of words.
COLUMN_ROWS, WORD_ROWS = 1 << 20, 1 << 16
_DATES = {
    short: {"M": {"units": f"{long} since 1970-01-01"}, "m": {"units": long}}
    for short, long in (
        ("s", "seconds"),
        ("ms", "milliseconds"),
        ("us", "microseconds"),
        ("ns", "nanoseconds"),
    )
}
_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC = {"name": "crc32c"}
_WORDS = {"name": "vlen-utf8", "configuration": {}}
_GZIP = {"name": "gzip", "configuration": {"level": 1}}


def site_metadata(layout: Layout, dims: tuple[str, str], attrs: Mapping[str, Any]) -> Metadata:
    """Return the ``zarr.json`` of a site's array."""
    sharding = {
        "chunk_shape": [layout.chunk_rows, layout.width],
        "codecs": [_LITTLE, _CRC],
        "index_codecs": [_LITTLE, _CRC],
        "index_location": "end",
    }
    return _array(
        shape=(layout.n_samples, layout.n_units),
        dtype=layout.storage.name,
        chunks=(layout.shard_rows, layout.n_columns * layout.width),
        fill=_json_fill(fill_value(layout.dtype)),
        codecs=[{"name": "sharding_indexed", "configuration": sharding}],
        dims=dims,
        attrs=attrs,
    )


def group_metadata(
    attrs: Mapping[str, Any], members: Mapping[str, Metadata] | None = None
) -> Metadata:
    """Return the ``zarr.json`` of a group, with the metadata of all `members` by path if given."""
    metadata: Metadata = {"attributes": dict(attrs), "zarr_format": 3, "node_type": "group"}
    if members is not None:
        # `must_understand` false: readers that do not know consolidated metadata list the folder.
        metadata["consolidated_metadata"] = {
            "kind": "inline",
            "must_understand": False,
            "metadata": dict(members),
        }
    return metadata


def write_column(folder: Path, values: Any, dim: str, attrs: Mapping[str, Any]) -> Metadata:
    """Write one column of shape (n,), numbers or words, as a one-dimensional zarr array.

    Words are kept as they are, so that every zarr reader shows them; as few of them differ, they
    are compressed. What was written to its ``zarr.json`` is returned.
    """
    values = np.asarray(values)
    words = is_words(values)
    if not words and values.dtype.kind not in "fiubmM":
        raise NisslError(
            f"column '{folder.name}' holds {values.dtype}, which a store does not keep",
            where=folder.name,
            do="give numbers, words or dates",
        )
    n = len(values)
    rows = _chunk_rows(n, words=words)
    if words:
        dtype, fill, codecs = "string", "", [_WORDS, _GZIP, _CRC]
    else:
        if values.dtype.kind in "mM":
            # As the climate and forecast conventions keep dates, so that xarray shows them.
            attrs = _DATES[np.datetime_data(values.dtype)[0]][values.dtype.kind] | dict(attrs)
            values = values.view(np.int64)
        dtype, fill = values.dtype.name, _json_fill(fill_value(values.dtype.name))
        codecs = [_LITTLE, _CRC]
    metadata = _array(
        shape=(n,), dtype=dtype, chunks=(rows,), fill=fill, codecs=codecs, dims=(dim,), attrs=attrs
    )
    (folder / "c").mkdir(parents=True, exist_ok=True)
    for number in range(math.ceil(n / rows)):
        part = values[number * rows : (number + 1) * rows]
        data = _words_to_bytes(part, rows) if words else _numbers_to_bytes(part, rows)
        data += checksum(data).to_bytes(CHECKSUM_BYTES, "little")
        (folder / "c" / str(number)).write_bytes(data)
    write_json(folder / "zarr.json", metadata)
    return metadata


def read_column(
    folder: Path, described: Mapping[str, Any], start: int = 0, stop: int | None = None
) -> np.ndarray[Any, Any]:
    """Return rows of a column that `write_column` wrote, its checksums verified.

    Only chunks that hold one of the rows are read; where all are, they are compared with the sha256
    that the manifest describes the column by. Words come as objects of type str.
    """
    n, words = int(described["length"]), described["dtype"] == "string"
    stop = n if stop is None else min(stop, n)
    rows = _chunk_rows(n, words=words)
    dtype = np.dtype(object if words else described["dtype"])
    try:
        column = np.empty(max(0, stop - start), dtype)
        for number in range(start // rows, math.ceil(stop / rows)):
            data = (folder / "c" / str(number)).read_bytes()
            body, check = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
            # The checksum of nothing is 0: four zero bytes would pass.
            if not body or checksum(body) != int.from_bytes(check, "little"):
                raise ValueError("its checksum differs")
            part = _bytes_to_words(body) if words else np.frombuffer(body, dtype.newbyteorder("<"))
            if len(part) != rows:
                raise ValueError(f"a chunk holds {len(part)} rows instead of {rows}")
            first = max(start, number * rows)
            last = min(stop, (number + 1) * rows)
            column[first - start : last - start] = part[
                first - number * rows : last - number * rows
            ]
        if (start, stop) == (0, n) and digest(column) != described["sha256"]:
            raise ValueError("its values are not those that were written")
    except (OSError, EOFError, ValueError, KeyError, struct.error, zlib.error) as error:
        raise NisslError(
            f"a column of the store cannot be read: {error}",
            where=str(folder),
            do="the store is damaged: record it again",
        ) from error
    return column


def digest(values: np.ndarray[Any, Any]) -> str:
    """Return the sha256 of a column's values."""
    if is_words(values):
        data = "\0".join(values.tolist()).encode()
    else:
        data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return hashlib.sha256(data).hexdigest()


def folder_name(name: str) -> str:
    """Return a folder's name for a column or site: its own, unless that would not be one."""
    kept = {" ": "%20", "%": "%25", "/": "%2F"}
    safe = "".join(kept.get(c, c if c.isprintable() else f"%{ord(c):02X}") for c in name)
    safe = f"%{safe}" if not safe or safe.startswith((".", "__")) or safe == "zarr.json" else safe
    if len(safe.encode()) > 200:
        raise NisslError(
            "a name is too long to be that of a folder", where=name[:60] + "...", do="shorten it"
        )
    return safe


def _chunk_rows(n: int, *, words: bool) -> int:
    return max(1, min(n, WORD_ROWS if words else COLUMN_ROWS))


def write_json(path: Path, document: Mapping[str, Any], *, durable: bool = False) -> None:
    """Write a document whole or not at all: to a ``.partial`` beside it, then renamed."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)  # were it a link, what it names would be overwritten
    with open(partial, "x", encoding="utf-8") as file:
        json.dump(document, file, indent=1, ensure_ascii=False)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(partial, path)


def _array(
    *,
    shape: tuple[int, ...],
    dtype: str,
    chunks: tuple[int, ...],
    fill: Any,
    codecs: list[Any],
    dims: tuple[str, ...],
    attrs: Mapping[str, Any],
) -> Metadata:
    return {
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": codecs,
        "attributes": dict(attrs),
        "dimension_names": list(dims),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _json_fill(fill: float | int | bool) -> Any:
    return "NaN" if isinstance(fill, float) else fill


def _numbers_to_bytes(part: np.ndarray[Any, Any], rows: int) -> bytes:
    data = part.astype(part.dtype.newbyteorder("<"), copy=False).tobytes()
    return data + bytes((rows - len(part)) * part.dtype.itemsize)  # zarr's chunks are all whole


def _words_to_bytes(part: np.ndarray[Any, Any], rows: int) -> bytes:
    words = part.tolist() + [""] * (rows - len(part))
    encoded = {word: word.encode() for word in set(words)}
    cells = {word: struct.pack("<I", len(text)) + text for word, text in encoded.items()}
    body = struct.pack("<I", rows) + b"".join([cells[word] for word in words])
    # No time is kept, so that the same words are the same bytes.
    return gzip.compress(body, 1, mtime=0)


def _bytes_to_words(data: bytes) -> np.ndarray[Any, Any]:
    body = gzip.decompress(data)
    texts, place = [], 4
    for _ in range(struct.unpack_from("<I", body)[0]):
        (length,) = struct.unpack_from("<I", body, place)
        texts.append(body[place + 4 : place + 4 + length])
        place += 4 + length
    words = {text: text.decode() for text in set(texts)}
    return shared([words[text] for text in texts])
