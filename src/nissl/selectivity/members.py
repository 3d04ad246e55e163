"""Which units belong to which labels, where a unit may belong to several."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nissl.statistics import Finding

__all__ = ["joined", "members"]

SEPARATOR = "; "


def joined(kinds: list[str], belongs: NDArray[np.bool_]) -> list[str]:
    """Return the names of the labels that each unit belongs to, as in "french; spanish"."""
    return [SEPARATOR.join(k for k, b in zip(kinds, row, strict=True) if b) for row in belongs.T]


def members(
    found: Finding, *, kinds: tuple[str, ...], n: int | None = None
) -> dict[str, list[str]]:
    """Return the units that belong to each label.

    Parameters
    ----------
    found : Finding
        With columns ``kind`` and ``labels``.
    kinds : tuple of str
        Which kinds of unit: ``("specific", "related")``.
    n : int, optional
        The most specific of each label, so many at most.

    Returns
    -------
    dict of str to list of str
        Addresses by label, most specific first; labels without units are left out.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unit": ["a", "b"], "specificity": [0.5, 0.9],
    ...                       "kind": ["related", "specific"], "labels": ["x; y", "x"]})
    >>> members(Finding(table, "m", "none"), kinds=("specific", "related"))
    {'x': ['b', 'a'], 'y': ['a']}
    """
    table = found.table[found.table["kind"].isin(kinds)]
    table = table.sort_values(found.score, ascending=False, kind="stable")
    units: dict[str, list[str]] = {}
    for unit, names in zip(table["unit"], table["labels"], strict=True):
        for name in names.split(SEPARATOR):
            units.setdefault(name, []).append(str(unit))
    # A finding with a row for each unit and label names a unit more than once.
    return {name: list(dict.fromkeys(units[name]))[:n] for name in sorted(units)}
