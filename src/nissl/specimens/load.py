"""Open a specimen by its name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from nissl.specimens.fetching import fetch
from nissl.specimens.registry import specimen

__all__ = ["load"]


def load(name: str, *, progress: bool = True) -> Any:
    """Open a specimen, fetching and converting it where that has not been done.

    Parameters
    ----------
    name : str
        A specimen's name.
    progress : bool
        Show how much has arrived.

    Returns
    -------
    Path, VisionModel, DataFrame, Images, Recording or Module
        By kind: a language model is a folder that transformers opens; a vision model is a
        `VisionModel`; a text is a DataFrame with a column ``text`` and one for each label; images
        are `Images`; a recording is a Recording; anything else is what its loader says.

    Raises
    ------
    UnknownName
        There is no such specimen.
    NisslError
        It cannot be fetched; see `nissl.specimens.fetch`.

    Examples
    --------
    >>> load("reader").columns.tolist()  # doctest: +SKIP
    ['text', 'title', 'language', 'kind']
    """
    module, function = specimen(name).loader.split(":")
    fetch(name, progress=progress)
    return getattr(import_module(module), function)()
