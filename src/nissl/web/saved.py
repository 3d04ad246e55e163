"""The edits of an atlas: files in its folder ``edits``, which Python saves and opens too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nissl.errors import NisslError

__all__ = ["SavedEdits"]

FOLDER = "edits"
NAME = re.compile(r"\w[\w .-]{0,99}")
MANY, BYTES = 200, 500_000_000  # files that are listed; of one that is read
PREFIX, SUFFIX = f"{FOLDER}/", ".json"


class SavedEdits:
    """The edits that were saved beside an atlas.

    Parameters
    ----------
    atlas : Path
        Its folder. `nissl.network.save_edit` writes ``edits/NAME.json`` there.

    Examples
    --------
    >>> SavedEdits(Path("no-such-atlas")).listed()
    []
    """

    def __init__(self, atlas: Path) -> None:
        self.folder = atlas / FOLDER
        self._told: dict[tuple[str, int, int], dict[str, Any]] = {}

    def listed(self) -> list[dict[str, Any]]:
        """Return what there is, at most 200 by name.

        Returns
        -------
        list of dict
            ``name``, as it stands in a basket; ``what`` it does; and whether it has a
            ``strength``; or ``error``, why it cannot be read.
        """
        files = sorted(self.folder.glob(f"*{SUFFIX}")) if self.folder.is_dir() else []
        return [self._tell(file) for file in files if NAME.fullmatch(file.stem)][:MANY]

    def open(self, name: str, strength: float) -> list[Any]:
        """Open an edit.

        Parameters
        ----------
        name : str
            ``edits/NAME.json``.
        strength : float
            1 for the edit as it is.

        Returns
        -------
        list of Edit
            As it was saved, each of that strength.

        Raises
        ------
        NisslError
            There is none of this name, it cannot be read, or it has no strength.
        """
        from nissl.network import load_edit, with_strength

        found = load_edit(self._path(name))
        edits = found if isinstance(found, list) else [found]
        return edits if strength == 1 else [with_strength(one, strength) for one in edits]

    def keep(self, name: str, edits: Sequence[Any]) -> str:
        """Save edits under a name that is free.

        Parameters
        ----------
        name : str
            Up to 100 letters, digits, spaces, dots and dashes.
        edits : sequence of Edit
            What is saved.

        Returns
        -------
        str
            ``edits/NAME.json``.

        Raises
        ------
        NisslError
            It is no name or is taken, or the file cannot be written.
        """
        from nissl.network import save_edit

        kept = f"{PREFIX}{name.strip()}{SUFFIX}"
        path = self._path(kept)
        if path.exists():
            raise NisslError("there is an edit of this name", where=kept, do="give another name")
        try:
            save_edit(list(edits), path)
        except OSError as error:
            raise NisslError(
                f"the edit cannot be written: {error.strerror}", where=kept, do="make room"
            ) from error
        return kept

    def _path(self, name: str) -> Path:
        """Return the file of a name: one of the folder, and no link out of it."""
        bare = name.removeprefix(PREFIX).removesuffix(SUFFIX)
        if not NAME.fullmatch(bare) or name != f"{PREFIX}{bare}{SUFFIX}":
            raise NisslError(f"'{name[:100]}' is no name of an edit", do="give letters and digits")
        path, inside = self.folder / f"{bare}{SUFFIX}", self.folder.resolve()
        for file in (path, path.with_suffix(".safetensors")):
            if file.resolve().parent != inside or inside.parent != self.folder.parent.resolve():
                raise NisslError("this edit lies outside of the atlas", where=name)
            if file.exists() and file.stat().st_size > BYTES:
                raise NisslError("this edit is too large to be tried here", where=name)
        return path

    def _tell(self, file: Path) -> dict[str, Any]:
        name, about = f"{PREFIX}{file.name}", file.stat()
        key = (name, about.st_mtime_ns, about.st_size)
        if key not in self._told:
            try:
                edits = self.open(name, 1)
                self._told[key] = {"what": ", ".join(map(repr, edits))[:200], "strength": True}
                self.open(name, 0.5)
            except NisslError as error:
                told = self._told.setdefault(key, {"error": error.what})
                told |= {"strength": False}
        return {"name": name, **self._told[key]}
