"""Concat: recordings one after another along the samples, or side by side along the units."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from nissl.errors import NisslError, UnknownName
from nissl.recording._lazy_concat import joined
from nissl.recording.labels import as_column, as_variable, is_words, lacking
from nissl.recording.recording import Recording, check

__all__ = ["concat"]

Array = np.ndarray[Any, Any]

#: Attributes that say what a number or a sample is: where they differ, nothing may be joined.
MEANING = ("quantity", "measured_in", "sampling_rate", "bin", "repetition_time")


def concat(recs: Sequence[Recording], *, along: Literal["sample", "unit"] = "sample") -> Recording:
    """Put recordings together, without aligning anything silently.

    Parameters
    ----------
    recs : sequence of Recording
        One or more. Along the samples they have the same units in the same order, with the same
        coordinates, and the same sample coordinates. Along the units they have the same samples:
        sample coordinates that several have must be equal, and no address may occur twice.
    along : {"sample", "unit"}
        The side that grows.

    Returns
    -------
    Recording, shape (sum of n_samples, n_units) or (n_samples, sum of n_units)
        Lazy where one of them is, else in memory. Unit coordinates that some lack are NaN, -1,
        empty or false there. Scalar coordinates (``subject``) that differ become columns of the
        side that grows. Attributes that are equal in all are kept; others become a JSON list, an
        entry for each recording.

    Raises
    ------
    NisslError
        Units, coordinates, quantities, units of measurement, rates, bins or samples differ, or
        addresses clash; it says which.
    UnknownName
        `along` is neither side.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> a = as_recording([[1.0]], samples={"stimulus": ["cat"]})
    >>> b = as_recording([[2.0]], samples={"stimulus": ["dog"]})
    >>> rec = concat([a, b])
    >>> rec.values.tolist(), rec["stimulus"].values.tolist()
    ([[1.0], [2.0]], ['cat', 'dog'])
    """
    recs = [check(rec) for rec in recs]
    if along not in ("sample", "unit"):
        raise UnknownName("side", along, ["sample", "unit"], do="along='sample' or along='unit'")
    if not recs:
        raise NisslError("there is nothing to put together", do="give one recording or more")
    recs = _one_meaning(recs, along)
    recs, constant = _scalars(recs, along)
    coords = _along_samples(recs) if along == "sample" else _along_units(recs)
    coords |= constant
    values = joined([rec.variable for rec in recs], 0 if along == "sample" else 1)
    return check(xr.DataArray(values, coords=coords, attrs=_attrs(recs)))


def _one_meaning(recs: Sequence[Recording], along: str) -> list[Recording]:
    """Refuse other quantities, units, rates and bins; units side by side know their own unit."""
    recs = list(recs)
    for name in MEANING:
        said: dict[Any, int] = {}
        for n, rec in enumerate(recs):
            value = rec.attrs.get(name, "activity" if name == "quantity" else None)
            if value is not None:
                said.setdefault(float(f"{value:.9g}") if isinstance(value, float) else value, n)
        if len(said) < 2:
            continue
        if name == "measured_in" and along == "unit":
            for n, rec in enumerate(recs):
                own = np.full(rec.sizes["unit"], str(rec.attrs.get(name, "")))
                column = {name: as_variable("unit", as_column(own))}
                recs[n] = rec.assign_coords({} if name in rec.coords else column).copy(deep=False)
                recs[n].attrs = {k: v for k, v in rec.attrs.items() if k != name}
            continue
        what = "hold different quantities" if name == "quantity" else f"differ in '{name}'"
        raise NisslError(
            f"the recordings {what}: {', '.join(map(str, said))}",
            where=f"recordings {' and '.join(map(str, list(said.values())[:2]))}",
            do="bring them to one first (units: multiply, and assign_attrs; rates: bin or resample"
            " alike)",
        )
    return recs


def _scalars(
    recs: Sequence[Recording], along: str
) -> tuple[list[Recording], dict[str, xr.Variable]]:
    """Keep scalar coordinates that are equal in all, and spread the others along a side."""
    constant: dict[str, xr.Variable] = {}
    recs = list(recs)
    for name in dict.fromkeys(str(n) for rec in recs for n, c in rec.coords.items() if c.ndim == 0):
        scalars = [rec.coords[name].variable if name in rec.coords else None for rec in recs]
        first = scalars[0]
        if first is not None and all(
            s is not None and s.ndim == 0 and s.equals(first) for s in scalars
        ):
            constant[name] = first
            continue
        for n, (rec, scalar) in enumerate(zip(recs, scalars, strict=True)):
            if scalar is not None and scalar.ndim == 0:
                spread = as_column(np.full(rec.sizes[along], scalar.values[()]))
                recs[n] = rec.assign_coords({name: as_variable(along, spread)})
    return recs, constant


def _along_samples(recs: Sequence[Recording]) -> dict[str, xr.Variable]:
    first = recs[0]
    coords = _side(first, "unit")
    for n, rec in enumerate(recs[1:], start=1):
        _same_units(coords, _side(rec, "unit"), n)
    columns = [_side(rec, "sample") for rec in recs]
    for n, table in enumerate(columns):
        odd = set(table) ^ set(columns[0])
        if odd:
            raise NisslError(
                f"recordings 0 and {n} do not have the same sample coordinates: "
                f"{', '.join(sorted(odd))}",
                where=f"recording {n}",
                do="add them to all with assign_coords, or drop them with drop_vars",
            )
    for name in columns[0]:
        coords[name] = _column([table[name] for table in columns], name)
    return coords


def _same_units(expected: dict[str, xr.Variable], found: dict[str, xr.Variable], n: int) -> None:
    ours, theirs = expected["unit"].values, found["unit"].values
    if len(ours) != len(theirs) or (ours != theirs).any():
        only = np.setdiff1d(ours, theirs), np.setdiff1d(theirs, ours)
        if len(only[0]) or len(only[1]):
            what = f"{len(only[0])} units are only in 0, {len(only[1])} only in {n}"
            shown = np.concatenate([only[0][:1], only[1][:1]])
            what += f" ({', '.join(shown.tolist())})"
        else:
            what = "they come in another order"
        raise NisslError(
            f"recordings 0 and {n} do not have the same units: {what}",
            where=f"recording {n}",
            do="select the same units of each first: select(rec, units=list_of_addresses)",
        )
    for name in expected.keys() | found.keys():
        both = name in expected and name in found
        if not both or not (
            _equal(expected[name].values, found[name].values)
            and expected[name].attrs == found[name].attrs
        ):
            raise NisslError(
                f"the units of recordings 0 and {n} differ in '{name}'",
                where=f"recording {n}",
                do="mend it, or drop it with drop_vars",
            )


def _along_units(recs: Sequence[Recording]) -> dict[str, xr.Variable]:
    coords: dict[str, xr.Variable] = {}
    origin: dict[str, int] = {}
    for n, rec in enumerate(recs):
        if rec.sizes["sample"] != recs[0].sizes["sample"]:
            raise NisslError(
                f"recording 0 has {recs[0].sizes['sample']} samples, recording {n} "
                f"{rec.sizes['sample']}",
                where=f"recording {n}",
                do="align them first",
            )
        for name, column in _side(rec, "sample").items():
            if name not in coords:
                coords[name], origin[name] = column, n
                continue
            _meaning([coords[name], column], name)
            if not _equal(coords[name].values, column.values):
                raise NisslError(
                    f"recordings {origin[name]} and {n} differ in the sample coordinate '{name}'",
                    where=f"recording {n}",
                    do=f"align them first: align(a, b, on='{name}'), or drop it with drop_vars",
                )
    tables = [_side(rec, "unit") for rec in recs]
    for name in dict.fromkeys(name for table in tables for name in table):
        if name in coords:
            raise NisslError(
                f"'{name}' is a coordinate of samples in one recording and of units in another",
                where=name,
                do="rename one of them",
            )
        like = next(table[name] for table in tables if name in table)
        parts = [
            table[name].values if name in table else lacking(like, rec.sizes["unit"])
            for table, rec in zip(tables, recs, strict=True)
        ]
        if len({is_words(p) for p in parts}) > 1:
            raise NisslError(
                f"the unit coordinate '{name}' holds words in one recording and numbers in another",
                where=name,
                do="write it the same way in all",
            )
        meaning = _meaning([table[name] for table in tables if name in table], name)
        coords[name] = xr.Variable(("unit",), np.concatenate(parts), meaning)
    addresses, count = np.unique(coords["unit"].values, return_counts=True)
    if (count > 1).any():
        clash = addresses[count > 1]
        raise NisslError(
            f"{len(clash)} addresses occur in more than one recording: {clash[0]}",
            where="unit",
            do="give the units addresses of their own, such as 'subject1/voxel[3,5,1]'",
        )
    return coords


def _column(columns: list[xr.Variable], name: str) -> xr.Variable:
    """Put one sample coordinate together."""
    words = [is_words(column) for column in columns]
    if any(words) and not all(words):
        raise NisslError(
            f"'{name}' holds words in one recording and numbers in another",
            where=f"recordings {words.index(True)} and {words.index(False)}",
            do="write it the same way in all",
        )
    values = np.concatenate([column.values for column in columns])
    return as_variable("sample", values, _meaning(columns, name))


def _meaning(columns: Sequence[xr.Variable], name: str) -> dict[Any, Any]:
    """Return the attributes of a column; its numbers must mean the same in all."""
    said = [dict(column.attrs) for column in columns]
    for n, attrs in enumerate(said):
        if attrs != said[0]:
            raise NisslError(
                f"the numbers of '{name}' do not mean the same: {said[0]} and {attrs}",
                where=f"recordings 0 and {n}",
                do="translate them into one table, or drop the coordinate with drop_vars",
            )
    return said[0]


def _attrs(recs: Sequence[Recording]) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    for name in dict.fromkeys(str(name) for rec in recs for name in rec.attrs):
        values = [rec.attrs.get(name) for rec in recs]
        same = all(_equal(np.asarray(v), np.asarray(values[0])) for v in values)
        plain = [v.item() if isinstance(v, np.generic) else v for v in values]
        attrs[name] = values[0] if same else json.dumps(plain)
    return attrs


def _side(rec: Recording, side: str) -> dict[str, xr.Variable]:
    return {
        str(n): c.variable.to_base_variable() for n, c in rec.coords.items() if c.dims == (side,)
    }


def _equal(a: Array, b: Array) -> bool:
    if a.shape != b.shape or is_words(a) != is_words(b):
        return False
    nan = a.dtype.kind == b.dtype.kind and a.dtype.kind in "fmM"
    return bool(np.array_equal(a, b, equal_nan=nan))
