"""Results of batches of a long computation, kept on disk so that it resumes where it stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.recording import Recording
from nissl.recording.labels import is_words

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FinishedBatches", "identity_of"]


class FinishedBatches:
    """A folder of finished batches: a table and arrays for each.

    Parameters
    ----------
    folder : path, optional
        Where they are kept; nowhere if not given.
    identity : str
        What the work is of. Batches of another are removed.

    Examples
    --------
    >>> import pandas as pd
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     FinishedBatches(folder, "a").put("first", pd.DataFrame({"p": [0.5]}), maxima=np.ones(2))
    ...     table, arrays = FinishedBatches(folder, "a").get("first")
    ...     other = FinishedBatches(folder, "b").get("first")
    >>> table["p"].tolist(), arrays["maxima"].tolist(), other
    ([0.5], [1.0, 1.0], None)
    """

    def __init__(self, folder: str | Path | None = None, identity: str = "") -> None:
        self.folder = None if folder is None else Path(folder) / identity
        if self.folder is None:
            return
        if not self.folder.exists():
            shutil.rmtree(self.folder.parent, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str) -> tuple[pd.DataFrame, dict[str, NDArray[Any]]] | None:
        """Return a finished batch.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        table : DataFrame
            What was put.
        arrays : dict of arrays
            What was put; None instead of both where the batch is not finished.
        """
        import pandas as pd

        if self.folder is None or not (self.folder / f"{name}.npz").exists():
            return None
        with np.load(self.folder / f"{name}.npz") as arrays:
            return pd.read_parquet(self.folder / f"{name}.parquet"), dict(arrays)

    def put(self, name: str, table: pd.DataFrame, **arrays: NDArray[Any]) -> None:
        """Keep a finished batch.

        Parameters
        ----------
        name : str
            Its name, which can be a file's.
        table : DataFrame
            Its table.
        **arrays : array
            What else there is.
        """
        if self.folder is None:
            return
        table.to_parquet(self.folder / f"{name}.parquet")
        # The arrays come last and in one step: with them the batch is finished.
        partial = self.folder / "partial.npz"
        np.savez(partial, allow_pickle=False, **arrays)
        partial.rename(self.folder / f"{name}.npz")

    def remove(self) -> None:
        """Remove all batches, when what was made of them is in place."""
        if self.folder is not None:
            shutil.rmtree(self.folder.parent, ignore_errors=True)


def identity_of(
    rec: Recording, moments: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]
) -> str:
    """Name a piece of work by the recording it is of and the settings it was begun with.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        The recording; its coordinates are read.
    moments : mapping of arrays
        Statistics of all its values, which stand for them.
    settings : mapping
        What JSON knows.

    Returns
    -------
    str
        Sixteen hexadecimal digits.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.zeros((2, 1)), samples={"trial": [0, 1]})
    >>> other = as_recording(np.zeros((2, 1)), samples={"trial": [0, 2]})
    >>> identity_of(rec, {}, {"seed": 0}) == identity_of(other, {}, {"seed": 0})
    False
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, coord in sorted(rec.coords.items(), key=lambda item: str(item[0])):
        digest.update(f"{name} {sorted(coord.attrs.items())}".encode())
        column = np.asarray(coord.values)
        if is_words(column):
            digest.update(json.dumps(column.tolist()).encode())
        else:
            digest.update(np.ascontiguousarray(column).tobytes())
    for _, values in sorted(moments.items()):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]
