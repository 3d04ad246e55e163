"""Info: what a recording holds, in a few lines, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.labels import is_words
from nissl.recording.recording import Recording, check

__all__ = ["info"]

SHOWN = 8  # words of a long list that are shown


class _Lines(dict[str, Any]):
    """A mapping that prints as a line for each of its entries."""

    def __str__(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in self.items())


class Column(dict[str, Any]):
    """What a coordinate holds; prints as a phrase."""

    def __str__(self) -> str:
        if "words" in self:
            more = ", ..." if self["different"] > len(self["words"]) else ""
            plural = "" if self["different"] == 1 else "s"
            phrase = f"{self['different']:,} word{plural}: {', '.join(self['words'])}{more}"
        elif self.get("from") is None:
            phrase = f"{self['type']}, nothing"
        else:
            ends = [self[end] for end in ("from", "to")]
            span = " to ".join(e if isinstance(e, str) else f"{e:g}" for e in ends)
            phrase = f"{span} ({self['type']}, {self['different']:,} different)"
        return phrase + (f", {self['missing']:,} missing" if self["missing"] else "")


def info(
    source: Path | str | Recording | Mapping[str, Recording], **options: Any
) -> dict[str, Any]:
    """Say what a file, a store or a Recording holds.

    Parameters
    ----------
    source : path, Recording, or mapping of str to Recording
        A store; a file that a reader knows, which is read whole; or what is already there, in
        memory or lazy, of which only the coordinates are read.
    **options
        Passed to the file's reader.

    Returns
    -------
    dict
        ``samples``, ``units`` (how many), ``quantity``, ``type``, ``bytes`` (in memory);
        ``sample coordinates`` and ``unit coordinates``: for each its type, how many different
        values, how many missing, and from where to where, or the first words; ``sites`` and
        ``regions``: how many units in each, where units know theirs; ``provenance``: the
        attributes; ``source``, of a path. Numbers, strings, lists and mappings only, so that it can
        be written as JSON. By site, where sites differ in their samples.

    Raises
    ------
    NisslError
        There is no such file or store, or it is damaged or of an unknown kind.
    NotARecording
        `source` is neither a path nor a Recording.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.zeros((3, 2)), samples={"stimulus": ["cat", "dog", "cat"]})
    >>> found = info(rec)
    >>> found["samples"], found["units"], found["bytes"]
    (3, 2, 48)
    >>> print(found["sample coordinates"])
    stimulus: 2 words: cat, dog
    """
    if isinstance(source, Mapping):
        return {site: _Lines(_about(rec)) for site, rec in source.items()}
    if not isinstance(source, (str, Path)):
        return _about(source)
    path = Path(source).expanduser()
    if not path.is_dir():
        from nissl.recording.readers import read_file

        found: Any = read_file(path, **options)
    else:
        from nissl.recording.store.manifest import is_store
        from nissl.recording.store.reader import open_store

        if not is_store(path):
            raise NisslError(
                "the folder is not a store",
                where=str(path),
                do="name a store that was recorded, or a file in the folder",
            )
        found = open_store(path)
    return {"source": str(path), **info(found)}


def _about(rec: Recording) -> dict[str, Any]:
    check(rec)
    found: dict[str, Any] = {
        "samples": rec.sizes["sample"],
        "units": rec.sizes["unit"],
        "quantity": str(rec.attrs.get("quantity", "activity")),
        "type": str(rec.dtype),
        "bytes": int(rec.size) * rec.dtype.itemsize,
    }
    for side in ("sample", "unit"):
        columns = {str(n): _column(c) for n, c in rec.coords.items() if c.dims == (side,)}
        found[f"{side} coordinates"] = _Lines(columns)
    for name in ("site", "region"):
        if name in rec.coords and rec[name].dims == ("unit",):
            values, count = np.unique(np.asarray(rec[name].values).astype(str), return_counts=True)
            found[f"{name}s"] = _Lines(zip(values.tolist(), count.tolist(), strict=True))
    constant = {str(n): c.values[()] for n, c in rec.coords.items() if c.ndim == 0}
    about = {str(n): v for n, v in rec.attrs.items() if n != "quantity"} | constant
    found["provenance"] = _Lines(
        {n: v.item() if isinstance(v, np.generic) else v for n, v in about.items()}
    )
    return found


def _column(coord: Any) -> Column:
    column = np.asarray(coord.values)
    if is_words(column):
        words = [str(word) for word in dict.fromkeys(column.tolist()) if word]
        missing = int((column == "").sum())
        return Column(
            {"type": "words", "different": len(words), "missing": missing, "words": words[:SHOWN]}
        )
    missing = int(np.isnan(column).sum()) if column.dtype.kind in "fmM" else 0
    there = column[~np.isnan(column)] if missing else column
    span: list[Any] = [there.min(), there.max()] if len(there) else [None, None]
    # Dates as they are written; their numbers are nanoseconds.
    dates = column.dtype.kind in "mM"
    span = [v if v is None else (str(v) if dates else v.item()) for v in span]
    return Column(
        {
            "type": str(column.dtype),
            "different": len(np.unique(there)),
            "missing": missing,
            "from": span[0],
            "to": span[1],
        }
    )
