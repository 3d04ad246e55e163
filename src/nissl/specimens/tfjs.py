"""Weights of a TensorFlow.js model: a ``model.json`` that lists them, and shards that hold them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError

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
        The shards are shorter than the list says, or quantised.

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
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    found: dict[str, np.ndarray[Any, Any]] = {}
    for group in model["weightsManifest"]:
        content = b"".join((folder / path).read_bytes() for path in group["paths"])
        place = 0
        for weight in group["weights"]:
            if "quantization" in weight:
                raise NisslError("the weights are quantised", where=f"{folder}: {weight['name']}")
            count = int(np.prod(weight["shape"], dtype=np.int64))
            dtype = {"float32": "<f4", "int32": "<i4"}[weight["dtype"]]
            if place + 4 * count > len(content):
                raise NisslError(
                    f"the shards end before {weight['name']}",
                    where=str(folder),
                    do="remove the specimen's folder from the cache, and fetch it again",
                )
            values = np.frombuffer(content, dtype, count, place)
            found[weight["name"]] = values.reshape(weight["shape"])
            place += 4 * count
    return found
