"""What the explorer asks of an atlas: lists of units, one unit, units found by a text."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.atlas import Atlas
from nissl.atlas.damage import AGAIN, note, part, readable
from nissl.atlas.page.against import against
from nissl.atlas.page.cards import Strings, cards
from nissl.atlas.page.degrees import in_degrees
from nissl.atlas.page.statistic import KNOWN
from nissl.atlas.tables import NETWORK_UNITS, UNITS
from nissl.errors import NisslError, require_known
from nissl.web.condition import Condition, conditions, meets
from nissl.web.csv_text import as_csv
from nissl.web.example_texts import ExampleTexts
from nissl.web.memory import release

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Index"]

MOST = 1000  # rows of one answer
SHOWN = (
    "unit",
    "kind",
    "tuned_to",
    "tuning_effect",
    "tuning_q",
    "density",
    "token",
    "token_effect",
    "language",
    "mean",
    "sd",
    "kurtosis",
)
#: What a filter knows besides the columns, and columns by another name.
BESIDES, ALSO = ("set", "note", "text"), {"pair": "bigram"}


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
        self.degrees: list[str] = []
        self.broken: list[str] = []  # what of the table cannot be read

    @cached_property
    def _file(self) -> Any:
        """``units.parquet``, opened."""
        import pyarrow.parquet as pq

        path = self.atlas.path / "units.parquet"
        with readable(path):
            return pq.ParquetFile(path)

    @cached_property
    def _lists(self) -> list[str]:
        """The columns that hold a list a unit: neighbours, and tokens that it promotes."""
        import pyarrow as pa

        return [f.name for f in self._file.schema_arrow if pa.types.is_nested(f.type)]

    @cached_property
    def texts(self) -> ExampleTexts:
        """The texts that units are high at."""
        return ExampleTexts(self.atlas, len(self.table))

    @cached_property
    def table(self) -> pd.DataFrame:
        """The columns that hold one number or word a unit; angles in degrees, as on the page."""
        import pandas as pd

        path, broken, columns = self.atlas.path / "units.parquet", list[str](), {}
        # One at a time: what is decoded at once is several times as large as what is kept.
        for name in self._file.schema_arrow.names:
            if name not in self._lists:
                lost: list[str] = []
                columns[name] = part(lost, path, partial(self._column, name), None)
                if lost:
                    del columns[name]
                    note(broken, f"the column {name} of {path.name} cannot be read")
        if "unit" not in columns:
            raise NisslError("units.parquet lacks the column unit", where=str(path), do=AGAIN)
        release()
        table, tuning = pd.DataFrame(columns, copy=False), self.atlas.path / "tuning.parquet"
        found = part(broken, tuning, lambda: in_degrees(self.atlas.path, table), (table, []))
        self.broken, (table, self.degrees) = broken, found
        return table

    def _column(self, name: str) -> pd.Series:
        found: pd.Series = self._file.read([name], use_threads=False)[name].to_pandas()
        return found

    def columns(self) -> list[dict[str, Any]]:
        """Name the columns, what each says, and whether it holds numbers or words.

        Returns
        -------
        list of dict
            ``name``, ``meaning``, ``against`` what it is compared with, ``type``, ``unit`` (``°``
            of angles), and whether it is ``shown`` at first; those that are come before the others.
        """
        meanings = {c.name: c.meaning for c in (*UNITS, *NETWORK_UNITS)}
        meanings |= {s.name: s.meaning for s in KNOWN}
        compared = against(map(str, self.table), self.atlas.about)
        number = self.table.dtypes.map(lambda dtype: dtype.kind in "iufb")
        own = [str(name) for name in self.table]
        names = [n for n in SHOWN if n in own] + [n for n in own if n not in SHOWN]
        return [
            {
                "name": name,
                "meaning": meanings.get(name, ""),
                "against": compared[name],
                "type": "number" if number[name] else "word",
                "unit": "°" if name in self.degrees else "",
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
            one of ``=  !=  <  <=  >  >=``, or ``~`` for words that contain the value; a value, in
            quotation marks where spaces around it count. Besides the columns, ``set = NAME`` of
            sets that were kept, ``note ~ x``, and ``text ~ x`` of the text they are high at.
            Empty for all.
        sort : str
            The column; the order of the atlas if empty. Missing values stand last.
        descending : bool
            The largest first.
        offset, limit : int
            Which of the rows; at most 1,000 at a time.

        Returns
        -------
        dict
            ``total``, the number of units that meet it, ``rows``, each with its ``row``, and what
            of the table is ``broken``.

        Raises
        ------
        NisslError
            A column, operator or value is not understood.
        """
        if offset < 0 or limit < 0:
            raise NisslError("offset and limit are not below zero")
        found = self._listed(where, sort, descending)
        rows = found[offset : offset + min(limit, MOST)]
        told = _records(self.table.iloc[rows], rows)
        return {"total": len(found), "rows": told, "broken": self.broken}

    def csv(self, where: str = "", *, sort: str = "", descending: bool = True) -> str:
        """Return all units that meet a condition as comma-separated values.

        Parameters
        ----------
        where, sort, descending
            As in `units`.

        Returns
        -------
        str
            A line of names, and a line for each unit, as `as_csv` writes them.

        Raises
        ------
        NisslError
            As `units`.
        """
        return as_csv(self.table.iloc[self._listed(where, sort, descending)])

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
        strings, units, broken = Strings(), self.table.copy(deep=False), list[str]()
        path = self.atlas.path / "units.parquet"
        for name, value in part(broken, path, lambda: self._lists_of(row), {}).items():
            column = np.full(len(units), None, dtype=object)
            column[row] = value
            units[name] = column
        (card,) = cards(self.atlas.path, units, [row], strings, broken=broken)
        return {"card": card | {"broken": broken}, "strings": strings.texts}

    def find(self, text: str, *, where: str = "", limit: int = 50) -> dict[str, Any]:
        """Find units by a text at their extremes: the more of them have it, the earlier.

        Parameters
        ----------
        text : str
            A part of a word, or several words; small and large letters are one.
        where : str
            Only among units that meet this, as in `units`.
        limit : int
            How many units.

        Returns
        -------
        dict
            ``total`` and ``rows`` as `units`, each with ``share``, the part of its highest samples
            at which the text ends.
        """
        shares = np.where(self.meeting(where), self.texts.shares(text), 0)
        found = np.flatnonzero(shares)
        best = found[np.argsort(-shares[found], kind="stable")[: min(limit, MOST)]]
        told = _records(self.table.iloc[best], best)
        for line in told:
            line["share"] = round(float(shares[line["row"]]), 3)
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
        return [str(unit) for unit in self.table["unit"][self.meeting(where)]]

    def _listed(self, where: str, sort: str, descending: bool) -> np.ndarray[Any, Any]:
        """Return the rows of the units that meet the conditions, sorted."""
        found = np.flatnonzero(self.meeting(where))
        if not sort:
            return found
        require_known("column", sort, list(map(str, self.table)))
        keys = self.table[sort].iloc[found].reset_index(drop=True)
        return found[keys.sort_values(ascending=not descending, kind="stable").index]

    def meeting(self, where: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which units meet a condition.

        Parameters
        ----------
        where : str
            As in `units`.

        Returns
        -------
        array of bool, shape (n_units,)
            In the order of the atlas.
        """
        kept = np.ones(len(self.table), dtype=bool)
        for condition in conditions(where):
            name = ALSO.get(condition.column, condition.column)
            if name in self.table:
                kept &= meets(self.table[name], condition)
            elif name in BESIDES:
                kept &= self._beside(condition)
            else:
                require_known("column", name, [*map(str, self.table), *BESIDES, *ALSO])
        return kept

    def _beside(self, condition: Condition) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which units meet a condition on sets, notes or the texts they are high at."""
        name, operator, value, _ = condition
        if name == "text":
            if operator != "~":
                raise NisslError("a text is looked for", where=operator, do="use text ~ words")
            return self.texts.shares(value) > 0
        if name == "set":
            sets = self.atlas.notes.sets
            if operator not in ("=", "!="):
                raise NisslError("a set is named whole", where=operator, do="use set = NAME")
            require_known("set", value, list(sets))
            there = self.table["unit"].isin(sets[value]).to_numpy(bool)
            return there if operator == "=" else ~there
        notes = self.table["unit"].map(self.atlas.notes.notes).fillna("").rename("note")
        return meets(notes, condition)


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
