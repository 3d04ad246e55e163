"""Where a loader finds the file that its specimen is made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nissl.errors import NisslError

__all__ = ["folder_of", "read_errors", "source_files"]


def folder_of(specimen: str, folder: str | Path | None = None, *, progress: bool = True) -> Path:
    """Return the folder in which a specimen's files lie, fetched first if need be.

    Parameters
    ----------
    specimen : str
        Name of the specimen.
    folder : path, optional
        Where the files lie already, in any depth.
    progress : bool
        Show how much has arrived.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    NisslError
        It cannot be fetched; see `nissl.specimens.fetch`.

    Examples
    --------
    >>> folder_of("head-direction", "data").name
    'data'
    """
    if folder is not None:
        return Path(folder)
    from nissl.specimens.fetch import fetch

    return fetch(specimen, progress=progress)


def source_files(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder whose path ends in a pattern.

    Parameters
    ----------
    folder : Path
        Where a specimen's files lie, in any depth.
    pattern : str
        What the file's path ends with, such as ``"functional/*.mat"``.

    Returns
    -------
    list of Path
        At least one file, sorted.

    Raises
    ------
    NisslError
        No file matches.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.nwb").write_bytes(b"")
    ...     [path.name for path in source_files(Path(folder), "*.nwb")]
    ['a.nwb']
    """
    found = sorted(folder.rglob(pattern))
    if not found:
        raise NisslError(
            f"there is no file {pattern}",
            where=str(folder),
            do="remove the folder and fetch the specimen again: nissl fetch NAME",
        )
    return found


@contextmanager
def read_errors(path: Path) -> Iterator[Path]:
    """Turn whatever a reading library throws at a broken file into one error.

    Parameters
    ----------
    path : Path
        The file that is read within the block.

    Yields
    ------
    Path
        The same path.

    Raises
    ------
    NisslError
        The file is truncated, or is not what its name says.

    Examples
    --------
    >>> with read_errors(Path("a.nwb")) as path:
    ...     path.suffix
    '.nwb'
    """
    try:
        yield path
    except NisslError:
        raise
    except Exception as error:  # every library has errors of its own for a broken file
        raise NisslError(
            f"the file cannot be read: {error}",
            where=str(path),
            do="fetch it again; it is truncated or was changed",
        ) from error
