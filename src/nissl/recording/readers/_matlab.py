"""MATLAB files of version 5, 7 and 7.3: tables of numbers, labels beside them, and spike times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nissl.recording.free_memory import require_memory
from nissl.recording.labels import apart
from nissl.recording.readers._files import damaged, library
from nissl.recording.readers._intervals import require_stored
from nissl.recording.readers._mat5 import load_variable, variables
from nissl.recording.recording import Recording
from nissl.recording.spikes import bin_spikes

__all__ = ["bin_trains", "is_hdf5", "load_matlab"]

Array = np.ndarray[Any, Any]
#: Classes that are read; any other is an object, which MATLAB alone understands.
CLASSES = {"cell", "struct", "char", "logical", "sparse", "single", "double"}
CLASSES |= {f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)}
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
    read = _read_hdf5 if is_hdf5(path) else _read_5
    root = values.partition(".")[0] if values else None
    for name, value in read(path, root, others):
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


def _is_wanted(name: str, kind: str, shape: Sequence[int], root: str | None) -> bool:
    if root is None or name == root:
        return True
    return kind == "char" or (kind != "struct" and max(shape, default=1) == math.prod(shape))


def _read_5(path: Path, root: str | None, others: dict[str, str]) -> Iterator[tuple[str, Any]]:
    for variable in variables(path):
        if not variable.name:
            continue  # what objects are made of
        if variable.kind not in CLASSES:
            others[variable.name] = f"object of class {variable.kind}"
        elif _is_wanted(variable.name, variable.kind, variable.shape, root):
            yield variable.name, _from_scipy(path, load_variable(path, variable))
        else:
            others[variable.name] = f"{variable.kind} {variable.shape}"


def _from_scipy(path: Path, value: Any) -> Any:
    """Return structs as dicts, sparse matrices as others; objects within them are left out."""
    from scipy.sparse import issparse

    if issparse(value):
        return _dense(path, value)
    if type(value) is not np.ndarray:
        return None
    if value.dtype.names:
        one = value.size == 1
        return {
            str(n): _from_scipy(path, value[n].item() if one else value[n])
            for n in value.dtype.names
        }
    return value


def _dense(path: Path, matrix: Any) -> Array:
    matrix.check_format(full_check=True)  # places beyond the edge would be written to
    n_bytes = math.prod(matrix.shape) * 8
    require_memory(n_bytes, "a sparse matrix", where=str(path), do="save a part of it")
    return np.asarray(matrix.toarray())


def _read_hdf5(path: Path, root: str | None, others: dict[str, str]) -> Iterator[tuple[str, Any]]:
    h5py = library("h5py", reads="MATLAB 7.3")
    with h5py.File(path, "r") as file:
        reader = _Hdf5(h5py, path)
        for name in file:
            if name.startswith("#"):
                continue  # what references lead to, and what objects are made of
            item = reader.member(file, name)
            kind, shape = reader.kind(item), getattr(item, "shape", ())[::-1]
            if kind not in CLASSES:
                others[name] = f"object of class {kind}"
            elif _is_wanted(name, kind, shape, root):
                yield name, reader.value(item)
            else:
                others[name] = f"{kind} {shape}"


class _Hdf5:
    """Reads arrays of version 7.3, each once, so that none can lie in itself."""

    def __init__(self, h5py: Any, path: Path) -> None:
        self.h5py, self.path = h5py, path
        self.known: dict[Any, Any] = {}
        self.n_bytes = 0

    def member(self, group: Any, name: str) -> Any:
        """Return a member of a group, which may not be a link to elsewhere."""
        if not isinstance(group.get(name, getlink=True), self.h5py.HardLink):
            raise damaged(self.path, "MATLAB", f"'{name}' is a link")
        return group[name]

    def kind(self, item: Any) -> str:
        """Return the class of MATLAB."""
        given = item.attrs.get("MATLAB_class", b"")
        kind = given.decode("latin-1") if isinstance(given, bytes) else str(given)
        if isinstance(item, self.h5py.Group):
            return kind or "struct"
        # Fields of an array of structs are references, without a class.
        return kind or ("cell" if self.h5py.check_ref_dtype(item.dtype) else "double")

    def value(self, item: Any) -> Any:
        """Return an array, a dict of a struct, or None of what is not read."""
        at = self.h5py.h5o.get_info(item.id).addr
        if at in self.known:
            return None if isinstance(item, self.h5py.Group) else self.known[at]
        self.known[at] = None
        if not isinstance(item, self.h5py.Datatype) and self.kind(item) in CLASSES:
            self.known[at] = self._read(item, self.kind(item))
        return self.known[at]

    def _read(self, item: Any, kind: str) -> Any:
        if isinstance(item, self.h5py.Group):
            if "MATLAB_sparse" in item.attrs:
                return self._sparse(item)
            return {name: self.value(self.member(item, name)) for name in item}
        data = self._all(item)
        if item.attrs.get("MATLAB_empty"):
            return np.empty(0, dtype={"char": str, "cell": object}.get(kind, np.float64))
        if self.h5py.check_ref_dtype(item.dtype) is self.h5py.Reference:
            cells = np.empty(data.shape, dtype=object)
            for place, reference in np.ndenumerate(data):
                cells[place] = self.value(item.file[reference])
            return cells
        if kind == "char":
            rows = data.reshape(-1, data.shape[-1]).astype("<u2")
            return np.array([row.tobytes().decode("utf-16-le", "replace") for row in rows])
        return data.astype(bool) if kind == "logical" else data

    def _all(self, item: Any) -> Array:
        """Return a dataset as MATLAB shows it, if it lies in this file and fits."""
        if item.external or item.is_virtual:
            raise damaged(self.path, "MATLAB", f"'{item.name}' lies in another file")
        require_stored(item)
        self.n_bytes += math.prod(item.shape) * item.dtype.itemsize
        require_memory(
            2 * self.n_bytes,
            "what is read of the file",
            where=str(self.path),
            do="name what is wanted with values=",
        )
        return np.asarray(item[()]).T

    def _sparse(self, group: Any) -> Array:
        from scipy.sparse import csc_array

        starts = self._all(self.member(group, "jc"))
        data, rows = (
            self._all(self.member(group, n)) if n in group else np.empty(0, np.int64)
            for n in ("data", "ir")
        )
        shape = (int(group.attrs["MATLAB_sparse"]), len(starts) - 1)
        return _dense(self.path, csc_array((data, rows, starts.astype(np.int64)), shape=shape))
