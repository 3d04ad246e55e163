"""Arrays of npy and npz files, their sizes compared first, and what pynapple keeps in them."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.free_memory import require_memory
from nissl.recording.readers._files import damaged
from nissl.recording.recording import Recording, as_recording
from nissl.recording.spikes import bin_spikes

__all__ = ["from_pynapple", "load_arrays"]

Arrays = dict[str, np.ndarray[Any, Any]]


def load_arrays(path: Path) -> tuple[Arrays, dict[str, str]]:
    """Return the arrays of an npy or npz file by name, and the names of pickled ones.

    Parameters
    ----------
    path : Path
        The file. What else lies in an npz (a readme) is left out.

    Returns
    -------
    arrays : dict of str to array
        Of an npy, one that is called "values".
    pickled : dict of str to str
        Arrays of objects, which are never loaded (they could run code), and that word.

    Raises
    ------
    NisslError
        A file states more than it holds, or more than memory holds.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            _require_size(path, file, path.stat().st_size)
        return {"values": _require_text(path, path.name, np.load(path, allow_pickle=False))}, {}
    arrays: Arrays = {}
    pickled: dict[str, str] = {}
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
        needed = sum(m.file_size for m in members)
        require_memory(needed, "what the file holds", where=str(path), do="split it")
        for member in members:
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as file:
                dtype = _require_size(path, file, member.file_size)
            if dtype.hasobject:
                pickled[name] = "pickled"
                continue
            with archive.open(member) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
                arrays[name] = _require_text(path, name, array)
                if file.read(1):  # the checksum is compared at the end only
                    raise damaged(path, "npz", f"'{name}' is longer than it states")
    return arrays, pickled


def _require_text(path: Path, name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Refuse an array of words that hold numbers of no character: Python ends at them."""
    if array.dtype.kind == "U" and array.size:
        characters = np.frombuffer(array.tobytes(), array.dtype.byteorder + "u4")
        if characters.max(initial=0) > 0x10FFFF:
            raise damaged(path, "npz", f"'{name}' holds what is no text")
    return array


def _require_size(path: Path, file: IO[bytes], there: int) -> np.dtype[Any]:
    """Refuse an array that states more than there is; return its type."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    stated = file.tell() + math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and there < stated:
        raise damaged(path, "npy", f"it states {stated:,} bytes and holds {there:,}")
    if there > 0 and not dtype.hasobject:
        require_memory(stated, "the array", where=str(path), do="split it")
    return np.dtype(dtype)


def from_pynapple(
    path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], bin: float, quantity: str
) -> Recording:
    """Return what pynapple saved as a Recording: spikes are binned, series kept.

    Parameters
    ----------
    path : Path
        The file.
    arrays : mapping of str to array
        What lies in it: ``t`` in seconds, ``d``, ``index``, ``start``, ``end``, ``type``.
    bin : float
        Of spikes (Ts, TsGroup), in seconds; bins lie in the time support.
    quantity : str
        Of series (Tsd, TsdFrame).

    Returns
    -------
    Recording, shape (n_samples, n_units)
        Units are addressed by the columns' names, or the index of the group.

    Raises
    ------
    NisslError
        It is neither spikes nor a series.
    """
    kind = str(arrays["type"][0])
    source: dict[str, str | int | float | bool] = {"source": path.name}
    support = np.stack([arrays["start"], arrays["end"]], axis=1) if "start" in arrays else None
    if kind in ("Ts", "TsGroup") and "t" in arrays:
        index = arrays.get("index", np.zeros(len(arrays["t"]), dtype=np.int64))
        units = arrays["keys"].tolist() if "keys" in arrays else None
        rec = bin_spikes(
            {"time": arrays["t"], "unit": index}, bin=bin, intervals=support, units=units
        )
        warnings.warn(
            f"{path}: what pynapple knows of the units is pickled, and not read", stacklevel=5
        )
        return rec.assign_attrs(source)
    if kind in ("Tsd", "TsdFrame") and {"t", "d"} <= arrays.keys():
        values = arrays["d"].reshape(len(arrays["t"]), -1)
        names = arrays.get("columns", np.arange(values.shape[1])).astype(str)
        return as_recording(
            values,
            samples={"time": arrays["t"]},
            units={"unit": names},
            quantity=quantity,
            attrs=source,
        )
    raise NisslError(
        f"the file holds a {kind} of pynapple, not spikes or a series of units",
        where=str(path),
        do="save a TsGroup, Ts, TsdFrame or Tsd; give an IntervalSet as intervals=",
    )
