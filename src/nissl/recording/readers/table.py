"""Tables: CSV, TSV, parquet and npz, with a row for each sample and a column for each unit."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.readers._files import damaged, existing, reading
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
) -> Recording:
    r"""Read a table of numbers into a Recording.

    Parameters
    ----------
    path : Path or str
        ``.csv``, ``.tsv`` (also ``.gz``) or ``.parquet``: every numeric column that is not named
        in `samples` is a unit; columns of text are sample coordinates. ``.npy``, ``.npz``: a
        two-dimensional array ``(n_samples, n_units)``; of the one-dimensional arrays beside it
        those of length n_samples are sample coordinates, those of length n_units unit coordinates.
    samples : str or sequence of str
        The columns (or arrays) that are sample coordinates, beside those of text.
    units : mapping or DataFrame, optional
        Further unit coordinates, in the order of the units.
    values : str, optional
        npz only: the array that holds the values, where several could.
    quantity : str
        What the numbers are: activity, spikes, calcium, voltage, ...

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
    if path.suffix.lower() in (".npz", ".npy"):
        return _from_arrays(path, named, units, values, quantity)
    if values is not None:
        raise NisslError(
            "values= names an array of an npz file", where=str(path), do="leave values= out"
        )
    table = _frame(path)
    for name in named:
        if name not in table.columns:
            raise UnknownName("column", name, [str(c) for c in table.columns])
    named += [n for n in table.columns if n not in named and _is_text(path, str(n), table[n])]
    numbers = table.drop(columns=named)
    if numbers.shape[1] == 0:
        raise NisslError(
            "no column is left to be a unit", where=str(path), do="name fewer columns in samples="
        )
    return as_recording(
        numbers.to_numpy(),
        samples={name: table[name].to_numpy() for name in named},
        units={"unit": numbers.columns.to_numpy().astype(str), **_plain(units)},
        quantity=quantity,
        attrs={"source": path.name},
    )


def _frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    suffixes = [s.lower() for s in path.suffixes]
    if suffixes[-1] == ".parquet":
        with reading(path, "parquet"):
            return pd.read_parquet(path)
    separator = "\t" if ".tsv" in suffixes else ","
    _rows_are_whole(path, separator)
    with reading(path, "table"):
        table = pd.read_csv(path, sep=separator, encoding="utf-8", skipinitialspace=True)
    if table.empty:
        raise damaged(path, "table", "it has no rows")
    return table


def _rows_are_whole(path: Path, separator: str) -> None:
    """Refuse rows of other widths: pandas fills short ones with NaN and shifts long ones."""
    import gzip

    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with reading(path, "table"), opener(path, "rt", encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter=separator)
        width = len(next(rows, []))
        for row in rows:
            if row and len(row) != width:
                why = f"line {rows.line_num} has {len(row)} fields where the first has {width}"
                raise damaged(path, "table", why)


def _is_text(path: Path, name: str, column: pd.Series[Any]) -> bool:
    """Tell whether a column holds text; refuse one that holds numbers and a slip of the pen."""
    import pandas as pd

    if np.dtype(getattr(column.dtype, "numpy_dtype", column.to_numpy().dtype)).kind in "fiub":
        return False
    cells = column[column.notna()]
    text = pd.to_numeric(cells, errors="coerce").isna()
    if text.any() and not text.all():
        raise NisslError(
            f"column '{name}' holds {str(cells[text].iloc[0])!r} among numbers",
            where=f"{path}, row {cells.index[text][0]} below the header",
            do=f"mend the cell, or make it a sample coordinate with samples=[..., {name!r}]",
        )
    return True


def _from_arrays(
    path: Path, named: list[str], units: Any, values: str | None, quantity: str
) -> Recording:
    with reading(path, path.suffix[1:].lower()):
        # Pickled objects could run code, and are no numbers.
        loaded = np.load(path, allow_pickle=False)
        arrays = {"values": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    matrices = [name for name, a in arrays.items() if a.ndim == 2 and a.dtype.kind in "fiub"]
    if values is None:
        if len(matrices) != 1:
            raise NisslError(
                f"{len(matrices)} arrays could be the values: {', '.join(matrices) or 'none'}",
                where=str(path),
                do=f"name one with values=; there are {_shapes(arrays)}",
            )
        values = matrices[0]
    elif values not in arrays:
        raise UnknownName("array", values, arrays, do=f"there are {_shapes(arrays)}")
    matrix = arrays.pop(values)
    for name in named:
        if name not in arrays:
            raise UnknownName("array", name, arrays, do=f"there are {_shapes(arrays)}")
    n_samples, n_units = matrix.shape if matrix.ndim == 2 else (-1, -1)
    sides: dict[str, dict[str, Any]] = {"sample": {}, "unit": {}}
    for name, array in arrays.items():
        if name in named or (array.shape == (n_samples,) and n_samples != n_units):
            sides["sample"][name] = array
        elif array.shape == (n_units,) and n_samples != n_units:
            sides["unit"][name] = array
        elif array.shape == (n_units,):
            raise NisslError(
                f"array '{name}' is as long as both sides",
                where=str(path),
                do=f"say that it belongs to the samples with samples=['{name}'], or rename it"
                " and give it with units=",
            )
    if "unit" in sides["unit"]:
        sides["unit"]["unit"] = sides["unit"]["unit"].astype(str)
    return as_recording(
        matrix,
        samples=sides["sample"],
        units={**sides["unit"], **_plain(units)},
        quantity=quantity,
        attrs={"source": path.name},
    )


def _shapes(arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    return ", ".join(f"{name} {a.shape}" for name, a in arrays.items())


def _plain(table: Any) -> dict[str, Any]:
    return {} if table is None else {str(n): np.asarray(c) for n, c in table.items()}
