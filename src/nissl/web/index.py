"""What the explorer asks of an atlas: lists of units, one unit, units found by a text."""

from __future__ import annotations

import json
import re
from functools import cached_property
from operator import eq, ge, gt, le, lt, ne
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.atlas import Atlas
from nissl.atlas.page.cards import Strings, cards
from nissl.atlas.page.statistic import KNOWN
from nissl.atlas.tables import NETWORK_UNITS, UNITS
from nissl.errors import NisslError, require_known

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Index"]

MOST = 1000  # rows of one answer
SHOWN = ("unit", "kind", "density", "token", "token_effect", "language", "mean", "sd", "kurtosis")
#: ``column operator value``, joined by ``and``.
OPERATORS = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
TERM = re.compile(r"\s*(\w+)\s*(<=|>=|!=|=|<|>|~)\s*(.+?)\s*", re.DOTALL)


class Index:
    """Queries of an atlas, each answered with a bounded number of rows.

    Parameters
    ----------
    atlas : Atlas
        What `nissl.atlas.open_atlas` opens. Columns of numbers and words are held; places and
        evidence of a unit are read from their row groups when the unit is opened.

    Examples
    --------
    >>> Index(open_atlas("out/smollm2")).units("density < 0.01", sort="kurtosis")  # doctest: +SKIP
    """

    def __init__(self, atlas: Atlas) -> None:
        self.atlas = atlas

    @cached_property
    def _file(self) -> Any:
        """``units.parquet``, opened."""
        import pyarrow.parquet as pq

        path = self.atlas.path / "units.parquet"
        try:
            return pq.ParquetFile(path, memory_map=True)
        except (OSError, ValueError) as error:
            raise NisslError(
                f"the table cannot be read: {error}", where=str(path), do="make the atlas again"
            ) from error

    @cached_property
    def _lists(self) -> list[str]:
        """The columns that hold a list a unit: neighbours, and tokens that it promotes."""
        import pyarrow as pa

        return [f.name for f in self._file.schema_arrow if pa.types.is_nested(f.type)]

    @cached_property
    def table(self) -> pd.DataFrame:
        """The columns that hold one number or word a unit."""
        names = [name for name in self._file.schema_arrow.names if name not in self._lists]
        table: pd.DataFrame = self._file.read(names).to_pandas()
        return table.reset_index(drop=True)

    def columns(self) -> list[dict[str, Any]]:
        """Name the columns, what each says, and whether it holds numbers or words.

        Returns
        -------
        list of dict
            ``name``, ``meaning``, ``type``, and whether it is ``shown`` at first; those that are
            come before the others.
        """
        meanings = {c.name: c.meaning for c in (*UNITS, *NETWORK_UNITS)}
        meanings |= {s.name: s.meaning for s in KNOWN}
        number = self.table.dtypes.map(lambda dtype: dtype.kind in "iufb")
        own = [str(name) for name in self.table]
        names = [n for n in SHOWN if n in own] + [n for n in own if n not in SHOWN]
        return [
            {
                "name": name,
                "meaning": meanings.get(name, ""),
                "type": "number" if number[name] else "word",
                "shown": name in SHOWN,
            }
            for name in names
        ]

    def units(
        self,
        where: str = "",
        *,
        sort: str = "",
        descending: bool = True,
        offset: int = 0,
        limit: int = 50,
    ) -> dict[str, Any]:
        """List units that meet a condition, sorted by a column.

        Parameters
        ----------
        where : str
            Conditions joined by ``and``, such as ``density < 0.01 and kind = token``: a column;
            one of ``=  !=  <  <=  >  >=``, or ``~`` for words that contain the value; a value. Or
            ``set = NAME``, of those that were kept. Empty for all.
        sort : str
            The column; the order of the atlas if empty. Missing values stand last.
        descending : bool
            The largest first.
        offset, limit : int
            Which of the rows; at most 1,000 at a time.

        Returns
        -------
        dict
            ``total``, the number of units that meet it, and ``rows``, each with its ``row``.

        Raises
        ------
        NisslError
            A column, operator or value is not understood.
        """
        if offset < 0 or limit < 0:
            raise NisslError("offset and limit are not below zero")
        found = self._listed(where, sort, descending)
        rows = found[offset : offset + min(limit, MOST)]
        return {"total": len(found), "rows": _records(self.table.iloc[rows], rows)}

    def csv(self, where: str = "", *, sort: str = "", descending: bool = True) -> str:
        """Return all units that meet a condition as comma-separated values.

        Parameters
        ----------
        where, sort, descending
            As in `units`.

        Returns
        -------
        str
            A line of names, and a line for each unit.

        Raises
        ------
        NisslError
            As `units`.
        """
        return str(self.table.iloc[self._listed(where, sort, descending)].to_csv(index=False))

    def unit(self, row: int) -> dict[str, Any]:
        """Return all that is known of one unit, as the page draws it.

        Parameters
        ----------
        row : int
            Its row in ``units.parquet``.

        Returns
        -------
        dict
            The ``card`` of the unit, and the ``strings`` that it names by number.

        Raises
        ------
        NisslError
            There is no such row.
        """
        if not 0 <= row < len(self.table):
            raise NisslError(f"there is no row {row}", do=f"give 0 to {len(self.table) - 1}")
        strings, units = Strings(), self.table.copy(deep=False)
        for name, value in self._lists_of(row).items():
            column = np.full(len(units), None, dtype=object)
            column[row] = value
            units[name] = column
        (card,) = cards(self.atlas.path, units, [row], strings)
        return {"card": card, "strings": strings.texts}

    def find(self, text: str, *, limit: int = 50) -> dict[str, Any]:
        """Find units by a text at their extremes: the more of them have it, the earlier.

        Parameters
        ----------
        text : str
            A part of a word, or several words; small and large letters are one.
        limit : int
            How many units.

        Returns
        -------
        dict
            ``total`` and ``rows`` as `units`, each with ``share``, the part of its highest samples
            at which the text ends.
        """
        inside = self._samples_of(text)
        rows, samples = self._highest
        n = len(self.table)
        hits = np.bincount(rows[inside[samples]], minlength=n)
        found = np.flatnonzero(hits)
        shares = hits[found] / np.bincount(rows, minlength=n)[found]
        best = np.argsort(-shares, kind="stable")[:limit]
        told = _records(self.table.iloc[found[best]], found[best])
        for line, share in zip(told, shares[best], strict=True):
            line["share"] = round(float(share), 3)
        return {"total": len(found), "rows": told}

    def _lists_of(self, row: int) -> dict[str, Any]:
        """Read the lists of one unit from its row group."""
        at, about = row, self._file.metadata
        for group in range(about.num_row_groups):
            n = about.row_group(group).num_rows
            if at < n:
                found = self._file.read_row_group(group, columns=self._lists).slice(at, 1)
                return dict(found.to_pylist()[0]) if self._lists else {}
            at -= n
        return {}

    def addresses(self, where: str) -> list[str]:
        """Return the addresses of the units that meet a condition.

        Parameters
        ----------
        where : str
            As in `units`.

        Returns
        -------
        list of str
            In the order of the atlas.
        """
        return [str(unit) for unit in self.table["unit"][self._meeting(where)]]

    def _listed(self, where: str, sort: str, descending: bool) -> np.ndarray[Any, Any]:
        """Return the rows of the units that meet the conditions, sorted."""
        found = np.flatnonzero(self._meeting(where))
        if not sort:
            return found
        require_known("column", sort, list(map(str, self.table)))
        keys = self.table[sort].iloc[found].reset_index(drop=True)
        return found[keys.sort_values(ascending=not descending, kind="stable").index]

    def _meeting(self, where: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which units meet the conditions."""
        kept = np.ones(len(self.table), dtype=bool)
        for term in re.split(r"\s+and\s+", where.strip()) if where.strip() else ():
            parts = TERM.fullmatch(term)
            if parts is None:
                raise NisslError(
                    f"'{term}' is not a condition", where="filter", do="write: density < 0.01"
                )
            name, operator, value = parts.groups()
            if name == "set" and operator in ("=", "!="):
                sets = self.atlas.notes.sets
                require_known("set", value, list(sets))
                kept &= self.table["unit"].isin(sets[value]).to_numpy() == (operator == "=")
                continue
            require_known("column", name, list(map(str, self.table)))
            kept &= _compared(self.table[name], operator, value)
        return kept

    @cached_property
    def _text(self) -> tuple[str, np.ndarray[Any, Any]]:
        """All that was read, in small letters, and where each sample's token ends in it."""
        path = self.atlas.path / "vocabulary.json"
        if not path.exists():
            raise NisslError("this atlas has no texts", do="search for an address or a label")
        words = json.loads(path.read_text(encoding="utf-8"))
        texts = {int(number): str(word).lower() for number, word in words.items()}
        told = [texts.get(int(token), "") for token in np.asarray(self.atlas.arrays["token"])]
        return "".join(told), np.cumsum([len(word) for word in told])

    @cached_property
    def _highest(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The unit and the sample of every place at the upper end."""
        import pyarrow.parquet as pq

        file = pq.ParquetFile(self.atlas.path / "examples.parquet", memory_map=True)
        rows, samples = [], []
        for group in range(file.num_row_groups):  # one at a time: there are millions
            part = file.read_row_group(group, columns=["row", "sign", "sample"])
            high = part["sign"].to_numpy() > 0
            rows.append(part["row"].to_numpy()[high].astype(np.int32))
            samples.append(part["sample"].to_numpy()[high].astype(np.int32))
        return np.concatenate(rows), np.concatenate(samples)

    def _samples_of(self, text: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return at which samples the text ends."""
        wanted = text.lower().strip()
        if not wanted:
            raise NisslError("there is nothing to look for", where="text")
        whole, ends = self._text
        found = [match.end() for match in re.finditer(re.escape(wanted), whole)]
        inside = np.zeros(len(ends), dtype=bool)
        inside[np.searchsorted(ends, np.array(found, dtype=int))] = True
        return inside


def _compared(column: pd.Series, operator: str, value: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return where a column stands to a value as the operator says."""
    if operator == "~":
        said = column.astype(str).str.contains(value, case=False, regex=False)
        return said.to_numpy(dtype=bool)
    numbers = column.dtype.kind in "iufb"
    if not numbers and operator not in ("=", "!="):
        raise NisslError(f"{column.name} holds words", where=operator, do="use =, != or ~")
    held = column.to_numpy(dtype=float) if numbers else column.astype(str).to_numpy(dtype=object)
    with np.errstate(invalid="ignore"):
        compared = OPERATORS[operator](held, _number(column, value) if numbers else value)
    return np.asarray(compared, dtype=bool)


def _number(column: pd.Series, value: str) -> float:
    said = {"true": "1", "false": "0"}.get(value.lower(), value)
    try:
        return float(said)
    except ValueError:
        raise NisslError(f"{column.name} holds numbers, and '{value}' is none") from None


def _records(table: pd.DataFrame, rows: Any) -> list[dict[str, Any]]:
    """Return rows as JSON knows them: what is not finite is None."""
    told = []
    for row, line in zip(rows, table.to_dict("records"), strict=True):
        kept = {str(k): _plain(v) for k, v in line.items()}
        told.append({"row": int(row), **kept})
    return told


def _plain(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    return None if value is None else value if isinstance(value, (int, str)) else str(value)
