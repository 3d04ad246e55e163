"""Arrays by name, of npy, npz and MATLAB files: which of them are the values, and which labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.labels import apart
from nissl.recording.readers._files import reading
from nissl.recording.readers._matlab import bin_trains, load_matlab
from nissl.recording.readers._npz import from_pynapple, load_arrays
from nissl.recording.recording import Recording, as_recording

__all__ = ["from_arrays", "plain"]

Arrays = dict[str, np.ndarray[Any, Any]]


def from_arrays(
    path: Path, named: list[str], units: Any, values: str | None, quantity: str, bin: float
) -> Recording:
    """Return the values of a file, and what lies beside them on the side whose length it has."""
    trains: dict[str, Any] = {}
    others: dict[str, str] = {}
    is_matlab = path.suffix.lower() == ".mat"
    with reading(path, "MATLAB" if is_matlab else path.suffix[1:].lower()):
        if is_matlab:
            arrays, trains, others = load_matlab(path, values)
        else:
            arrays, others = load_arrays(path)
    kind = arrays.get("type")
    if not is_matlab and kind is not None and kind.shape == (1,) and kind.dtype.kind == "U":
        return from_pynapple(path, arrays, bin, quantity)
    if others and not is_matlab:
        raise NisslError(
            f"array '{next(iter(others))}' holds pickled objects, which could run code",
            where=str(path),
            do="save it as numbers or words: np.savez(..., name=array.astype(str))",
        )
    there = {name: str(a.shape) for name, a in arrays.items()}
    there |= {name: f"(spike times of {len(each)} units)" for name, each in trains.items()} | others
    matrices = [name for name, a in arrays.items() if a.ndim == 2 and a.dtype.kind in "fiub"]
    values = _chosen(path, [*matrices, *trains], there, values)
    if values not in arrays and values not in trains:
        raise NisslError(
            f"'{values}' is neither a table of numbers nor spike times: {there[values]}",
            where=str(path),
            do=f"save it as a matrix, or a cell of vectors; there are {_listed(there)}",
        )
    if is_matlab:
        arrays = _beside(values, arrays)
    matrix = arrays.pop(values, None)
    for name in named:
        if name not in arrays or values in trains:
            raise UnknownName("array", name, arrays, do=f"there are {_listed(there)}")
    shape = (-1, len(trains[values])) if matrix is None else matrix.shape
    sides = _sides(path, arrays, named, shape if len(shape) == 2 else (-1, -1))
    columns = {**sides["unit"], **plain(units)}
    if matrix is None:
        return bin_trains(path, values, trains[values], columns, bin)
    return as_recording(
        matrix,
        samples=apart(sides["sample"], (), "array"),
        units=columns,
        quantity=quantity,
        attrs={"source": path.name},
    )


def _chosen(path: Path, could: list[str], there: Mapping[str, str], values: str | None) -> str:
    if values is None and len(could) != 1:
        raise NisslError(
            f"{len(could)} arrays could be the values: {', '.join(could) or 'none'}",
            where=str(path),
            do=f"name one with values=; there are {_listed(there)}",
        )
    if values is not None and values not in there:
        raise UnknownName("array", values, there, do=f"there are {_listed(there)}")
    return values or could[0]


def _listed(there: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {what}" for name, what in there.items()) or "none"


def _beside(values: str, arrays: Arrays) -> Arrays:
    """Return what may label the values: fields of the same struct, and what lies in none."""
    struct = values.rpartition(".")[0] + "."
    fields = {n.removeprefix(struct): a for n, a in arrays.items() if n.startswith(struct)}
    fields.pop(values.removeprefix(struct), None)
    return {n: a for n, a in arrays.items() if "." not in n or n == values} | fields


def _sides(
    path: Path, arrays: Arrays, named: list[str], shape: tuple[int, ...]
) -> dict[str, dict[str, Any]]:
    n_samples, n_units = shape
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
    names = {"unit": sides["unit"].pop("unit").astype(str)} if "unit" in sides["unit"] else {}
    sides["unit"] = {**names, **apart(sides["unit"], (), "array")}
    return sides


def plain(table: Any) -> dict[str, Any]:
    """Return the columns of a table as arrays."""
    return {} if table is None else {str(n): np.asarray(c) for n, c in table.items()}
