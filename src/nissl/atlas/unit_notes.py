"""Notes on units, and sets of units: a file of the atlas that people and programs write."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nissl.errors import NisslError
from nissl.json_file import refused, write_json

__all__ = ["UnitNotes"]

FILE, FORMAT = "notes.json", "nissl.notes"
LONGEST, MOST = 10_000, 10_000  # characters of a note; notes, sets, and units of a set


@dataclass
class UnitNotes:
    """What people wrote of the units of an atlas.

    Parameters
    ----------
    folder : Path
        The atlas; its file ``notes.json`` is read, and written at every change, which keeps what
        others wrote meanwhile.
    notes : dict of str
        A text for each address that has one.
    sets : dict of list of str
        Addresses by the name of a set.

    Raises
    ------
    NisslError
        The file cannot be read or written, or a text, name or set is out of bounds.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     UnitNotes.read(folder).write("blocks.3.mlp.neurons[812]", "fires at capitals")
    ...     UnitNotes.read(folder).notes
    {'blocks.3.mlp.neurons[812]': 'fires at capitals'}
    """

    folder: Path
    notes: dict[str, str] = field(default_factory=dict)
    sets: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: str | Path) -> UnitNotes:
        """Read the notes of an atlas; there are none where there is no file.

        Parameters
        ----------
        folder : str or Path
            The atlas.

        Returns
        -------
        UnitNotes
            Those of the file.
        """
        path = Path(folder) / FILE
        if not path.exists():
            return cls(Path(folder))
        try:
            held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if held["format"] != FORMAT:
                raise ValueError("it is of another format")
            notes = {str(unit): str(text) for unit, text in held["notes"].items()}
            sets = {str(name): [str(u) for u in units] for name, units in held["sets"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise NisslError(
                f"the notes cannot be read: {error}", where=str(path), do="mend or move the file"
            ) from error
        return cls(Path(folder), notes, sets)

    def write(self, unit: str, text: str, *, was: str | None = None) -> None:
        """Write a note on a unit; an empty one takes it away.

        Parameters
        ----------
        unit : str
            Its address.
        text : str
            At most 10,000 characters.
        was : str, optional
            The note that this one takes the place of; another one, which somebody else wrote
            meanwhile, is kept, and said as an error. Any is written over if not given.
        """
        if len(text) > LONGEST:
            raise NisslError(f"the note has {len(text):,} characters", do=f"give {LONGEST:,}")
        self._change("notes", unit, text.strip(), was)

    def keep(self, name: str, units: Iterable[str]) -> None:
        """Keep units as a set; none of them take it away.

        Parameters
        ----------
        name : str
            What the set is called.
        units : iterable of str
            Their addresses.
        """
        found = list(dict.fromkeys(units))
        if not name.strip() or len(name) > 100 or " and " in f" {name} ":
            raise NisslError(f"'{name[:100]}' is no name of a set", do="give up to 100 letters")
        if len(found) > MOST:
            raise NisslError(f"the set has {len(found):,} units", do=f"give at most {MOST:,}")
        self._change("sets", name.strip(), found)

    def _change(self, where: str, key: str, value: Any, was: str | None = None) -> None:
        """Change one entry of the file as it is now: others may have written since it was read."""
        with _alone(self.folder):
            fresh = UnitNotes.read(self.folder)
            held: dict[str, Any] = getattr(fresh, where)
            if was is not None and held.get(key, "") not in (was.strip(), value):
                raise NisslError(
                    f"another note was written meanwhile: {held.get(key, 'none')}",
                    where=key,
                    do="keep yours again to put it in its place",
                )
            held.pop(key, None)
            if value:
                held[key] = value
            if len(held) > MOST:
                raise NisslError(f"there are {MOST:,} already", where=FILE)
            fresh._save()
        self.notes, self.sets = fresh.notes, fresh.sets

    def _save(self) -> None:
        held = {"format": FORMAT, "notes": self.notes, "sets": self.sets}
        write_json(self.folder / FILE, held, what="the notes")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time change the notes."""
    try:
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise refused(error, folder, "the notes") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
