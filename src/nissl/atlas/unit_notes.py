"""Notes on units, and sets of units: a file of the atlas that people and programs write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nissl.errors import NisslError

__all__ = ["UnitNotes"]

FILE, FORMAT = "notes.json", "nissl.notes"
LONGEST, MOST = 10_000, 10_000  # characters of a note; notes, sets, and units of a set


@dataclass
class UnitNotes:
    """What people wrote of the units of an atlas.

    Parameters
    ----------
    folder : Path
        The atlas; its file ``notes.json`` is read, and written at every change.
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

    def write(self, unit: str, text: str) -> None:
        """Write a note on a unit; an empty one takes it away.

        Parameters
        ----------
        unit : str
            Its address.
        text : str
            At most 10,000 characters.
        """
        if len(text) > LONGEST:
            raise NisslError(f"the note has {len(text):,} characters", do=f"give {LONGEST:,}")
        self._change(self.notes, unit, text.strip())

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
        self._change(self.sets, name.strip(), found)

    def _change(self, held: dict[str, Any], key: str, value: Any) -> None:
        before = dict(held)
        held.pop(key, None)
        if value:
            held[key] = value
        try:
            if len(held) > MOST:
                raise NisslError(f"there are {MOST:,} already", where=FILE)
            self._save()
        except NisslError:
            held.clear()
            held.update(before)
            raise

    def _save(self) -> None:
        path = self.folder / FILE
        partial = path.with_suffix(f".{os.getpid()}.partial")
        whole = {"format": FORMAT, "notes": self.notes, "sets": self.sets}
        try:
            partial.write_text(json.dumps(whole, ensure_ascii=False, indent=1), encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise NisslError(
                f"the notes cannot be written: {error.strerror}", where=str(path), do="make room"
            ) from error
