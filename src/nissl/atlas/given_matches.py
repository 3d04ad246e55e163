"""Pairs of units that somebody matched: a Finding, or a table with two columns of addresses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.statistics import Finding, load_finding

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GivenMatches", "given_matches"]

#: What is kept of a Finding besides its pairs and its score.
TOLD = ("sign", "mutual", "effect", "null_mean", "p", "q")


@dataclass(frozen=True)
class GivenMatches:
    """Pairs of rows of two tables of units, and what was said of each.

    Parameters
    ----------
    rows, partners : array of int, shape (n_pairs,)
        Rows of the first and of the second.
    said : DataFrame, n_pairs rows
        Score, effect, p and q, as far as they were given.
    score, null : str
        What the score and its null are called; empty and "none" where there is none.
    note : str
        What was left out.
    """

    rows: NDArray[np.int64]
    partners: NDArray[np.int64]
    said: pd.DataFrame
    score: str
    null: str
    note: str


def given_matches(
    matches: Finding | pd.DataFrame | str | Path, a: pd.Series, b: pd.Series
) -> GivenMatches:
    """Look up the units of matches.

    Parameters
    ----------
    matches : Finding, DataFrame or path
        What `nissl.alignment.match` returned, or its file; or a table with the columns ``unit``
        and ``partner``, or with two columns of words, or its file (parquet or CSV).
    a, b : Series of str
        Addresses of the units of either atlas.

    Returns
    -------
    GivenMatches
        Pairs of which both units are there. Of a table with the column ``mutual``, those that are.

    Raises
    ------
    NisslError
        The file cannot be read, the table has no two columns of addresses, or no pair is of these
        atlases.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unit": ["a[0]", "a[1]"], "partner": ["b[1]", "b[7]"]})
    >>> found = given_matches(table, pd.Series(["a[0]", "a[1]"]), pd.Series(["b[0]", "b[1]"]))
    >>> found.rows.tolist(), found.partners.tolist(), found.note
    ([0], [1], '1 pair names units that are not in the atlases')
    """
    where = str(matches) if isinstance(matches, (str, Path)) else "matches"
    found = _read(Path(matches)) if isinstance(matches, (str, Path)) else matches
    table, score, null = (
        (found.table, found.score, found.null)
        if isinstance(found, Finding)
        else (found, "", "none")
    )
    table, said = table.reset_index(drop=True), []
    if "mutual" in table:
        kept = table["mutual"].astype(bool)
        if not kept.all():
            said.append(f"{_pairs(int((~kept).sum()))} not mutual")
        table = table[kept]
    first, second = _columns(table, where)
    lines = [_looked_up(a, b, table[first], table[second])]
    lines.append(_looked_up(a, b, table[second], table[first]))  # matched the other way round
    rows, partners = max(lines, key=lambda pair: int((pair >= 0).all(0).sum()))
    there = (rows >= 0) & (partners >= 0)
    if not there.any():
        raise NisslError(
            f"no pair of the matches names a unit of each atlas: {table[first].iloc[0]!r} with "
            f"{table[second].iloc[0]!r}"
            if len(table)
            else "there are no matches",
            where=where,
            do=f"give addresses such as {a.iloc[0]!r} and {b.iloc[0]!r}",
        )
    named = (table[second] != "").to_numpy()  # of units without a partner there is no pair
    absent = int((~there & named).sum())
    if absent:
        names = "names" if absent == 1 else "name"
        said.append(f"{_pairs(absent)} {names} units that are not in the atlases")
    score = score if score in table and table[score].dtype.kind in "fi" else ""
    kept_columns = [c for c in dict.fromkeys((score, *TOLD)) if c and c in table]
    told = table.loc[there, kept_columns].reset_index(drop=True)
    return GivenMatches(rows[there], partners[there], told, score, null, "; ".join(said))


def _looked_up(a: pd.Series, b: pd.Series, first: pd.Series, second: pd.Series) -> Any:
    import pandas as pd

    return np.stack([pd.Index(x).get_indexer(y.astype(str)) for x, y in ((a, first), (b, second))])


def _columns(table: pd.DataFrame, where: str) -> tuple[str, str]:
    """Return the two columns of addresses."""
    if {"unit", "partner"} <= set(table.columns):
        return "unit", "partner"
    words = [str(c) for c in table if table[c].dtype.kind in "OUT"]
    if len(words) != 2:
        raise NisslError(
            f"the matches have {len(words)} columns of words: {', '.join(words) or 'none'}",
            where=where,
            do="name the two columns of addresses `unit` and `partner`",
        )
    return words[0], words[1]


def _read(path: Path) -> Finding | pd.DataFrame:
    import pandas as pd

    if not path.exists():
        raise NisslError(
            "there is no such file",
            where=str(path),
            do="save what `nissl.alignment.match` returns with .save(PATH)",
        )
    try:
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path)
        try:
            return load_finding(path)
        except NisslError:
            return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise NisslError(
            f"the matches cannot be read: {error}", where=str(path), do="give parquet or CSV"
        ) from error


def _pairs(n: int) -> str:
    return f"{n:,} pair{'' if n == 1 else 's'}"
