"""MATLAB files of version 5, 7 and 7.3: tables of numbers, labels beside them, and spike times."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nissl.recording.labels import apart
from nissl.recording.readers._mat5 import load_variable, variables
from nissl.recording.readers._mat73 import CLASSES, dense, read_hdf5
from nissl.recording.recording import Recording
from nissl.recording.spikes import bin_spikes

__all__ = ["bin_trains", "is_hdf5", "load_matlab"]

Array = np.ndarray[Any, Any]
#: What arrays are called that are no numbers.
KINDS = {"O": "cell", "V": "struct array", "U": "char"}


def load_matlab(
    path: Path, values: str | None
) -> tuple[dict[str, Array], dict[str, list[Array]], dict[str, str]]:
    """Return what a MATLAB file holds, by name; fields of structs are called ``struct.field``.

    Parameters
    ----------
    path : Path
        The file. Nothing in it is run.
    values : str, optional
        What is wanted: beside it only vectors and words are loaded.

    Returns
    -------
    arrays : dict of str to array
        Matrices as MATLAB shows them; vectors and words, also of cells, of one dimension.
    trains : dict of str to list of array
        Cells (and fields of an array of structs) of which each element is a vector.
    others : dict of str to str
        What is neither, and what it is: scalars, objects, what was not wanted.

    Raises
    ------
    NisslError
        The file is damaged, or does not fit into memory.
    """
    arrays: dict[str, Array] = {}
    trains: dict[str, list[Array]] = {}
    others: dict[str, str] = {}
    read = read_hdf5 if is_hdf5(path) else _read_5
    is_wanted = partial(_is_wanted, values.partition(".")[0] if values else None)
    for name, value in read(path, is_wanted, others):
        for field, given in _fields(name, value):
            content = _simplified(given, keep=field == values) if given.dtype == object else given
            if isinstance(content, list):
                trains[field] = content
            elif content.dtype.kind in "fiubU" and (content.size > 1 or field == values):
                vector = content.dtype.kind == "U" or max(content.shape) == content.size
                arrays[field] = content.ravel() if vector and field != values else content
            else:
                others[field] = f"{KINDS.get(given.dtype.kind, given.dtype)} {given.shape}"
    return arrays, trains, others


def bin_trains(
    path: Path, name: str, trains: Sequence[Array], columns: Mapping[str, Any], bin: float
) -> Recording:
    """Count the spikes of a cell of spike times, in seconds, one vector a unit.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The cell, by which units are addressed: ``spikes[0]``.
    trains : sequence of array
        The times of each unit.
    columns : mapping
        Unit coordinates, among them perhaps ``unit``.
    bin : float
        Width of a bin, in seconds.

    Returns
    -------
    Recording, shape (n_bins, n_units)
        From the first spike to the last.
    """
    rows = np.arange(len(trains))
    names = columns.get("unit", [f"{name}[{i}]" for i in rows])
    further = {n: c for n, c in columns.items() if n != "unit"}
    further = apart(further, ("index", "time", "interval", "time_in_interval"), "unit")
    rec = bin_spikes(
        {"time": np.concatenate(trains), "unit": np.repeat(rows, [len(t) for t in trains])},
        bin=bin,
        units={"unit": rows, "index": rows, **further},
    )
    return rec.assign_coords(unit=np.asarray(names).astype(str)).assign_attrs(source=path.name)


def is_hdf5(path: Path) -> bool:
    """Tell whether a file is of version 7.3: HDF5, behind 512 bytes of MATLAB's own."""
    with path.open("rb") as file:
        head = file.read(520)
    return b"\x89HDF\r\n\x1a\n" in (head[:8], head[512:])


def _fields(name: str, value: Any) -> Iterator[tuple[str, Array]]:
    if isinstance(value, dict):
        for field, content in value.items():
            yield from _fields(f"{name}.{field}", content)
    elif isinstance(value, np.ndarray):
        yield name, value


def _simplified(cells: Array, keep: bool) -> Any:
    """Return a cell as words, as numbers (unless it is to be kept), or as vectors; else nothing."""
    each = [c for c in cells.ravel() if isinstance(c, np.ndarray) and not c.dtype.names]
    if len(each) != cells.size or cells.size == 0 or max(cells.shape) < cells.size:
        return np.empty(0)
    words = [c.dtype.kind == "U" and c.size == 1 for c in each]
    if any(words) and all(w or c.size == 0 for w, c in zip(words, each, strict=True)):
        return np.array([str(c.item()) if c.size else "" for c in each])
    if any(c.dtype.kind not in "fiu" or c.size > max(c.shape, default=1) for c in each):
        return np.empty(0)
    if all(c.size == 1 for c in each) and not keep:
        return np.array([c.item() for c in each])
    return [c.ravel().astype(np.float64) for c in each]


def _is_wanted(root: str | None, name: str, kind: str, shape: Sequence[int]) -> bool:
    if root is None or name == root:
        return True
    return kind == "char" or (kind != "struct" and max(shape, default=1) == math.prod(shape))


def _read_5(
    path: Path, is_wanted: Callable[..., bool], others: dict[str, str]
) -> Iterator[tuple[str, Any]]:
    for variable in variables(path):
        if not variable.name:
            continue  # what objects are made of
        if variable.kind not in CLASSES:
            others[variable.name] = f"object of class {variable.kind}"
        elif is_wanted(variable.name, variable.kind, variable.shape):
            yield variable.name, _from_scipy(path, load_variable(path, variable))
        else:
            others[variable.name] = f"{variable.kind} {variable.shape}"


def _from_scipy(path: Path, value: Any) -> Any:
    """Return structs as dicts, sparse matrices as others; objects within them are left out."""
    from scipy.sparse import issparse

    if issparse(value):
        return dense(path, value)
    if type(value) is not np.ndarray:
        return None
    if value.dtype.names:
        one = value.size == 1
        return {
            str(n): _from_scipy(path, value[n].item() if one else value[n])
            for n in value.dtype.names
        }
    return value
