"""Labels: coordinates of words, such as a relation, a condition or a language.

A label is an array of Python strings in which equal words are one object: 8 bytes a sample for any
number of samples of a few words, which compare, sort and group as the words they are. Measured with
numpy 2.4, pandas 3.1 and xarray 2026.9, the alternatives do worse:

- codes with their table in an attribute take 4 bytes, but ``rec["relation"] == "a"`` is then false
  everywhere, and nothing says so;
- a pandas Categorical takes 1 byte and compares rightly, but xarray cannot hold a single cell of
  it: printing the label of ``rec[0]`` ends the process;
- numpy's StringDType takes 16 bytes, and the text of every word of more than 15; it does not cast
  to ``str`` without a width, and scikit-learn refuses it;
- numpy's fixed width takes 4 bytes for each character of the longest word. Columns of units are
  kept so, as they do not grow with the samples; on samples it is accepted, not made.

What is missing (None, NaN) is the empty word. A store holds the words themselves, compressed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nissl.errors import NisslError, UnknownName

Array = np.ndarray[Any, Any]


def coordinate(rec: xr.DataArray, name: str, side: str = "sample", *, of: str = "") -> Array:
    """Return a coordinate of one side, or say which there are.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The recording.
    name : str
        The coordinate.
    side : {"sample", "unit"}
        The side that it must be on.
    of : str
        Which recording, for the error.

    Returns
    -------
    array, shape (n_samples,) or (n_units,)
        Numbers or words.

    Raises
    ------
    UnknownName
        There is no such coordinate on that side.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.zeros((2, 1)), samples={"side": ["left", "right"]})
    >>> coordinate(rec, "side").tolist()
    ['left', 'right']
    """
    known = [str(n) for n, c in rec.coords.items() if c.dims == (side,)]
    if name not in known:
        there = ", ".join(known) or "none"
        raise UnknownName(f"{side} coordinate{of}", name, known, do=f"there are: {there}")
    return np.asarray(rec[name].values)


def is_words(column: Any) -> bool:
    """Tell whether a column of a Recording holds words, not numbers."""
    return column.dtype.kind in "OU"


def word_codes(column: Array) -> Array:
    """Return words as numbers, in the order in which they first appear; numbers as they are.

    Examples
    --------
    >>> word_codes(np.array(["b", "a", "b"])).tolist()
    [0, 1, 0]
    """
    if not is_words(column):
        return column
    table: dict[str, int] = {}
    found = (table.setdefault(word, len(table)) for word in column.tolist())
    return np.fromiter(found, np.int64, len(column))


def lacking(like: Any, n: int) -> Array:
    """Return a column of n cells that stands for one which is missing: NaN, -1, empty or false."""
    nothing = {"f": np.nan, "U": "", "O": "", "b": False, "M": "NaT", "m": "NaT"}
    fill: Any = nothing.get(like.dtype.kind, -1)
    # Unsigned columns become signed, so that -1 is not the largest number.
    return np.full(n, fill, dtype=np.int64 if like.dtype.kind == "u" else like.dtype)


def shared(words: list[str]) -> Array:
    """Return words as an array of objects in which equal words are one object."""
    table: dict[str, str] = {}
    cells = np.empty(len(words), dtype=object)
    cells[:] = [table.setdefault(word, word) for word in words]
    for word in table:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise NisslError(
                f"the label {word!r} is no text: it cannot be written as UTF-8",
                do="replace what is no character: label.encode('utf-8', 'replace').decode()",
            ) from error
    return cells


def as_column(column: Any) -> Array:
    """Return a column as numbers where it holds only those, else as words.

    Parameters
    ----------
    column : array, Series or sequence, shape (n,)
        Cells of any kind. What is missing (None, NaN, NA) is NaN among numbers, and the empty word
        among words; bytes are read as UTF-8.

    Returns
    -------
    array
        Numbers, or objects of type str.

    Raises
    ------
    NisslError
        A word or bytes cannot be text.

    Examples
    --------
    >>> as_column(["a", None]).tolist(), as_column([1, None]).tolist()
    (['a', ''], [1.0, nan])
    """
    # numpy would make the word "nan" of NaN beside words.
    cells: Array = np.asarray(column, dtype=object if isinstance(column, (list, tuple)) else None)
    if cells.dtype.kind in "mM" and np.datetime_data(cells.dtype)[0] not in ("s", "ms", "us", "ns"):
        # What xarray and pandas keep; days and years are whole seconds.
        return cells.astype(f"{cells.dtype.kind}8[s]")
    if cells.dtype.kind not in "OUST" or cells.ndim != 1:
        return cells
    if cells.dtype.kind in "OT":
        missing = np.asarray(pd.isna(cells))
        cells = cells.astype(object)
        there = cells[~missing].tolist()
        if there and pd.api.types.infer_dtype(there, skipna=False) in ("datetime", "datetime64"):
            return pd.to_datetime(cells, utc=True).tz_localize(None).to_numpy()
        if not any(isinstance(cell, (str, bytes)) for cell in there):
            numbers = np.asarray(there)
            if numbers.ndim == 1 and len(numbers) and numbers.dtype.kind in "fiub":
                whole = np.full(len(cells), np.nan) if missing.any() else numbers.copy()
                whole[~missing] = numbers
                return whole
        cells[missing] = ""
    return shared([_word(cell) for cell in cells.tolist()])


def apart(columns: Mapping[str, Any], taken: Iterable[str], prefix: str) -> dict[str, Any]:
    """Return columns of a file under names that are not a reader's own: ``prefix_name`` else.

    ``sample`` and ``unit`` are the sides of every Recording.

    Examples
    --------
    >>> apart({"time": 1, "side": 2}, ["time"], "interval")
    {'interval_time': 1, 'side': 2}
    """
    found: dict[str, Any] = {}
    own = {"sample", "unit", *taken}
    for name, column in columns.items():
        free = str(name)
        while free in own or free in found or (free != name and free in columns):
            free = f"{prefix}_{free}"
        found[free] = column
    return found


def as_variable(side: str, cells: Array, attrs: Any = None) -> xr.Variable:
    """Return a column of `as_column` as a variable of one side."""
    if side == "unit" and is_words(cells):
        cells = cells.astype(str)
    # The slow path would copy every word of an array of objects.
    return xr.Variable((side,), cells, dict(attrs or {}), fastpath=True)


def _word(cell: Any) -> str:
    if not isinstance(cell, bytes):
        return str(cell)
    try:
        return cell.decode()
    except UnicodeDecodeError as error:
        raise NisslError(
            f"the label {cell!r} is not UTF-8", do="decode the bytes before"
        ) from error
