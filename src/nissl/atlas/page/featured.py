"""Which units the page tells about in full: those with the largest effect of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["effect_size", "featured_units"]

#: By what the units of a kind are ordered, and how often one reason may come among the first.
STRENGTH = {
    "token": ("token_effect", "token"),
    "bigram": ("bigram_effect", "bigram"),
    "language": ("language_effect", "language"),
    "positional": ("position_share", None),
    "unexplained": ("kurtosis", None),
    "untested": ("kurtosis", None),
}
SAME_REASON = 2
SHARES = {"token": 0.34, "bigram": 0.2, "language": 0.14, "positional": 0.1, "dead": 0.04}


def effect_size(units: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Return the size of the effect by which the kind of each unit was decided.

    Parameters
    ----------
    units : DataFrame, n_units rows
        The table ``units.parquet``.

    Returns
    -------
    array, shape (n_units,)
        The size of the effect by which its kind was decided; for a tuned unit the column
        ``tuning_effect`` where there is one; minus infinity where it has none.

    Examples
    --------
    >>> import pandas as pd
    >>> effect_size(pd.DataFrame({"kind": ["token", "dead"], "token_effect": [4.0, 9.0]})).tolist()
    [4.0, -inf]
    """
    found = np.full(len(units), -np.inf)
    kinds = units["kind"].to_numpy().astype(str)
    columns = {kind: column for kind, (column, _) in STRENGTH.items()} | {"tuned": "tuning_effect"}
    for kind, column in columns.items():
        if column in units:
            values = units[column].to_numpy(dtype=float)
            found = np.where((kinds == kind) & np.isfinite(values), np.abs(values), found)
    return found


def featured_units(units: pd.DataFrame, *, n: int = 320) -> list[int]:
    """Choose the units that get a card, the largest effects first.

    Parameters
    ----------
    units : DataFrame, n_units rows
        The table ``units.parquet``.
    n : int
        How many to choose, about; all where there are not more.

    Returns
    -------
    list of int
        Rows of the table. Kinds take turns; inside a kind the strongest come first, but at most
        two for the same reason (token, pair, language, label) before all others had their turn.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"kind": ["token"] * 3, "token": ["a"] * 3,
    ...                       "token_effect": [1.0, 3.0, 2.0]})
    >>> featured_units(table)
    [1, 2, 0]
    """
    score = effect_size(units)
    kinds = units["kind"].to_numpy().astype(str)
    queues = {}
    for kind in dict.fromkeys(kinds):
        rows = np.flatnonzero(kinds == kind)
        rows = rows[np.argsort(-score[rows], kind="stable")]
        share = n if len(units) <= n else max(8, int(n * SHARES.get(kind, 0.16)))
        queues[kind] = _varied(units, rows, kind)[:share]
    order = [kind for kind in (*STRENGTH, "tuned", *queues) if kind in queues]
    longest = max((len(q) for q in queues.values()), default=0)
    turns = (
        queues[k][i] for i in range(longest) for k in dict.fromkeys(order) if i < len(queues[k])
    )
    return [int(row) for row in turns]


def _varied(units: pd.DataFrame, rows: np.ndarray[Any, Any], kind: str) -> list[int]:
    """Put those that repeat a reason behind the others, order kept."""
    reasons = _reasons(units, rows, kind)
    if reasons is None:
        return list(rows)
    seen: dict[str, int] = {}
    first: list[int] = []
    later: list[int] = []
    for row, text in zip(rows, reasons, strict=True):
        key = text.strip().casefold()
        seen[key] = seen.get(key, 0) + 1
        (first if seen[key] <= SAME_REASON else later).append(row)
    return first + later


def _reasons(units: pd.DataFrame, rows: np.ndarray[Any, Any], kind: str) -> list[str] | None:
    """Say what each unit prefers: a token, or a level of the coordinate it is tuned to."""
    if kind == "tuned" and "tuned_to" in units:
        told = units.iloc[rows]
        levels = [
            told[f"{name}_preferred"].iloc[i] if f"{name}_preferred" in told else i
            for i, name in enumerate(told["tuned_to"])
        ]
        return [f"{name} {level}" for name, level in zip(told["tuned_to"], levels, strict=True)]
    reason = STRENGTH.get(kind, ("", None))[1]
    if reason is None or reason not in units:
        return None
    return [str(text) for text in units[reason].to_numpy()[rows]]
