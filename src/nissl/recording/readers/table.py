"""Tables: CSV, TSV, parquet, npz and MATLAB, with a row a sample and a column a unit."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.free_memory import require_memory
from nissl.recording.labels import apart
from nissl.recording.readers._arrays import from_arrays, plain
from nissl.recording.readers._files import damaged, existing, gunzipped, reading
from nissl.recording.recording import Recording, as_recording

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_table"]


def read_table(
    path: Path | str,
    *,
    samples: str | Sequence[str] = (),
    units: Mapping[str, Any] | pd.DataFrame | None = None,
    values: str | None = None,
    quantity: str = "activity",
    header: bool | None = None,
    sep: str | None = None,
    bin: float = 0.1,
) -> Recording:
    r"""Read a table of numbers into a Recording.

    Parameters
    ----------
    path : Path or str
        ``.csv``, ``.tsv`` (also ``.gz``) or ``.parquet``: every numeric column that is not named
        in `samples` is a unit; columns of text and of dates, and the index that pandas wrote, are
        sample coordinates. ``.npy``, ``.npz``: a two-dimensional array ``(n_samples, n_units)``; of
        the one-dimensional arrays beside it those of length n_samples are sample coordinates, those
        of length n_units unit coordinates; or what pynapple saved. ``.mat`` of MATLAB 5, 7 and 7.3
        likewise, with vectors and cells of words beside the matrix, fields by ``struct.field``; or
        a cell, or array of structs, with a vector of spike times in seconds for each unit.
    samples : str or sequence of str
        The columns (or arrays) that are sample coordinates, beside those of text.
    units : mapping or DataFrame, optional
        Further unit coordinates, in the order of the units.
    values : str, optional
        npz and MATLAB only: the array that holds the values, where several could.
    quantity : str
        What the numbers are: activity, spikes, calcium, voltage, ...
    header : bool, optional
        CSV and TSV: whether the first row holds names. Found out where it can be: a row of numbers
        is values, unless they could be ids.
    sep : str, optional
        CSV and TSV: what stands between two cells; found out from the first row.
    bin : float
        Spikes of pynapple and MATLAB: the width of a bin, in seconds.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        Units are addressed by their columns' names. Columns of mixed widths become the widest.

    Raises
    ------
    NisslError
        The file is missing, empty, cut short, not UTF-8, or mixes text with numbers in a column.
    UnknownName
        `samples` or `values` names a column that is not there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "cells.csv")
    ...     _ = path.write_text("side,a,b\nleft,1.5,2\nright,0,4\n")
    ...     rec = read_table(path, samples="side")
    >>> rec.shape, rec["unit"].values.tolist()
    ((2, 2), ['a', 'b'])
    """
    path = existing(path)
    named = [samples] if isinstance(samples, str) else list(samples)
    with reading(path, path.suffix[1:].lower()):
        return _read(path, named, units, values, quantity, header, sep, bin)


def _read(
    path: Path,
    named: list[str],
    units: Any,
    values: str | None,
    quantity: str,
    header: bool | None,
    sep: str | None,
    bin: float,
) -> Recording:
    if path.suffix.lower() in (".npz", ".npy", ".mat"):
        return from_arrays(path, named, units, values, quantity, bin)
    if values is not None:
        raise NisslError(
            "values= names an array of an npz or MATLAB file",
            where=str(path),
            do="leave values= out",
        )
    table = _frame(path, header, sep)
    for name in named:
        if name not in table.columns:
            raise UnknownName("column", name, [str(c) for c in table.columns])
    index = table.index.names if table.index.nlevels > 1 else [table.index.name or "index"]
    beside = (
        {}
        if _is_plain(table.index)
        else {
            str(n or f"index_{i}"): _coordinate(table.index.get_level_values(i).to_series())
            for i, n in enumerate(index)
        }
    )
    named += [n for n in table.columns if n not in named and not _is_unit(path, str(n), table[n])]
    numbers = table.drop(columns=named)
    if numbers.shape[1] == 0:
        raise NisslError(
            "no column is left to be a unit", where=str(path), do="name fewer columns in samples="
        )
    columns = [_numbers(numbers[name]) for name in numbers]
    named_columns = {str(name): _coordinate(table[name]) for name in named}
    return as_recording(
        np.stack(columns, axis=1) if len(columns) > 1 else columns[0][:, None],
        samples=apart(named_columns | apart(beside, named_columns, "index"), (), "column"),
        units={"unit": numbers.columns.to_numpy().astype(str), **plain(units)},
        quantity=quantity,
        attrs={"source": path.name},
    )


def _frame(path: Path, header: bool | None, sep: str | None) -> pd.DataFrame:
    import pandas as pd

    suffixes = [s.lower() for s in path.suffixes]
    if suffixes[-1] == ".parquet":
        import pyarrow.parquet as pq

        about = pq.read_metadata(path)
        _require_room(path, about.num_rows * about.num_columns * 8)
        table = pd.read_parquet(path)
        if twice := table.columns[table.columns.duplicated()].tolist():
            raise NisslError(
                f"column '{twice[0]}' occurs twice", where=str(path), do="rename one of them"
            )
        if table.columns.nlevels > 1:
            table.columns = [".".join(map(str, names)) for names in table.columns]
        return table.rename(columns=str)
    packed = path.suffix.lower() == ".gz"
    _require_room(path, gunzipped(path, "table") if packed else path.stat().st_size)
    first, second, decimal, separator = _first_rows(path, sep, "\t" if ".tsv" in suffixes else ",")
    _rows_are_whole(path, separator)
    if header is None:
        header = _is_header(path, first, second)
    with reading(path, "table"):
        table = pd.read_csv(
            path,
            sep=separator,
            decimal=decimal,
            encoding="utf-8-sig",
            skipinitialspace=True,
            header=0 if header else None,
            # What pandas writes before its rows has no name.
            index_col=0 if header and first and not first[0].strip() else False,
        )
    if table.empty:
        raise damaged(path, "table", "it has no rows")
    # A separator at the end of every row makes a column of nothing.
    unnamed = [n for n in table if str(n).startswith("Unnamed: ") and table[n].isna().all()]
    return table.drop(columns=unnamed).rename(columns=str)


def _require_room(path: Path, n_bytes: int) -> None:
    """Refuse what cannot fit before it is read: a packed file may hold any size."""
    require_memory(3 * n_bytes, "the table", where=str(path), do="cut it into parts")


def _opened(path: Path) -> Any:
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def _first_rows(path: Path, sep: str | None, usual: str) -> tuple[list[str], list[str], str, str]:
    """Return the cells of the first rows, the decimal mark, and the separator."""
    with reading(path, "table"), _opened(path) as file:
        lines = [line for _, line in zip(range(20), file, strict=False)]
    first = lines[0] if lines else ""
    if sep is None:
        others = [s for s in (";", "\t", ",", "|") if s in first]
        sep = usual if usual in first or not others else others[0]
    rows = [row for row in csv.reader(lines, delimiter=sep) if row]
    cells = [cell for row in rows for cell in row]
    comma = sep != "," and any(re.fullmatch(r"\s*[-+]?\d+,\d+\s*", cell) for cell in cells)
    first_row, second_row = [*rows, [], []][:2]
    return first_row, second_row, "," if comma else ".", sep


def _is_header(path: Path, first: Sequence[str], second: Sequence[str]) -> bool:
    """Tell whether the first row holds names; whole numbers could be ids or values."""
    found = [_as_number(cell) for cell in first]
    numbers = [n for n in found if n is not None]
    below = [_as_number(cell) is not None for cell in second]
    named = any(n is None and number for n, number in zip(found, below, strict=False))
    if not numbers or not first[0].strip() or named:
        return True  # no numbers, an index without a name, or a word above numbers
    if numbers == list(range(len(numbers))) and len(numbers) > 2:
        return True  # as pandas numbers columns that have no name
    whole = all(n is not None and n % 1 == 0 and n >= 0 for n in numbers)
    if whole and len({*numbers}) == len(numbers):
        raise NisslError(
            f"the first row ({', '.join(first[:5])}) may hold names of units or values",
            where=str(path),
            do="say header=True or header=False",
        )
    return False


def _as_number(cell: str) -> float | None:
    try:
        return float(cell.strip().replace(",", "."))
    except ValueError:
        return None


def _rows_are_whole(path: Path, separator: str) -> None:
    """Refuse rows of other widths: pandas fills short ones with NaN and shifts long ones."""
    with reading(path, "table"), _opened(path) as file:
        rows = csv.reader(file, delimiter=separator)
        width = len(next(rows, []))
        for row in rows:
            if row and len(row) != width:
                why = f"line {rows.line_num} has {len(row)} fields where the first has {width}"
                raise damaged(path, "table", why)


def _is_plain(index: pd.Index[Any]) -> bool:
    """Tell whether an index only numbers the rows."""
    if index.nlevels > 1 or index.name is not None or index.dtype.kind not in "iu":
        return False
    return bool((index.to_numpy() == np.arange(len(index))).all())


def _is_unit(path: Path, name: str, column: pd.Series[Any]) -> bool:
    """Tell whether a column holds numbers; refuse one that holds neither numbers nor words."""
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_bool_dtype(column.dtype) or kinds.is_numeric_dtype(column.dtype):
        return not kinds.is_complex_dtype(column.dtype)
    if column.dtype.kind in "mM" or isinstance(column.dtype, pd.CategoricalDtype):
        return False
    cells = column[column.notna()]
    odd = next((c for c in cells if not isinstance(c, (str, bytes)) and np.ndim(c) > 0), None)
    if odd is not None or any(isinstance(c, (dict, list, set)) for c in cells[:1]):
        raise NisslError(
            f"column '{name}' holds lists, not one number or word a row",
            where=str(path),
            do="give each of their elements a column, or leave the column out",
        )
    if len(cells) and cells.map(lambda c: isinstance(c, (int, float, decimal.Decimal))).all():
        return True
    text = pd.to_numeric(cells, errors="coerce").isna()
    if text.any() and not text.all():
        row = np.flatnonzero(column.notna())[int(np.argmax(text))]
        raise NisslError(
            f"column '{name}' holds {str(cells[text].iloc[0])!r} among numbers",
            where=f"{path}, row {row} below the header",
            do=f"mend the cell, or make it a sample coordinate with samples=[..., {name!r}]",
        )
    return False


def _numbers(column: pd.Series[Any]) -> np.ndarray[Any, Any]:
    """Return a column of numbers as numpy's, NaN where they are missing."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(column.dtype) and not column.isna().any():
        return column.to_numpy(dtype=bool)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiu":
        return column.to_numpy()
    if column.isna().any() or not pd.api.types.is_integer_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return column.to_numpy(dtype=np.dtype(column.dtype.name.lower().split("[")[0]))


def _coordinate(column: pd.Series[Any]) -> Any:
    """Return a column of labels: durations in seconds, dates without their zone."""
    if getattr(column.dtype, "tz", None) is not None:
        return column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    if column.dtype.kind == "m":
        return column.dt.total_seconds().to_numpy()
    if column.dtype.kind == "O" and len(there := column.dropna()):
        if all(isinstance(c, (int, float, decimal.Decimal)) for c in there):
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
        if all(isinstance(c, (datetime.date, datetime.time)) for c in there):
            return column.map(str, na_action="ignore").to_numpy()
    return column.to_numpy()
