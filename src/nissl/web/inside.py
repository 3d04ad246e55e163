"""Paths that stay inside a folder."""

from __future__ import annotations

from pathlib import Path

__all__ = ["inside"]


def inside(folder: Path, name: str) -> Path | None:
    """Return a file of a folder; None where there is none, or it lies elsewhere.

    Parameters
    ----------
    folder : Path
        The folder.
    name : str
        What somebody asks for.

    Returns
    -------
    Path or None
        The file, links followed.

    Examples
    --------
    >>> inside(Path("out/smollm2/images"), "../atlas.json")
    """
    try:
        path = (folder / name).resolve()
        return path if path.parent == folder.resolve() and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, not a text of this system, a circle
        return None
