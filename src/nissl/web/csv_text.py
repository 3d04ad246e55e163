"""Tables as comma-separated values in which nothing is a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_csv"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a formula of a spreadsheet begins


def as_csv(table: pd.DataFrame) -> str:
    """Write a table as comma-separated values.

    Parameters
    ----------
    table : DataFrame
        Columns of numbers and of words.

    Returns
    -------
    str
        A line of names, and a line for each row. A word that a spreadsheet would take for a formula
        (``=``, ``+``, ``-`` or ``@`` comes first) has an apostrophe before it.

    Examples
    --------
    >>> import pandas as pd
    >>> as_csv(pd.DataFrame({"token": ["=1+1", "a"], "mean": [-1.0, 2.0]})).splitlines()
    ['token,mean', "'=1+1,-1.0", 'a,2.0']
    """
    told = table.copy()
    for name in told:
        if told[name].dtype.kind not in "iufb":
            words = told[name].astype("string").fillna("")
            told[name] = words.where(~words.str.startswith(FORMULA), "'" + words)
    return str(told.to_csv(index=False))
