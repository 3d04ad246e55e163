"""Fingerprints: one short text for the whole content of a value, to tell one run from another.

Stores, checkpoints and trainings answer from what was kept only where the fingerprint of inputs,
edits and options is the same. So equal values made apart have one fingerprint, and a value whose
content cannot be read is refused, never taken as equal.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

from nissl.errors import NisslError

__all__ = ["fingerprint"]

NAMED = ("dtype", "device", "layout", "memory_format", "qscheme")  # of torch and of numpy
PLAIN = (type(None), bool, int, float, complex, str, bytes, slice, range, PurePath, type)


def fingerprint(value: Any) -> str:
    """Return a hash of the whole content of a value.

    Parameters
    ----------
    value : Any
        Plain values, arrays, tensors, tables, pictures, containers of these, functions (their code,
        defaults and what they close over), modules with their weights, and objects of any class by
        their attributes.

    Returns
    -------
    str
        Thirty-two hexadecimal digits, the same in every process of one version of Python.

    Raises
    ------
    NisslError
        The content of a value cannot be read.

    Examples
    --------
    >>> fingerprint({"to": 5.0}) == fingerprint({"to": 5.0})
    True
    >>> fingerprint({"to": 5.0}) == fingerprint({"to": -5.0})
    False
    """
    digest = hashlib.sha256()
    _add(digest, value, [])
    return digest.hexdigest()[:32]


def _add(digest: Any, value: Any, inside: list[int]) -> None:
    """Add a value; `inside` holds the objects that it lies in, so that a circle ends."""

    def say(*parts: Any) -> None:
        for part in parts:
            text = part if isinstance(part, bytes) else str(part).encode(errors="surrogatepass")
            digest.update(len(text).to_bytes(8, "little") + text)

    if isinstance(value, PLAIN):
        say(type(value).__qualname__, repr(value))
        return
    if id(value) in inside:
        say("circle", len(inside) - inside.index(id(value)))
        return
    inside = [*inside, id(value)]
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, Mapping):
        say("mapping", kind, len(value))
        for key in sorted(value, key=repr):
            _add(digest, key, inside)
            _add(digest, value[key], inside)
    elif isinstance(value, (list, tuple)):
        say("sequence", kind, len(value))
        for item in value:
            _add(digest, item, inside)
    elif isinstance(value, (set, frozenset)):
        say("set", kind, *sorted(fingerprint(item) for item in value))
    elif isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
        say("function")
        for part in _parts_of_function(value):
            _add(digest, part, inside)
    elif isinstance(value, types.CodeType):
        say("code", value.co_code, value.co_names, value.co_varnames)
        _add(digest, value.co_consts, inside)
    elif isinstance(value, types.BuiltinFunctionType):
        say("builtin", value.__module__, value.__qualname__)
        of_object = not isinstance(value.__self__, (types.ModuleType, type(None)))
        _add(digest, value.__self__ if of_object else None, inside)
    else:
        say(kind)
        for part in _content(value):
            _add(digest, part, inside)


def _parts_of_function(function: Any) -> list[Any]:
    if isinstance(function, functools.partial):
        return [function.func, function.args, function.keywords]
    if isinstance(function, types.MethodType):
        return [function.__func__, function.__self__]
    closed = [_cell(cell) for cell in function.__closure__ or ()]
    return [function.__code__, function.__defaults__, function.__kwdefaults__, closed]


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that has no value yet
        return None


def _content(value: Any) -> list[Any]:
    """Return what an object holds, as simpler values."""
    if type(value).__name__ in NAMED and not hasattr(value, "__dict__"):
        return [repr(value)]
    if hasattr(value, "detach") and hasattr(value, "dequantize"):
        return _of_tensor(value)
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):  # an array
        if value.dtype.hasobject:
            return [value.shape, value.ravel().tolist()]
        return [str(value.dtype), value.shape, value.tobytes()]
    if hasattr(value, "tobytes") and hasattr(value, "mode"):  # a picture
        return [value.mode, value.size, value.tobytes()]
    if hasattr(value, "dims") and hasattr(value, "coords"):  # a Recording
        return [value.values, {str(k): c.values for k, c in value.coords.items()}]
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a table
        return [list(value.columns), *(value[c].to_numpy() for c in value.columns)]
    if hasattr(value, "state_dict"):
        return [repr(value), dict(value.state_dict())]
    if hasattr(value, "get_state") and hasattr(value, "manual_seed"):  # a generator of torch
        return [value.get_state()]
    if is_dataclass(value):
        return [{f.name: getattr(value, f.name) for f in fields(value)}]
    slots = [s for c in type(value).__mro__ for s in getattr(c, "__slots__", ())]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    held |= getattr(value, "__dict__", {})
    return [held] if held else _as_pickled(value)


def _as_pickled(value: Any) -> list[Any]:
    """Return what pickle would keep of an object without attributes, such as a pattern of re."""
    reduce = copyreg.dispatch_table.get(type(value))
    # Of types that are built in only those are read whose pickling says what they hold.
    heap = bool(type(value).__flags__ & (1 << 9))  # Py_TPFLAGS_HEAPTYPE
    try:
        if reduce is not None or heap:
            return [reduce(value) if reduce is not None else value.__reduce_ex__(4)]
    except TypeError:
        pass
    raise NisslError(
        f"the content of a {type(value).__qualname__} cannot be read, so that runs with other "
        "content could not be told apart",
        do="give plain values, arrays or tensors, or keep nothing of the run",
    )


def _of_tensor(tensor: Any) -> list[Any]:
    import torch

    if tensor.device.type == "meta":
        raise NisslError("a tensor without memory has no content", do="load the weights first")
    about = [str(tensor.dtype), tuple(tensor.shape)]
    if tensor.is_quantized:
        scheme = str(tensor.qscheme())
        scales = (
            [tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()]
            if "channel" in scheme
            else [tensor.q_scale(), tensor.q_zero_point()]
        )
        return [*about, scheme, *scales, tensor.int_repr()]
    flat = tensor.detach().cpu().contiguous().flatten()
    # The bytes of any type, those that numpy does not know among them.
    return [*about, flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""]
