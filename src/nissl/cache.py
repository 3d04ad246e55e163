"""Where fetched and computed things are kept: ``~/.cache/nissl``, or ``NISSL_CACHE``."""

from __future__ import annotations

import os
from pathlib import Path

from nissl.errors import NisslError

__all__ = ["cache_dir"]


def cache_dir(*parts: str) -> Path:
    """Return a folder of the cache, made if it is missing; what is in it may be only readable.

    Parameters
    ----------
    *parts : str
        Folders below the root of the cache, such as ``"specimens", "smollm2"``.

    Returns
    -------
    Path
        The folder, which exists.

    Raises
    ------
    NisslError
        The folder cannot be made.

    Examples
    --------
    >>> cache_dir("specimens").name
    'specimens'
    """
    root = Path(os.environ.get("NISSL_CACHE") or Path.home() / ".cache" / "nissl").expanduser()
    folder = root.joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NisslError(
            f"the cache folder cannot be made: {error.strerror}",
            where=str(folder),
            do="set NISSL_CACHE to a folder that you may write",
        ) from error
    return folder
