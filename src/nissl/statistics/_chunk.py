"""The border of every accumulator: what `update` accepts, checked once."""

from __future__ import annotations

from typing import Any

import numpy as np

from nissl.errors import NisslError

__all__ = ["Array", "as_chunk", "as_column", "same_shape"]

Array = np.ndarray[Any, np.dtype[Any]]


def as_chunk(values: Any, n_units: int) -> Array:
    """Return values as a C-contiguous (n_rows, n_units) array of float32 or float64."""
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != n_units:
        raise NisslError(
            f"a chunk of {n_units} units has shape (n_rows, {n_units}), not {values.shape}",
            do="make the accumulator for as many units as the chunks have",
        )
    if values.dtype not in (np.float32, np.float64):
        small = values.dtype.kind == "f" and values.dtype.itemsize < 4
        values = values.astype(np.float32 if small else np.float64)
    contiguous: Array = np.ascontiguousarray(values)
    return contiguous


def as_column(column: Any, n_rows: int, name: str, dtype: Any) -> Array:
    """Return one value for each row, as a contiguous array of the type asked for."""
    rows: Array = np.ascontiguousarray(column, dtype=dtype)
    if rows.shape != (n_rows,):
        raise NisslError(
            f"`{name}` has shape {rows.shape}, but the chunk has {n_rows} rows",
            do="give one value for each row",
        )
    return rows


def same_shape(mine: Any, other: Any, what: str) -> None:
    """Refuse to merge accumulators that were made for different things."""
    if mine != other:
        raise NisslError(
            f"accumulators of {what} {mine} and {other} cannot be merged",
            do="merge accumulators that were made with the same settings",
        )
