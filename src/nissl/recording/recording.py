"""The Recording: activity of units over samples, a plain DataArray with dims ``(sample, unit)``.

A sample is one moment at which every unit has one value; its coordinates say which (``document``,
``position``, ``token``, ``stimulus``, ``trial``, ...). A unit is a neuron, a feature, a voxel or a
cell; its coordinates say where (``unit``, ``site``, ``layer``, ``index``, ``region``, ...).
Coordinates are numbers or words; how words are kept is said in `nissl.recording.labels`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from nissl.errors import NisslError
from nissl.recording.labels import as_column, as_variable

__all__ = [
    "NotARecording",
    "Recording",
    "as_recording",
    "check",
    "samples_table",
    "units_table",
]

Recording: TypeAlias = xr.DataArray

QUANTITIES = (
    "activity",
    "gradient",
    "attribution",
    "logit",
    "spikes",
    "bold",
    "calcium",
    "voltage",
    "field",
)


class NotARecording(NisslError):
    """An array that does not have the shape, coordinates or types of a Recording."""


def as_recording(
    values: Any,
    *,
    samples: Mapping[str, Any] | pd.DataFrame | None = None,
    units: Mapping[str, Any] | pd.DataFrame | None = None,
    quantity: str = "activity",
    attrs: Mapping[str, str | int | float | bool] | None = None,
) -> Recording:
    """Make a Recording from an array and a table for each of its sides.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Numbers, floating or integer; kept as they are, without a copy.
    samples : mapping or DataFrame, optional
        Columns of length n_samples, numbers or words; what is missing is NaN or the empty word.
    units : mapping or DataFrame, optional
        Columns of length n_units. ``unit`` must be unique strings; where it is missing it is made
        from ``site`` and ``index`` as ``site[index]``.
    quantity : str
        What the numbers are: activity, gradient, attribution, logit, spikes, ...
    attrs : mapping, optional
        Provenance: scalars or strings.

    Returns
    -------
    Recording
        Dims ``(sample, unit)``, with 1-D coordinates on each side and no index on ``sample``.

    Raises
    ------
    NotARecording
        A column's length, type or the units' addresses do not fit.

    Examples
    --------
    >>> rec = as_recording(np.eye(3), samples={"stimulus": ["cat", "dog", "cat"]})
    >>> rec.dims, rec["stimulus"].values.tolist(), str(rec["unit"].values[0])
    (('sample', 'unit'), ['cat', 'dog', 'cat'], 'unit[0]')
    >>> rec[rec["stimulus"] == "cat"].shape
    (2, 3)
    """
    if getattr(values, "ndim", None) != 2:
        values = np.asarray(values)
    if values.ndim != 2:
        raise NotARecording(
            f"a recording has two sides, samples and units; this array has shape {values.shape}",
            do="what is not one number per sample and unit is returned by `run`, not recorded",
        )
    n_samples, n_units = values.shape
    unit_columns = _columns(units)
    if "unit" not in unit_columns:
        unit_columns["unit"] = _addresses(unit_columns, n_units)
    coords = _side(_columns(samples), "sample", n_samples)
    if twice := coords.keys() & unit_columns.keys():
        name = min(twice)
        raise NotARecording(
            f"'{name}' is a column of the samples and of the units",
            where=name,
            do="rename one of them",
        )
    coords |= _side(unit_columns, "unit", n_units)
    rec = xr.DataArray(
        values,
        dims=("sample", "unit"),
        coords=coords,
        attrs={"quantity": quantity, **(attrs or {})},
    )
    return check(rec)


def check(rec: Any) -> Recording:
    """Return the Recording unchanged, or say what keeps it from being one.

    Parameters
    ----------
    rec : DataArray
        What should be a Recording; its values are not read.

    Returns
    -------
    Recording
        The same object.

    Raises
    ------
    NotARecording
        Other dims than ``(sample, unit)``, a MultiIndex, an object array, an attribute that is not
        a scalar or string, an index on ``sample``, or unit addresses missing or repeated.

    Examples
    --------
    >>> check(as_recording(np.zeros((2, 3)))).shape
    (2, 3)
    """
    if not isinstance(rec, xr.DataArray) or rec.dims != ("sample", "unit"):
        found = rec.dims if isinstance(rec, xr.DataArray) else type(rec).__name__
        raise NotARecording(
            f"a recording is a DataArray with dims ('sample', 'unit'), not {found}",
            do="make one with nissl.recording.as_recording(values, samples=..., units=...)",
        )
    if rec.dtype.kind not in "fiub":
        raise NotARecording(f"a recording holds numbers, not {rec.dtype}", do="convert the values")
    if "unit" not in rec.coords:
        raise NotARecording("the units have no addresses", do="give units={'unit': [...]}")
    for name in rec.indexes:
        if rec[name].dims == ("sample",):
            raise NotARecording(
                "samples carry an index, by which xarray would align silently",
                where=str(name),
                do=f"rec.drop_indexes('{name}'), and rename it if it is called 'sample'",
            )
    for name, coord in rec.coords.items():
        if coord.dtype.kind in "ST" or not _only_words(coord.variable):
            raise NotARecording(
                f"coordinate '{name}' holds {coord.dtype}, neither numbers nor words",
                where=str(name),
                do="let `nissl.recording.as_recording` make the column: it converts it",
            )
        if coord.ndim > 1:
            raise NotARecording(
                f"coordinate '{name}' has {coord.ndim} dimensions", do="give one side only"
            )
    for name, value in rec.attrs.items():
        if not isinstance(value, (str, int, float, bool, np.number)):
            raise NotARecording(
                f"attribute '{name}' is a {type(value).__name__}",
                do="attributes are scalars or strings",
            )
    addresses = np.asarray(rec["unit"].values)
    if addresses.dtype.kind != "U":
        raise NotARecording(f"unit addresses are {addresses.dtype}, not strings", where="unit")
    if len(np.unique(addresses)) != len(addresses):
        first, count = np.unique(addresses, return_counts=True)
        raise NotARecording(
            f"unit addresses repeat: '{first[count > 1][0]}'",
            where="unit",
            do="give every unit its own address",
        )
    return rec


def samples_table(rec: Recording) -> pd.DataFrame:
    """Return the samples' coordinates as a table.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The recording; its values are not read.

    Returns
    -------
    DataFrame, n_samples rows
        One column for each sample coordinate.

    Examples
    --------
    >>> samples_table(as_recording(np.zeros((2, 1)), samples={"trial": [0, 1]})).shape
    (2, 1)
    """
    return pd.DataFrame({str(n): c.values for n, c in rec.coords.items() if c.dims == ("sample",)})


def units_table(rec: Recording) -> pd.DataFrame:
    """Return the units' coordinates as a table.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The recording; its values are not read.

    Returns
    -------
    DataFrame, n_units rows
        One column for each unit coordinate, ``unit`` first.

    Examples
    --------
    >>> list(units_table(as_recording(np.zeros((2, 1)), units={"x": [0.5]})).columns)
    ['unit', 'x']
    """
    columns = {str(n): np.asarray(c.values) for n, c in rec.coords.items() if c.dims == ("unit",)}
    return pd.DataFrame({"unit": columns.pop("unit"), **columns})


def _only_words(coord: xr.Variable) -> bool:
    """Tell whether an array of objects holds words only; a lazy one is not read."""
    if coord.dtype.kind != "O" or not coord._in_memory:
        return True
    return pd.api.types.infer_dtype(coord.values.ravel(), skipna=False) in ("string", "empty")


def _columns(table: Mapping[str, Any] | pd.DataFrame | None) -> dict[str, Any]:
    return {} if table is None else {str(name): column for name, column in table.items()}


def _side(columns: Mapping[str, Any], side: str, length: int) -> dict[str, xr.Variable]:
    made = {}
    for name, column in columns.items():
        cells = as_column(column)
        if cells.shape != (length,):
            raise NotARecording(
                f"column '{name}' has shape {cells.shape}, but there are {length} {side}s",
                where=name,
                do=f"give one value for each {side}",
            )
        made[name] = as_variable(side, cells, getattr(column, "attrs", None))
    return made


def _addresses(columns: Mapping[str, Any], n_units: int) -> np.ndarray[Any, Any]:
    site = np.asarray(columns.get("site", ["unit"] * n_units))
    index = np.asarray(columns.get("index", np.arange(n_units)))
    return np.asarray([f"{s}[{i}]" for s, i in zip(site, index, strict=True)], dtype=str)
