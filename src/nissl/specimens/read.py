"""Read whatever has a name or a path: a specimen, a file of activity, or a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nissl.errors import NisslError, nearest

__all__ = ["looks_like_a_path", "read"]


def read(path_or_name: str | Path, **options: Any) -> Any:
    r"""Read a recording, or open a specimen, by its path or its name.

    Parameters
    ----------
    path_or_name : str or Path
        A specimen's name, unless a file or folder of that name lies here; else a file that a
        reader knows (NWB, NIfTI, EDF, FIF, BrainVision, CSV, parquet, npz), or a store.
    **options
        Passed to whatever reads it: `nissl.specimens.load`, `nissl.recording.readers.read_file` or
        `nissl.recording.open_store`.

    Returns
    -------
    Recording, dict of Recording, or what the specimen is
        A Recording; ``{site: Recording}`` for a store whose sites differ in their samples; for a
        specimen that is no recording, what `nissl.specimens.load` returns.

    Raises
    ------
    NisslError
        It is neither, or it cannot be fetched or read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as at:
    ...     path = Path(at, "cells.csv")
    ...     _ = path.write_text("a,b\n1,2\n")
    ...     read(path).shape
    (1, 2)
    """
    path = Path(path_or_name).expanduser()
    if path.is_file():
        from nissl.recording.readers import read_file

        return read_file(path, **options)
    if path.is_dir():
        return _folder(path, **options)
    from nissl.specimens.catalogue import specimens

    known = specimens()["name"].tolist()
    if isinstance(path_or_name, str) and path_or_name in known:
        from nissl.specimens.load import load

        return load(path_or_name, **options)
    if looks_like_a_path(path_or_name) and not nearest(str(path_or_name), known):
        raise NisslError(
            f"there is no such file: {path_or_name}",
            where=str(path.absolute()),
            do="check the name and the folder",
        )
    guess = " or ".join(f"'{name}'" for name in nearest(str(path_or_name), known))
    raise NisslError(
        f"there is neither a file nor a specimen of this name: {path_or_name}",
        where=str(path.absolute()),
        do=f"did you mean {guess}? " * bool(guess) + "`nissl specimens` lists the specimens",
    )


def looks_like_a_path(name: str | Path) -> bool:
    """Tell what means a file or a folder from what may be the name of a specimen or a model.

    Parameters
    ----------
    name : str or Path
        That is not there.

    Returns
    -------
    bool
        It begins as a path does, lies deeper than ``owner/model``, or ends as files do.

    Examples
    --------
    >>> [looks_like_a_path(name) for name in ("./mine", "book.txt", "gpt2", "Qwen/Qwen2.5-0.5B")]
    [True, True, False, False]
    """
    name = str(name)
    suffix = Path(name).suffix.removeprefix(".")
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or suffix.isalpha()


def _folder(path: Path, **options: Any) -> Any:
    from nissl.recording import open_store
    from nissl.recording.store.manifest import is_store

    if not is_store(path):
        raise NisslError(
            "the folder is not a store of nissl",
            where=str(path),
            do="give a folder that `record(..., store=...)` wrote, or a file in it",
        )
    return open_store(path, **options)
