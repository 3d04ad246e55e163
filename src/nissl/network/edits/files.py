"""Edits on disk: what they do as JSON, their tensors as safetensors beside it.

Loading makes objects of the classes listed here and of no others, and runs no code of the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nissl.errors import NisslError
from nissl.network.edits.edit import Change
from nissl.network.edits.gate import ActivityAbove, Gate
from nissl.network.edits.learned import Learned, LearnedEdit, LowRank, SteeringVector, UnitScale
from nissl.network.edits.patch import Patch
from nissl.network.edits.rules import (
    Added,
    Bounded,
    Mean,
    Partly,
    Projected,
    Resample,
    Scaled,
    SetTo,
)
from nissl.network.edits.selection import Places, Units
from nissl.network.edits.sparse import Above, Largest
from nissl.network.edits.values import PerUnit
from nissl.network.edits.weight_edit import WeightEdit

__all__ = ["load_edit", "save_edit"]

FORMAT, VERSION = "nissl.edit", 1
EDITS = (Change, Patch, Gate, LearnedEdit, WeightEdit)
MODULES = (UnitScale, SteeringVector, LowRank)
RULES: tuple[type, ...] = (SetTo, Bounded, Scaled, Added, Mean, Resample, Projected)
RULES += (Above, Largest, Learned, Partly)
PARTS: tuple[type, ...] = (Units, Places, PerUnit, ActivityAbove, *RULES)
ATTRIBUTES: dict[type, tuple[str, ...]] = {
    Change: ("units", "places", "rule", "name"),
    Patch: ("values", "units", "places", "source", "directions"),
    Gate: ("edits", "read", "when", "over"),
    LearnedEdit: ("change", "units", "places"),
    Places: ("positions", "items"),
}


def save_edit(edit: Any, path: str | os.PathLike[str]) -> None:
    """Save an edit, or a list of them.

    Parameters
    ----------
    edit : Edit, LearnedEdit, WeightEdit, or list of them
        What the functions of `nissl.network` make. Functions (the condition of a gate, positions,
        the change of a weight) cannot be saved; `ActivityAbove` and tensors can.
    path : path
        Ends in ``.json``. Tensors go beside it, into the file of this name that ends in
        ``.safetensors``; both are needed.

    Raises
    ------
    NisslError
        A part cannot be saved, or the path does not end in ``.json``.

    Examples
    --------
    >>> import tempfile
    >>> from nissl.network import clamp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_edit(clamp("blocks.3.mlp.neurons[812]", to=10.0), f"{folder}/edit.json")
    ...     load_edit(f"{folder}/edit.json")
    clamp(blocks.3.mlp.neurons)
    """
    from safetensors.torch import save

    path = _checked(path)
    tensors: dict[str, Tensor] = {}
    packed = _packed(edit, tensors, "edit")
    whole = {"format": FORMAT, "version": VERSION, "tensors": None, "edit": packed}
    path.parent.mkdir(parents=True, exist_ok=True)
    if tensors:
        data = save(tensors)
        whole["tensors"] = hashlib.sha256(data).hexdigest()
        _write(path.with_suffix(".safetensors"), data)
    _write(path, json.dumps(whole, indent=1, allow_nan=False).encode())


def load_edit(path: str | os.PathLike[str]) -> Any:
    """Load what `save_edit` saved.

    Parameters
    ----------
    path : path
        Ends in ``.json``.

    Returns
    -------
    Edit, LearnedEdit, WeightEdit, or list of them
        It does what the saved one did.

    Raises
    ------
    NisslError
        A file is missing, damaged, of another version, or not of an edit.
    """
    path = _checked(path)
    try:
        whole = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NisslError("there is no such file", where=str(path)) from None
    except (OSError, ValueError) as error:
        raise NisslError(f"the file is not JSON: {error}", where=str(path)) from None
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise NisslError(
            "the file holds no edit", where=str(path), do="give one that save_edit wrote"
        )
    if whole.get("version") != VERSION:
        raise NisslError(
            f"the edit is of version {whole.get('version')}, this reads {VERSION}",
            where=str(path),
            do="use the version of nissl that saved it",
        )
    tensors = _tensors(path.with_suffix(".safetensors"), whole.get("tensors"))
    try:
        edit = _unpacked(whole.get("edit"), tensors)
        for one in edit if isinstance(edit, list) else [edit]:
            if not isinstance(one, EDITS):
                raise TypeError(f"{type(one).__name__} is no edit")
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, RuntimeError) as error:
        raise NisslError(
            f"the edit is damaged: {type(error).__name__}: {error}",
            where=str(path),
            do="save it again",
        ) from None
    return edit


def _checked(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix != ".json":
        raise NisslError("an edit is kept in a file that ends in .json", where=str(path))
    return path


def _write(path: Path, data: bytes) -> None:
    """Write a file that is whole or as it was."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _tensors(path: Path, hashed: str | None) -> dict[str, Tensor]:
    from safetensors.torch import load

    if hashed is None:
        return {}
    try:
        data = path.read_bytes()
    except OSError:
        raise NisslError(
            "the tensors of the edit are missing", where=str(path), do="keep both files together"
        ) from None
    if hashlib.sha256(data).hexdigest() != hashed:
        raise NisslError(
            "the tensors are damaged, or those of another edit",
            where=str(path),
            do="keep both files together, or save the edit again",
        )
    found: dict[str, Tensor] = load(data)
    return found


def _packed(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
    """Return what JSON holds of a value; its tensors are added to those of before."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.ndarray) and value.dtype.kind not in "biuf":
        value = value.tolist()
    if isinstance(value, (Tensor, np.ndarray)):
        name = str(len(tensors))
        tensors[name] = torch.as_tensor(value).detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, (list, tuple, range)):
        return [_packed(x, tensors, f"{where}[{i}]") for i, x in enumerate(value)]
    parts = _parts(value)
    if parts is None:
        raise NisslError(
            f"a {type(value).__name__} cannot be saved",
            where=where,
            do="functions and classes of your own cannot: give numbers, tensors or ActivityAbove",
        )
    kind, found = parts
    return {kind: {str(k): _packed(x, tensors, f"{where}.{k}") for k, x in found.items()}}


def _parts(value: Any) -> tuple[str, Mapping[Any, Any]] | None:
    """Return the name of a value's kind and what it is made of, or None."""
    kind: type = type(value)
    if kind is Units:
        named = value.named()
        sites = None if named is not None else list(value.names())
        given = {"units": named, "sites": sites, "indices": value.indices, "heads": value.heads}
        return "Units", given
    if kind in ATTRIBUTES:
        return kind.__name__, {name: getattr(value, name) for name in ATTRIBUTES[kind]}
    if kind in MODULES:
        return kind.__name__, dict(value.state_dict())
    if is_dataclass(value) and kind in (*PARTS, WeightEdit):
        # What is looked up in a network is looked up again.
        names = [f.name for f in fields(value) if f.default_factory is MISSING]
        return kind.__name__, {name: getattr(value, name) for name in names}
    if isinstance(value, Mapping):
        return "mapping", value
    if hasattr(value, "dims") and {"sample", "unit"} <= set(value.dims):
        coords = [n for n in ("unit", "document", "position", "row", "column") if n in value.coords]
        at = {name: np.asarray(value[name].values) for name in coords}
        return "recording", {"values": value.values, **at}
    return None


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(x, tensors) for x in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ValueError(f"{len(value)} kinds of one value: {', '.join(value)}")
    ((kind, given),) = value.items()
    if kind == "tensor":
        return tensors[given]
    if kind == "float":
        return float(given)
    if kind == "slice":
        return slice(*given)
    if kind != "mapping" and kind not in MAKERS:
        raise ValueError(f"no part is called '{kind}'")
    parts = {name: _unpacked(x, tensors) for name, x in given.items()}
    return parts if kind == "mapping" else MAKERS[kind](**parts)


def _recording(values: Tensor, **coords: Any) -> Any:
    import xarray as xr

    at = {n: ("unit" if n == "unit" else "sample", np.asarray(x)) for n, x in coords.items()}
    return xr.DataArray(values.numpy(), dims=("sample", "unit"), coords=at)


def _learned(change: nn.Module, units: Units, places: Places) -> LearnedEdit:
    return LearnedEdit(
        change,
        units.units,
        sites=units.sites,
        indices=units.indices,
        heads=units.heads,
        positions=places.positions,
        items=places.items,
    )


def _module(made: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    # In the type that was saved, which `load_state_dict` alone would not keep.
    made.load_state_dict(state, assign=True)
    return made.requires_grad_()


MAKERS: dict[str, Callable[..., Any]] = {
    **{kind.__name__: kind for kind in (*PARTS, Change, Patch, Gate, WeightEdit)},
    "LearnedEdit": _learned,
    "recording": _recording,
    "UnitScale": lambda **s: _module(UnitScale(len(s["factors"])), s),
    "SteeringVector": lambda **s: _module(SteeringVector(len(s["vector"])), s),
    "LowRank": lambda **s: _module(LowRank(s["read"].shape[1], len(s["read"])), s),
}
