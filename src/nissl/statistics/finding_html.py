"""A Finding as notebooks show it: its highest rows beside their null, and a table with q."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.pictures import html, plain_table, plain_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["finding_html"]

DRAWN = ("null_mean", "null_sd", "q")


def finding_html(
    top: pd.DataFrame,
    score: str,
    *,
    title: str,
    n_rows: int,
    about: Mapping[str, Any],
    one_a_unit: bool = False,
) -> str:
    """Draw the highest rows of a finding.

    Parameters
    ----------
    top : DataFrame
        The rows that are shown, best first.
    score : str
        The column of the score.
    title : str
        What the finding is.
    n_rows : int
        How many rows it has in all.
    about : mapping
        Where it came from.
    one_a_unit : bool
        No unit has two rows, so that its address names its row.

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unit": ["a"], "auroc": [0.9], "null_mean": [0.5], "q": [0.01]})
    >>> drawn = finding_html(table, "auroc", title="Finding", n_rows=1, about={})
    >>> "<td>0.9</td>" in drawn
    True
    """
    top = top[[c for c in top if not _is_said(top, str(c), about)]]
    columns = [str(c) for c in top]
    words = [c for c in columns if c == "unit" or (not one_a_unit and _is_label(top, c))]
    rows = [
        {
            "name": ", ".join(str(line[c]) for c in words),
            "value": _number(line[score]),
            **{
                k: _number(line[n])
                for k, n in zip(("mean", "sd", "q"), DRAWN, strict=True)
                if n in line
            },
        }
        for line in top.to_dict("records")
    ]
    cells = [[_plain(value) for value in line] for line in top.itertuples(index=False, name=None)]
    told = [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in about.items()]
    left = f"the highest {len(top):,} of {n_rows:,} rows" if n_rows > len(top) else ""
    says = ", ".join([left] * bool(left) + told)
    data: dict[str, Any] = {
        "title": title,
        "says": says,
        "score": score.replace("_", " "),
        "rows": rows,
    }
    data |= {"columns": [c.replace("_", " ") for c in columns], "cells": cells}
    plain = f"<p>{plain_text(title, says)}</p>{plain_table(columns, cells)}"
    return html("finding", data, plain=plain, title=title)


def _is_said(top: pd.DataFrame, column: str, about: Mapping[str, Any]) -> bool:
    """Tell a column that only repeats which tail the test had, or holds no note."""
    return column in ("tail", "note") and set(top[column]) <= {"", about.get("tail")}


def _is_label(table: pd.DataFrame, column: str) -> bool:
    """Tell a column that says which row of a unit it is: words or whole numbers, not all alike."""
    if column in ("site", "layer", "index", "rank", "tail", "note", "region"):
        return False
    kind = table[column].dtype.kind
    return kind not in "fcb" and table[column].nunique() > 1 and not column.startswith("n_")


def _number(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _plain(value: Any) -> str | int | float | None:
    """Return what JSON knows."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return int(value)
    return _number(value) if isinstance(value, float | np.floating) else str(value)
