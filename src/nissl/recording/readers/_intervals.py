"""Tables of NWB, of intervals and of units, as plain columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording._times import interval_columns, reaching
from nissl.recording.free_memory import require_memory
from nissl.recording.labels import apart, as_column


def array_of(data: Any, dtype: Any = None) -> np.ndarray[Any, Any]:
    """Return all of a dataset as an array, if it fits: a packed file may state any size."""
    require_stored(data)
    size = math.prod(getattr(data, "shape", None) or (len(data),)) * 8
    require_memory(2 * size, "a column of the file", do="read a part of it with pynwb")
    return np.asarray(data[:], dtype=dtype)


def require_stored(data: Any) -> None:
    """Refuse a dataset that states far more than is stored of it: the rest would be filling."""
    if not hasattr(data, "id") or not hasattr(data.id, "get_storage_size"):
        return
    stated, stored = math.prod(data.shape) * data.dtype.itemsize, data.id.get_storage_size()
    if stated > 1100 * stored + 1_000_000:  # no compression of HDF5 does better
        raise ValueError(f"{data.name} states {stated:,} bytes, of which {stored:,} are stored")


def table_columns(table: Any, *, leave: Sequence[str] = ()) -> dict[str, np.ndarray[Any, Any]]:
    """Return the columns of a DynamicTable that have one number or one name a row.

    ``location`` comes as ``region`` too; lists of words are joined by commas; groups come by
    their names. Columns of anything else (waveforms, references) are left out.
    """
    n = len(table)
    columns: dict[str, np.ndarray[Any, Any]] = {}
    for name in table.colnames:
        kind, cells = type(table[name]).__name__, getattr(table[name], "data", ())
        if name in leave or kind == "DynamicTableRegion" or getattr(cells, "ndim", 1) > 1:
            continue
        column = _column([table[name][i] for i in range(n)])
        if column is not None:
            columns[name] = column
    if "location" in columns and "region" not in columns:
        columns["region"] = columns["location"]
    return columns


def _column(cells: list[Any]) -> np.ndarray[Any, Any] | None:
    cells = [_cell(c) for c in cells]
    return None if any(c is None for c in cells) else as_column(cells)


def _cell(cell: Any) -> str | float | int | bool | None:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    if isinstance(cell, (str, bool, int, float)):
        return cell
    if isinstance(cell, np.generic) and cell.dtype.kind in "fiub":
        return cell.item()  # type: ignore[no-any-return]
    if isinstance(cell, (list, tuple, np.ndarray)):
        words = [_cell(c) for c in cell]
        return ", ".join(map(str, words)) if all(isinstance(w, str) for w in words) else None
    name = getattr(cell, "name", None)
    return name if isinstance(name, str) else None


def interval_table(table: Any, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return a table of intervals as columns ``start``, ``stop``, the row's id, and the others."""
    start, stop = (array_of(table[side].data) for side in ("start_time", "stop_time"))
    columns = table_columns(table, leave=("start_time", "stop_time", "timeseries"))
    ids = array_of(table.id)
    own = {"start": start, "stop": stop, singular(name): ids}
    return own | apart(columns, own, "interval")


def singular(name: str) -> str:
    """Return the name of one row of a table: trial, of trials."""
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def disjoint(table: Any) -> bool:
    """Tell whether there are intervals, and none overlaps another."""
    if table is None or len(table["start"]) == 0:
        return False
    order = np.argsort(table["start"], kind="stable")
    return bool((table["start"][order][1:] >= table["stop"][order][:-1]).all())


def interval_of(
    times: np.ndarray[Any, Any], table: Any
) -> tuple[np.ndarray[Any, Any], dict[str, np.ndarray[Any, Any]]]:
    """Return the row of the interval in which each time lies (-1: none), and further columns.

    Intervals are half-open, ``[start, stop)``, and may not overlap.
    """
    bounds, further = interval_columns(table)
    start, stop = bounds.reshape(-1, 2).T
    if not disjoint({"start": start, "stop": stop}):
        raise NisslError(
            "intervals overlap, so a sample would lie in several",
            do="give intervals that do not overlap, or read them one at a time",
        )
    order = np.argsort(start, kind="stable")
    place = np.searchsorted(reaching(start[order]), times, side="right") - 1
    row = order[np.maximum(place, 0)]
    row = np.where((place >= 0) & (times < reaching(stop)[row]), row, -1)
    return row, further
