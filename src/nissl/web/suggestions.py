"""What a few letters may mean: units by address, and lists of units by what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.errors import NisslError
from nissl.web.condition import written

if TYPE_CHECKING:
    import pandas as pd

    from nissl.web.index import Index

__all__ = ["suggestions"]

UNITS, VALUES, LETTERS = 8, 2, 200  # told of each
Q = 0.05  # above which what a unit prefers is not counted
PLACE = re.compile(r"(\d+)[\s/.,:]+(\d+)")
LAYER = re.compile(r"layer\s+(\d+)", re.IGNORECASE)
CALLED = {"bigram": "pair", "token": "token", "unit": "address"}


def suggestions(index: Index, text: str) -> list[dict[str, Any]]:
    """Say what a text finds in an atlas, and how the list is filtered by it.

    Parameters
    ----------
    index : Index
        Of the atlas.
    text : str
        An address or a part of it, a layer and an index (``3/812``), or a part of a word of any
        column of words, of a note, of a set's name, or of the text at which units are highest.
        Small and large letters are one; what follows the first 200 is not read.

    Returns
    -------
    list of dict
        Of a unit ``row``, ``text`` and ``says``. Of a list of units ``what`` they share, ``text``,
        their number ``n``, and ``where``, the filter, or ``find``, the text; ``sort``, the column
        that tells how strongly. Single units by their exact address come first.

    Examples
    --------
    >>> suggestions(Index(open_atlas("out/smollm2")), "paris")[0]["where"]  # doctest: +SKIP
    'token = Paris and token_q <= 0.05'
    """
    wanted = text.strip()[:LETTERS]
    if not wanted:
        return []
    named = list(_units(index, wanted))
    exact = [unit for unit in named if unit.pop("exact")]
    rest = [unit for unit in named if unit not in exact]
    lists = [one for find in (_layers, _words, _kept) for one in _readable(find(index, wanted))]
    return [*exact, *lists, *rest, *_readable(_texts(index, wanted))]


def _readable(found: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what a damaged atlas cannot tell: the list says why when it is asked."""
    try:
        return list(found)
    except NisslError:
        return []


def _units(index: Index, wanted: str) -> Iterator[dict[str, Any]]:
    """Units of that address, or at that place of that layer; then those whose address has it."""
    table, place = index.table, PLACE.fullmatch(wanted)
    if place and {"layer", "index"} <= set(table):
        layer, at = (int(number) for number in place.groups())
        rows = np.flatnonzero((table["layer"] == layer) & (table["index"] == at))
        exact = np.ones(len(rows), dtype=bool)
    elif len(wanted) > 1:
        rows = np.flatnonzero(index.meeting(written("unit", "~", wanted)))
        exact = (table["unit"].iloc[rows].str.lower() == wanted.lower()).to_numpy(bool)
        first = np.argsort(~exact, kind="stable")
        rows, exact = rows[first], exact[first]
    else:
        return
    for row, is_it in zip(rows[:UNITS], exact[:UNITS], strict=True):
        line = table.iloc[int(row)]
        says = str(line.get("kind", ""))
        yield {"row": int(row), "text": str(line["unit"]), "says": says, "exact": bool(is_it)}


def _layers(index: Index, wanted: str) -> Iterator[dict[str, Any]]:
    found = LAYER.fullmatch(wanted)
    if found:
        where = f"layer = {int(found[1])}"
        yield from _listed(index, "layer", found[1], where)


def _words(index: Index, wanted: str) -> Iterator[dict[str, Any]]:
    """Lists of units by the columns of words: a word itself, then all that have the letters."""
    table = index.table
    for name in map(str, table):
        if table[name].dtype.kind in "iufb":
            continue
        where = written(name, "~", wanted)
        there = index.meeting(where)
        if not there.any():
            continue
        what = CALLED.get(name, name.removesuffix("_preferred").replace("_", " "))
        also, sort = _evidence(table, name)
        words = table[name][there].astype(str).str.strip()
        same = words[words.str.lower() == wanted.lower()]
        for word in same.value_counts().index[:VALUES]:
            yield from _listed(index, what, word, written(name, "=", word) + also, sort)
        if len(same) < len(words) and len(wanted) > 1:
            alone = words.nunique() == 1
            text = str(words.iloc[0]) if alone and name != "unit" else f"…{wanted}…"
            where = written(name, "=", text) if alone and name != "unit" else where
            yield from _listed(index, what, text, where + also, sort)


def _evidence(table: pd.DataFrame, name: str) -> tuple[str, str]:
    """Return the condition that what is preferred passes its null, and the column of its size."""
    of = "tuning" if name == "tuned_to" else name.removesuffix("_preferred")
    also = f" and {of}_q <= {Q}" if f"{of}_q" in table else ""
    return also, f"{of}_effect" if f"{of}_effect" in table else ""


def _kept(index: Index, wanted: str) -> Iterator[dict[str, Any]]:
    """Lists of units by their notes, and sets."""
    notes = index.atlas.notes
    if notes.notes:
        yield from _listed(index, "note", f"…{wanted}…", written("note", "~", wanted))
    for name, units in notes.sets.items():
        if wanted.lower() in name.lower():
            yield {"what": "set", "text": name, "n": len(units), "where": written("set", "=", name)}


def _texts(index: Index, wanted: str) -> Iterator[dict[str, Any]]:
    if index.texts.missing:
        return
    n = int(np.count_nonzero(index.texts.shares(wanted)))
    if n:
        yield {"what": "text", "text": wanted, "n": n, "find": wanted}


def _listed(
    index: Index, what: str, text: str, where: str, sort: str = ""
) -> Iterator[dict[str, Any]]:
    n = int(np.count_nonzero(index.meeting(where)))
    if n:
        yield {"what": what, "text": text, "n": n, "where": where, "sort": sort}
