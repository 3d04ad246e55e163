"""Any file that a reader knows, chosen by its suffix."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nissl.errors import NisslError, UnknownName
from nissl.recording.readers._files import existing
from nissl.recording.recording import Recording

__all__ = ["SUFFIXES", "read_file"]

#: Suffix of a file, and the reader (its module and function) that takes it.
SUFFIXES = {
    ".nwb": ("nwb", "read_nwb"),
    ".nii": ("nifti", "read_nifti"),
    ".nii.gz": ("nifti", "read_nifti"),
    ".gii": ("gifti", "read_gifti"),
    ".edf": ("eeg", "read_eeg"),
    ".bdf": ("eeg", "read_eeg"),
    ".gdf": ("eeg", "read_eeg"),
    ".fif": ("eeg", "read_eeg"),
    ".fif.gz": ("eeg", "read_eeg"),
    ".vhdr": ("eeg", "read_eeg"),
    ".set": ("eeg", "read_eeg"),
    ".csv": ("table", "read_table"),
    ".csv.gz": ("table", "read_table"),
    ".tsv": ("table", "read_table"),
    ".tsv.gz": ("table", "read_table"),
    ".parquet": ("table", "read_table"),
    ".npz": ("table", "read_table"),
    ".npy": ("table", "read_table"),
    ".mat": ("table", "read_table"),
}


def read_file(path: Path | str, **options: Any) -> Recording:
    r"""Read a file of neural activity into a Recording, by its suffix.

    Parameters
    ----------
    path : Path or str
        NWB (``.nwb``), NIfTI (``.nii``, ``.nii.gz``), GIFTI (``.gii``), EEG and MEG (``.edf``,
        ``.bdf``, ``.gdf``, ``.fif``, ``.vhdr``, ``.set``), tables (``.csv``, ``.tsv``,
        ``.parquet``, ``.npz``, ``.npy``, ``.mat``).
    **options
        Passed to the reader: `read_nwb`, `read_nifti`, `read_gifti`, `read_eeg` or `read_table`.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        What the reader returns.

    Raises
    ------
    NisslError
        The file is missing, damaged or of an unknown kind, or its library is not installed.
    UnknownName
        The reader has no such option.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "cells.csv")
    ...     _ = path.write_text("a,b\n1,2\n")
    ...     read_file(path).shape
    (1, 2)
    """
    path = existing(path)
    reader = _reader(path)
    known = [n for n, p in inspect.signature(reader).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise UnknownName(
                "option", name, known, do=f"{reader.__name__} takes {', '.join(known)}"
            )
    return reader(path, **options)


def _reader(path: Path) -> Callable[..., Recording]:
    name = path.name.lower()
    # The longest suffix first, so that .nii.gz is not taken for .gz.
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            module, function = SUFFIXES[suffix]
            found = getattr(importlib.import_module(f"nissl.recording.readers.{module}"), function)
            return found  # type: ignore[no-any-return]
    raise NisslError(
        f"no reader knows files that end in '{path.suffix or path.name}'",
        where=str(path),
        do=f"give a file that ends in one of {', '.join(SUFFIXES)}; a header is given for its data"
        " (.vhdr for .eeg, .set for .fdt)",
    )
