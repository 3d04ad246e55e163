"""MATLAB 7.3 files: HDF5, every array the other way round, what lies in cells by references."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nissl.recording.free_memory import require_memory
from nissl.recording.readers._files import damaged, library
from nissl.recording.readers._intervals import require_stored

__all__ = ["CLASSES", "dense", "read_hdf5"]

Array = np.ndarray[Any, Any]
#: Classes that are read; any other is an object, which MATLAB alone understands.
CLASSES = {"cell", "struct", "char", "logical", "sparse", "single", "double"}
CLASSES |= {f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)}


def read_hdf5(
    path: Path, is_wanted: Callable[..., bool], others: dict[str, str]
) -> Iterator[tuple[str, Any]]:
    """Yield the variables that are wanted, and say what the others are.

    Parameters
    ----------
    path : Path
        The file.
    is_wanted : callable
        Of the name, the class and the shape.
    others : dict
        Gets what the others are, by name.

    Yields
    ------
    tuple of str and array or dict
        Numbers, words, objects (cells); a struct as a dict of its fields; None of what is not read.
    """
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
            elif is_wanted(name, kind, shape):
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
        are_references = self.h5py.check_ref_dtype(item.dtype) is self.h5py.Reference
        if item.dtype.kind == "O" and not are_references:
            return None
        data = self._all(item)
        if item.attrs.get("MATLAB_empty"):
            return np.empty(0, dtype={"char": str, "cell": object}.get(kind, np.float64))
        if are_references:
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
        return dense(self.path, csc_array((data, rows, starts.astype(np.int64)), shape=shape))


def dense(path: Path, matrix: Any) -> Array:
    """Return a sparse matrix as another, if its places lie within it and it fits into memory."""
    matrix.check_format(full_check=True)  # places beyond the edge would be written to
    n_bytes = math.prod(matrix.shape) * 8
    require_memory(n_bytes, "a sparse matrix", where=str(path), do="save a part of it")
    return np.asarray(matrix.toarray())
