"""Weights of a TensorFlow.js model: a ``model.json`` that lists them, and shards that hold them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.specimens.recordings.source import read_errors

__all__ = ["read_tfjs"]


def read_tfjs(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read the weights of a TensorFlow.js model.

    Parameters
    ----------
    folder : Path
        Holds ``model.json`` and the shards it names.

    Returns
    -------
    dict of str to array
        Weights by name, of float32 or int32.

    Raises
    ------
    NisslError
        The list is none, or the shards are shorter than it says, or quantised.

    Examples
    --------
    >>> import tempfile
    >>> listed = [{"paths": ["a.bin"], "weights": [{"name": "w", "shape": [2], "dtype": "int32"}]}]
    >>> with tempfile.TemporaryDirectory() as at:
    ...     _ = Path(at, "model.json").write_text(json.dumps({"weightsManifest": listed}))
    ...     _ = Path(at, "a.bin").write_bytes(np.array([1, 2], "<i4").tobytes())
    ...     read_tfjs(Path(at))["w"].tolist()
    [1, 2]
    """
    with read_errors(folder / "model.json"):
        return _weights(folder)


def _weights(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    found: dict[str, np.ndarray[Any, Any]] = {}
    for group in model["weightsManifest"]:
        # Shards lie beside their list: a path that leads elsewhere is cut to its name.
        content = b"".join((folder / Path(p).name).read_bytes() for p in group["paths"])
        place = 0
        for weight in group["weights"]:
            if "quantization" in weight:
                raise NisslError("the weights are quantised", where=f"{folder}: {weight['name']}")
            count = math.prod(weight["shape"])
            dtype = {"float32": "<f4", "int32": "<i4"}[weight["dtype"]]
            if count < 0 or place + 4 * count > len(content):
                raise NisslError(
                    f"the shards end before {weight['name']}",
                    where=str(folder),
                    do="remove the specimen's folder from the cache, and fetch it again",
                )
            values = np.frombuffer(content, dtype, count, place)
            found[weight["name"]] = values.reshape(weight["shape"])
            place += 4 * count
    return found
