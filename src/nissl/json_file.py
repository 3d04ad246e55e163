"""Files of JSON that are whole or as they were."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nissl.errors import NisslError

__all__ = ["write_json"]


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
        partial.write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")
        partial.replace(path)
    except (OSError, UnicodeEncodeError) as error:
        partial.unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) else "a letter has no encoding"
        raise NisslError(f"{what} cannot be written: {why}", where=str(path)) from error
    return path
