"""Zarr metadata, and the small one-dimensional arrays (sample and unit columns) written with it."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.store.layout import (
    CHECKSUM_BYTES,
    Layout,
    checksum,
    fill_value,
)

__all__ = [
    "group_metadata",
    "read_attributes",
    "read_column",
    "site_metadata",
    "write_column",
    "write_json",
]

Metadata = dict[str, Any]

COLUMN_ROWS = 1 << 20
_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC = {"name": "crc32c"}


def site_metadata(layout: Layout, dims: tuple[str, str], attrs: Mapping[str, Any]) -> Metadata:
    """Return the ``zarr.json`` of a site's array.

    Parameters
    ----------
    layout : Layout
        Its shape, type and chunks.
    dims : tuple of str
        Names of its two dimensions.
    attrs : mapping
        Its attributes.

    Returns
    -------
    dict
        Metadata of zarr format 3.
    """
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
    """Write one column, numbers or strings, as a one-dimensional zarr array.

    Parameters
    ----------
    folder : Path
        The array's folder.
    values : array, shape (n,)
        Numbers, booleans or strings.
    dim : str
        Name of its dimension.
    attrs : mapping
        Its attributes.

    Returns
    -------
    dict
        The metadata written to its ``zarr.json``.

    Raises
    ------
    NisslError
        The values are of a type that the store does not keep.
    """
    values = np.asarray(values)
    strings = values.dtype.kind in "UT"
    if not strings and values.dtype.kind not in "fiub":
        raise NisslError(
            f"column '{folder.name}' holds {values.dtype}, which a store does not keep",
            where=folder.name,
            do="give numbers or strings (times as seconds)",
        )
    n = len(values)
    rows = max(1, n if strings else min(n, COLUMN_ROWS))
    if strings:
        dtype, fill, codec = "string", "", {"name": "vlen-utf8", "configuration": {}}
    else:
        dtype, fill, codec = values.dtype.name, _json_fill(fill_value(values.dtype.name)), _LITTLE
    metadata = _array(
        shape=(n,),
        dtype=dtype,
        chunks=(rows,),
        fill=fill,
        codecs=[codec, _CRC],
        dims=(dim,),
        attrs=attrs,
    )
    (folder / "c").mkdir(parents=True, exist_ok=True)
    for number in range(math.ceil(n / rows)):
        part = values[number * rows : (number + 1) * rows]
        data = _strings_to_bytes(part) if strings else _numbers_to_bytes(part, rows)
        data += checksum(data).to_bytes(CHECKSUM_BYTES, "little")
        (folder / "c" / str(number)).write_bytes(data)
    write_json(folder / "zarr.json", metadata)
    return metadata


def read_column(folder: Path) -> np.ndarray[Any, Any]:
    """Read a column that `write_column` wrote, its checksums verified.

    Parameters
    ----------
    folder : Path
        The array's folder.

    Returns
    -------
    array, shape (n,)
        Numbers, or fixed-width strings.

    Raises
    ------
    NisslError
        A file is missing or damaged.
    """
    try:
        metadata = json.loads((folder / "zarr.json").read_bytes())
        n, rows = metadata["shape"][0], metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
        strings = metadata["data_type"] == "string"
        parts = []
        for number in range(math.ceil(n / rows)):
            data = (folder / "c" / str(number)).read_bytes()
            body, check = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
            if checksum(body) != int.from_bytes(check, "little"):
                raise ValueError("its checksum differs")
            kept = min(rows, n - number * rows)
            dtype = None if strings else np.dtype(metadata["data_type"]).newbyteorder("<")
            parts.append(
                _bytes_to_strings(body) if dtype is None else np.frombuffer(body, dtype)[:kept]
            )
    except (OSError, ValueError, KeyError) as error:
        raise NisslError(
            f"a column of the store cannot be read: {error}",
            where=str(folder),
            do="the store is damaged: record it again",
        ) from error
    if not parts:
        return np.empty(0, dtype="U1" if strings else metadata["data_type"])
    column = np.concatenate(parts) if len(parts) > 1 else parts[0]
    return column.astype(column.dtype.newbyteorder("="), copy=False)


def read_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of the array or group in a folder."""
    try:
        return dict(json.loads((folder / "zarr.json").read_bytes())["attributes"])
    except (OSError, ValueError, KeyError) as error:
        raise NisslError(
            f"metadata of the store cannot be read: {error}",
            where=str(folder / "zarr.json"),
            do="copy the store again, or record it again",
        ) from error


def write_json(path: Path, document: Mapping[str, Any], *, durable: bool = False) -> None:
    """Write a document whole or not at all: to a ``.partial`` beside it, then renamed."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as file:
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


def _strings_to_bytes(part: np.ndarray[Any, Any]) -> bytes:
    encoded = [str(text).encode() for text in part]
    return struct.pack("<I", len(encoded)) + b"".join(
        struct.pack("<I", len(text)) + text for text in encoded
    )


def _bytes_to_strings(body: bytes) -> np.ndarray[Any, Any]:
    texts, place = [], 4
    for _ in range(struct.unpack_from("<I", body)[0]):
        (length,) = struct.unpack_from("<I", body, place)
        texts.append(body[place + 4 : place + 4 + length].decode())
        place += 4 + length
    return np.asarray(texts, dtype=str)
