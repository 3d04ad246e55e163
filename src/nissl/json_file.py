"""Files of JSON that are whole or as they were."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nissl.errors import NisslError, first_line

__all__ = ["refused", "write_json"]


def write_json(path: Path, said: Mapping[str, Any], *, what: str) -> Path:
    """Write a file of JSON that is whole or as it was.

    Parameters
    ----------
    path : Path
        Where to.
    said : mapping
        What it holds.
    what : str
        What it is, for an error.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    NisslError
        It cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)  # were it a link, it would be followed
        partial.write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")
        partial.replace(path)
    except (OSError, UnicodeEncodeError) as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise refused(error, path, what) from error
    return path


def refused(error: OSError | UnicodeEncodeError, path: Path, what: str) -> NisslError:
    """Return the error that says why something cannot be written.

    Parameters
    ----------
    error : OSError or UnicodeEncodeError
        What the system says.
    path : Path
        Where it was to be.
    what : str
        What it is.

    Returns
    -------
    NisslError
        What it is, where, why, and what to do.
    """
    why = "a letter has no encoding"
    if isinstance(error, OSError):
        why = error.strerror or first_line(error)
    do = "make room, or let the folder be written; what was kept before is as it was"
    return NisslError(f"{what} cannot be written: {why}", where=str(path), do=do)
