"""Casts: rows of any array or tensor to the type on disk, laid out as chunks."""

from __future__ import annotations

from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.store._layout import BFLOAT16, BFLOAT16_NAN, Layout, fill_value

__all__ = ["as_numbers", "copy_rows", "fill_row_group"]


def as_numbers(values: Any, dtype: str, *, site: str) -> np.ndarray[Any, Any]:
    """Return an array or tensor (on any device; bfloat16 as float32) as one that may be cast.

    Refused is a cast that loses what no rounding explains: floats to integers, wide to narrow ones.
    """
    if hasattr(values, "detach"):  # a tensor, without importing torch
        values = values.detach()
        values = (values.float() if "bfloat16" in str(values.dtype) else values).cpu().numpy()
    array = np.asarray(values)
    target = np.dtype("float32" if dtype == BFLOAT16 else dtype)
    if not np.can_cast(array.dtype, target, "same_kind" if target.kind == "f" else "safe"):
        raise NisslError(
            f"{array.dtype} cannot be kept as {dtype}", where=site, do="choose another dtype"
        )
    return array


def copy_rows(
    chunks: np.ndarray[Any, Any], row: int, values: np.ndarray[Any, Any], layout: Layout
) -> tuple[int, int] | None:
    """Cast rows of shape (n_rows, n_units) into the chunks of a row group, from one of its rows on.

    Returned are row and unit of the first finite number that the cast made infinite, if any.
    """
    stop = row + len(values)
    if layout.dtype == BFLOAT16:
        bits = bfloat16_bits(values)
        # 0x7F80 is infinity, to which a finite number can only have been rounded.
        if np.any((bits & 0x7FFF) == 0x7F80) and (place := _overflow(values, bits)):
            return place
        values = bits
    try:
        with np.errstate(over="raise"):
            for column in range(layout.n_columns):
                units = layout.units_of(column)
                chunks[column, row:stop, : units.stop - units.start] = values[:, units]
    except FloatingPointError:
        with np.errstate(over="ignore"):
            return _overflow(values, values.astype(layout.storage))
    return None


def fill_row_group(chunks: np.ndarray[Any, Any], row: int, layout: Layout) -> None:
    """Fill the rows of a row group from `row` on with what stands for nothing."""
    chunks[:, row:, :] = fill_value(layout.dtype)


def bfloat16_bits(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Round to bfloat16, ties to even, and return the bit patterns."""
    with np.errstate(over="ignore"):
        wide = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    # Adding just under half a step, and the last kept bit, rounds ties to even.
    rounded = (wide + (0x7FFF + ((wide >> 16) & 1))) >> 16
    bits = rounded.astype(np.uint16)
    # Rounding may carry a NaN over into zero.
    bits[np.isnan(values)] = BFLOAT16_NAN
    return bits


def bfloat16_values(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the float32 numbers of bfloat16 bit patterns."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _overflow(values: np.ndarray[Any, Any], cast: np.ndarray[Any, Any]) -> tuple[int, int] | None:
    infinite = (cast & 0x7FFF) == 0x7F80 if cast.dtype.kind == "u" else np.isinf(cast)
    rows, units = np.nonzero(infinite & np.isfinite(values))
    return (int(rows[0]), int(units[0])) if len(rows) else None
