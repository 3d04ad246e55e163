"""Columns that a table must have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nissl.errors import UnknownName

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["require_columns"]


def require_columns(table: pd.DataFrame, needed: Iterable[str]) -> None:
    """Refuse a table that lacks a column.

    Parameters
    ----------
    table : DataFrame
        The table.
    needed : iterable of str
        Names of columns.

    Raises
    ------
    UnknownName
        One is not there; it comes with the nearest that are.

    Examples
    --------
    >>> import pandas as pd
    >>> require_columns(pd.DataFrame({"text": ["a"]}), ("text",))
    """
    for name in needed:
        if name not in table.columns:
            raise UnknownName("column", name, [str(c) for c in table.columns])
