"""MATLAB 5 files (``-v6``, ``-v7``): what they hold, and that it is whole before scipy reads."""

from __future__ import annotations

import io
import math
import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nissl.recording.free_memory import require_memory
from nissl.recording.readers._files import damaged

__all__ = ["Variable", "load_variable", "require_whole", "variables"]

MATRIX, COMPRESSED = 14, 15  # types of elements
PLAIN = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}  # numbers and characters: scipy trusts these
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17  # classes of arrays
KINDS = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double", 7: "single"}
KINDS |= {8 + i: f"{u}int{8 << i // 2}" for i, u in enumerate(["", "u"] * 4)}
KINDS |= {FUNCTION: "function handle", OPAQUE: "object"}
DEPTH = 64  # of arrays in arrays: scipy calls itself for each
HEADER = 128


@dataclass(frozen=True)
class Variable:
    """A variable as the file states it; `start` and `size` are those of its bytes there."""

    name: str
    kind: str
    shape: tuple[int, ...]
    n_bytes: int
    start: int
    size: int
    packed: bool


def variables(path: Path) -> list[Variable]:
    """Return the variables of a file; of packed ones the beginning is unpacked.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Variable
        In their order. One without a name holds what objects of MATLAB are made of.

    Raises
    ------
    NisslError
        It is none of MATLAB 5, or states more than it holds.
    """
    found = []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
        if order is None:
            raise damaged(path, "MATLAB", "it is none of version 5, 7 or 7.3: save(..., '-v7')")
        start = HEADER
        while start < len(data):
            if start + 8 > len(data):
                raise damaged(path, "MATLAB", "it breaks off within a variable")
            kind, size = struct.unpack_from(order + "II", data, start)
            start += 8
            if kind not in (MATRIX, COMPRESSED) or not 0 < size <= len(data) - start:
                why = f"the variable at byte {start:,} states {size:,} bytes, or is none"
                raise damaged(path, "MATLAB", why)
            head, n_bytes = data[start : start + min(size, 4096)], size
            if kind == COMPRESSED:
                head = zlib.decompressobj().decompress(head, 4096)
                inner, n_bytes = struct.unpack_from(order + "II", head)
                head = head[8:]
                if inner != MATRIX or n_bytes > 1100 * size:  # no stream of zlib does better
                    why = f"a variable states {n_bytes:,} bytes, of which {size:,} are packed"
                    raise damaged(path, "MATLAB", why)
            _, _, shape, name, what = _described(_elements(memoryview(head), order), order)
            found.append(Variable(name, what, shape, n_bytes, start, size, kind == COMPRESSED))
            start += size
    return found


def load_variable(path: Path, variable: Variable) -> Any:
    """Return a variable as `scipy.io.loadmat` does, every size in it compared before.

    Parameters
    ----------
    path : Path
        The file.
    variable : Variable
        One of `variables`.

    Returns
    -------
    array
        Numbers, words, objects (cells), or a structured array; None where it has no name.

    Raises
    ------
    NisslError
        It is damaged, or does not fit into memory.
    """
    from scipy.io import loadmat

    header, body = require_whole(path, variable)
    if not variable.name:
        return None
    order = "<" if header[126:] == b"IM" else ">"
    whole = header + struct.pack(order + "II", MATRIX, len(body)) + body
    file_like: Any = io.BytesIO(whole)
    found: Any = loadmat(file_like, mat_dtype=True, spmatrix=False)[variable.name]
    if isinstance(found, str):  # what scipy has to say, not what the file holds
        raise damaged(path, "MATLAB", found)
    return found


def require_whole(path: Path, variable: Variable) -> tuple[bytes, bytes]:
    """Refuse a variable that does not hold what it states; return the header and its bytes.

    Parameters
    ----------
    path : Path
        The file.
    variable : Variable
        One of `variables`.

    Returns
    -------
    header, body : bytes
        Of the file, and of the variable, unpacked.
    """
    require_memory(
        3 * variable.n_bytes, f"'{variable.name}'", where=str(path), do="name another with values="
    )
    with path.open("rb") as file:
        header = file.read(HEADER)
        order = "<" if header[126:] == b"IM" else ">"
        file.seek(variable.start)
        body = file.read(variable.size)
    if variable.packed:
        stream = zlib.decompressobj()
        body = stream.decompress(body, variable.n_bytes + 9)[8:]
        if not stream.eof or len(body) != variable.n_bytes:
            raise damaged(path, "MATLAB", f"'{variable.name}' has another size than it states")
    _require_whole(memoryview(body), order)
    return header, body


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the bytes of one element after another."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(order + "II", data, at)
        start, after = at + 8, at + 8 + size + -size % 8
        if kind >> 16:  # at most four bytes, which stand in the tag
            kind, size, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        if start + size > min(len(data), after):
            raise ValueError(f"an element states {size:,} bytes and has {len(data) - start:,}")
        yield kind, data[start : start + size]
        at = after


def _described(
    elements: Iterator[tuple[int, memoryview]], order: str
) -> tuple[int, bool, tuple[int, ...], str, str]:
    """Return the class, whether it is complex, the shape, the name, and the class in words."""
    flags = struct.unpack_from(order + "I", next(elements)[1])[0]
    code = flags & 0xFF
    shape: tuple[int, ...] = ()
    if code != OPAQUE:
        shape = tuple(np.frombuffer(next(elements)[1], order + "i4").tolist())
        if not 2 <= len(shape) <= 32 or min(shape) < 0:
            raise ValueError(f"an array states the shape {shape}")
    name = bytes(next(elements)[1]).decode("latin-1")
    kind = "logical" if flags & 0x200 else KINDS.get(code, f"class {code}")
    if code == OPAQUE:
        next(elements)
        kind = bytes(next(elements)[1]).decode("latin-1")
    return code, bool(flags & 0x800), shape, name, kind


def _require_whole(body: memoryview, order: str, depth: int = 0) -> None:
    """Refuse an array that does not hold what its class and shape state, all the way down."""
    if depth > DEPTH:
        raise ValueError(f"arrays lie in arrays {DEPTH} deep")
    if len(body) == 0:
        return  # an empty cell
    code, is_complex, shape, _, _ = _described(_elements(body, order), order)
    parts = list(_elements(body, order))[2 if code == OPAQUE else 3 :]
    n = math.prod(shape)
    if n > len(body) + 10_000 and code != SPARSE:
        raise ValueError(f"an array states {n:,} elements in {len(body):,} bytes")
    n_arrays, n_others = 0, 1 + is_complex
    if code == SPARSE:
        n_others += 2
    elif code == CELL:
        n_arrays, n_others = n, 0
    elif code in (STRUCT, OBJECT):
        n_others = 2 if code == STRUCT else 3
        length = struct.unpack_from(order + "i", parts[n_others - 2][1])[0]
        n_arrays = n * (len(parts[n_others - 1][1]) // length)
    elif code in (FUNCTION, OPAQUE):
        n_arrays, n_others = 1, 2 * (code == OPAQUE)
    elif code not in KINDS:
        raise ValueError(f"an array is of class {code}")
    others, arrays = parts[:n_others], parts[n_others:]
    if (len(others), len(arrays)) != (n_others, n_arrays):
        raise ValueError(f"an array of {n:,} elements has {len(parts):,} parts")
    if not all(kind in PLAIN for kind, _ in others):
        raise ValueError("an array holds numbers of an unknown type")
    for kind, part in arrays:
        if kind != MATRIX:
            raise ValueError("an element of a cell or field is no array")
        _require_whole(part, order, depth + 1)
