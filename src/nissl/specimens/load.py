"""Open a specimen by its name."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from nissl.errors import NisslError, UnknownName, first_line
from nissl.specimens.catalogue import specimen
from nissl.specimens.fetch import fetch

__all__ = ["load"]


def load(name: str, *, progress: bool = True, **options: Any) -> Any:
    """Open a specimen, fetching and converting it where that has not been done.

    Parameters
    ----------
    name : str
        A specimen's name.
    progress : bool
        Show how much has arrived.
    **options
        Passed to the specimen's loader, such as ``bin=0.05`` for head-direction.

    Returns
    -------
    Path, VisionModel, PlantedCircuit, PlantedFeatures, DataFrame, Images, Recording or Module
        By kind: a language model is a folder that transformers opens; a vision model is a
        `VisionModel`; a circuit is a `PlantedCircuit`; features are `PlantedFeatures`; a text is a
        DataFrame with a column ``text`` and one for each label; images are `Images`; a recording is
        a Recording; anything else is what its loader says.

    Raises
    ------
    UnknownName
        There is no such specimen, or its loader has no such option.
    NisslError
        It cannot be fetched; see `nissl.specimens.fetch`.

    Examples
    --------
    >>> load("reader").columns.tolist()  # doctest: +SKIP
    ['text', 'title', 'language', 'kind']
    """
    entry = specimen(name)
    module, function = entry.loader.split(":")
    loader = getattr(import_module(module), function)
    known = list(inspect.signature(loader).parameters)
    for option in options:
        if option not in known:
            takes = ", ".join(known) if known else "no options"
            raise UnknownName("option", option, known, do=f"{name} takes {takes}")
    if entry.sources:
        fetch(name, progress=progress)
    try:
        return loader(**options)
    except (NisslError, ImportError, MemoryError):
        raise
    except Exception as error:  # whatever a changed file makes of its reader
        raise NisslError(
            f"the specimen cannot be read: {type(error).__name__}: {first_line(error)}",
            where=str(entry.home),
            do="look at the options; or remove this folder, and it is fetched again",
        ) from error
