"""Read a pickle that may hold arrays, dicts, lists and numbers, and nothing that runs code."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

from nissl.errors import NisslError, first_line

__all__ = ["load_arrays"]

# What a pickled array is made from; numpy moved these in version 2.
ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


def load_arrays(content: bytes) -> Any:
    """Load a pickle of numpy arrays.

    Parameters
    ----------
    content : bytes
        The pickle; one of Python 2 is read too.

    Returns
    -------
    object
        Arrays in dicts, lists and tuples.

    Raises
    ------
    NisslError
        It names anything else, which might run code, or is damaged.

    Examples
    --------
    >>> import numpy as np
    >>> load_arrays(pickle.dumps({"w": np.arange(3)}))["w"].tolist()
    [0, 1, 2]
    """
    try:
        _require_size(content)
        return _Arrays(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # what a damaged pickle calls raises anything
        raise NisslError(
            f"the pickle cannot be read: {first_line(error)}", do="do not use this file"
        ) from error


def _require_size(content: bytes) -> None:
    """Refuse a pickle that states more than it holds, before memory is taken for it."""
    for operation, argument, _ in pickletools.genops(content):
        if "PUT" in operation.name and argument is not None and argument > len(content):
            raise pickle.UnpicklingError(f"it numbers an object {argument:,}")


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not an array")
        if name == "_reconstruct":
            from numpy._core.multiarray import _reconstruct

            return _reconstruct
        return super().find_class(module, name)
