"""Activity read block by block of units: from an array, a Recording or an iterable of arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.statistics._chunk import Array

__all__ = ["sliceable", "unit_blocks"]


def sliceable(x: Any) -> Any:
    """Return what has a shape and slices; an iterable of arrays as it is."""
    if hasattr(x, "coords"):
        from nissl.recording import check

        return check(x).variable
    rows = isinstance(x, list | tuple) and len(x) and np.ndim(x[0]) < 2
    return np.asarray(x) if rows or hasattr(x, "to_numpy") or not hasattr(x, "__iter__") else x


def unit_blocks(x: Any, size: int = 0) -> Iterator[Array]:
    """Yield (n_samples, at most `size` units) of float32 or float64; by default 32 MB and less."""
    n, parts = None, x
    if hasattr(x, "shape"):
        n, n_units = x.shape if len(x.shape) == 2 else (None, 0)
        size = size or min(4096, max(1, 2**22 // max(n or 1, 1)))
        # What is empty is one block, to be refused as such.
        parts = (x[:, a : a + size] for a in range(0, n_units, size)) if n and n_units else [x]
    for part in parts:
        block = np.asarray(part)
        wrong = block.ndim != 2 or block.dtype.kind not in "fiub" or not block.size
        if wrong or n not in (None, len(block)):
            raise NisslError(
                f"a block has shape {block.shape} of {block.dtype}"
                + f", and those before it {n} rows" * (n not in (None, *block.shape[:1])),
                where="x",
                do="give numbers of shape (n_samples, n_units), or an iterable of such arrays",
            )
        n = len(block)
        if block.dtype not in (np.float32, np.float64):
            block = block.astype(np.float32 if block.dtype.itemsize <= 2 else np.float64)
        size = size or min(4096, max(1, 2**22 // n))
        for a in range(0, block.shape[1], size):
            yield block[:, a : a + size]
