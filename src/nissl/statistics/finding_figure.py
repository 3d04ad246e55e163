"""The figure of a finding's table: which columns each kind of figure draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.address import read
from nissl.errors import NisslError, UnknownName, require_known
from nissl.statistics import figure as draw
from nissl.statistics.topography import topography

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["KINDS", "finding_figure"]

KINDS = ("effects", "layers", "bars", "curve", "heatmap", "topography")
# What a heatmap is over where nothing is said: the first pair of which both are there.
PAIRS = (("head", "layer"), ("layer", "position"), ("unit", "label"), ("index", "layer"))


def finding_figure(
    table: pd.DataFrame,
    score: str,
    *,
    kind: str = "effects",
    by: str | tuple[str, str] | None = None,
    value: str | None = None,
    q: float = 0.05,
    axes: Axes | None = None,
    title: str = "",
) -> Figure:
    """Draw a finding's table.

    Parameters
    ----------
    table : DataFrame
        As of a Finding. Layers and heads that no column says are read from the addresses.
    score : str
        Its score's column.
    kind, by, value, q, axes
        As of `Finding.plot`.
    title : str
        Above a figure that is made.

    Returns
    -------
    matplotlib Figure
        That of the axes, or a new one.

    Raises
    ------
    UnknownName
        There is no such kind or column.
    NisslError
        The table has no columns that a heatmap or a curve could be over.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unit": ["a", "b"], "r": [0.5, 0.1]})
    >>> len(finding_figure(table, "r").axes)
    1
    """
    from matplotlib.figure import Figure

    require_known("kind of figure", kind, KINDS)
    table = _placed(table)
    names = (by,) if isinstance(by, str) else tuple(by or ())
    if kind == "layers" and not names:
        names = ("layer",)
    for name in (*names, *([value] if value else [])):
        if name not in table:
            raise UnknownName("column", name, [str(c) for c in table.columns])
    if axes is not None:
        _DRAWN[kind](table, score, names, value, q, axes)
        return axes.get_figure(root=True) or Figure()
    # Minus one, or nothing, stands for what lies in no layer.
    both = kind == "effects" and "layer" in table and bool((table["layer"] >= 0).any())
    kinds = ["effects", "layers"] if both else [kind]
    figure = Figure(figsize=(1 + 4.5 * len(kinds), 3.6), layout="constrained")
    for one, own in zip(kinds, figure.subplots(1, len(kinds), squeeze=False)[0], strict=True):
        _DRAWN[one](table, score, names, value, q, own)
    figure.suptitle(title, fontsize=9)
    return figure


def _placed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the layer and the head of each row that its address says."""
    missing = [name for name in ("layer", "head") if name not in table]
    if not missing:
        return table
    addresses = read(table["unit"])
    for name in missing:
        # An edge has two heads, of which neither is its place.
        told = [
            None if name == "head" and a and a.target else getattr(a, name, None) for a in addresses
        ]
        if any(value is not None for value in told):
            whole = None not in told
            table = table.assign(**{name: np.asarray(told, dtype=int if whole else float)})
    return table


def _effects(
    table: pd.DataFrame, score: str, by: tuple[str, ...], value: str | None, q: float, axes: Axes
) -> None:
    name = value or _effect(table, score)
    band = table["null_sd"] if name == "effect" and "null_sd" in table else None
    draw.ranked(table[name], null_sd=band, found=_found(table, q), axes=axes)
    axes.set_ylabel(f"{score}, above its null" if name == "effect" else name)


def _layers(
    table: pd.DataFrame, score: str, by: tuple[str, ...], value: str | None, q: float, axes: Axes
) -> None:
    name, layer = value or _effect(table, score), table[by[0] if by else "layer"]
    if layer.name == "layer" and (layer >= 0).any():
        table, layer = table[layer >= 0], layer[layer >= 0]
    draw.by_layer(table[name], layer, found=_found(table, q), axes=axes)
    axes.set_ylabel(f"{score}, above its null" if name == "effect" else name)


def _bars(
    table: pd.DataFrame, score: str, by: tuple[str, ...], value: str | None, q: float, axes: Axes
) -> None:
    """Draw a bar for each row: of units or labels, or of each label of each unit, side by side."""
    if not by:
        by = ("unit", "label") if _varies(table, "unit") and _varies(table, "label") else ("unit",)
        by = ("label",) if not _varies(table, "unit") and _varies(table, "label") else by
    name = value or score
    nulls = [n if n in table and name == score else None for n in ("null_mean", "null_sd")]
    heights = _wide(table, name, by)
    null, null_sd = (n and _wide(table, n, by) for n in nulls)
    found = _found(table, q)
    if found is not None:
        found = _wide(table.assign(_found=found), "_found", by).to_numpy(dtype=float) == 1
    draw.bar(heights, null=null, null_sd=null_sd, found=found, axes=axes)
    axes.set_ylabel(name)


def _curve(
    table: pd.DataFrame, score: str, by: tuple[str, ...], value: str | None, q: float, axes: Axes
) -> None:
    """Draw the mean over rows of one place, a line for each label; rows' middle 90% as a band."""
    over = by[:1] or tuple(n for n in ("layer", "position") if n in table)[:1]
    if not over:
        raise NisslError("there is nothing that a curve could go over", do="give by=, a column")
    lines = by[1:] or (("label",) if _varies(table, "label") else ())
    name, several = value or score, table.duplicated([*over, *lines]).any()
    rows = table.groupby([*over, *lines], sort=True)[name]
    low, middle, high = (
        (made.unstack() if lines else made)
        for made in (rows.quantile(0.05), rows.mean(), rows.quantile(0.95))
    )
    null = null_sd = None
    if name == score and "null_mean" in table:
        null = table.groupby(over[0])["null_mean"].mean()
        null_sd = None if several or lines else table.groupby(over[0])["null_sd"].mean()
    interval = (low, high) if several else None
    draw.curve(middle, interval=interval, null=null, null_sd=null_sd, axes=axes)
    axes.set(xlabel=over[0], ylabel=name)


def _heatmap(
    table: pd.DataFrame, score: str, by: tuple[str, ...], value: str | None, q: float, axes: Axes
) -> None:
    pair = by if len(by) == 2 else next((p for p in PAIRS if set(p) <= set(table)), None)
    if pair is None:
        raise NisslError("there are no two columns for a heatmap", do="give by=(row, column)")
    name, found = value or _effect(table, score), _found(table, q)
    matrix, marks = _wide(table, name, pair), None
    if found is not None:
        marks = _wide(table.assign(_found=found), "_found", pair).to_numpy(dtype=float) == 1
    label = f"{score}, above its null" if name == "effect" else name
    draw.heatmap(matrix, label=label, numbers=matrix.size <= 64, found=marks, axes=axes)


def _topography(
    table: pd.DataFrame, score: str, by: tuple[str, ...], value: str | None, q: float, axes: Axes
) -> None:
    if table["unit"].duplicated().any():
        raise NisslError("sensors have several rows", do="take those of one label")
    name = value or _effect(table, score)
    label = f"{score}, above its null" if name == "effect" else name
    topography(table[name], table, found=_found(table, q), label=label, axes=axes)


_DRAWN = dict(zip(KINDS, (_effects, _layers, _bars, _curve, _heatmap, _topography), strict=True))


def _effect(table: pd.DataFrame, score: str) -> str:
    return "effect" if "effect" in table else score


def _varies(table: pd.DataFrame, name: str) -> bool:
    return name in table and bool(table[name].nunique() > 1)


def _wide(table: pd.DataFrame, name: str, by: tuple[str, ...]) -> Any:
    """Return a column as bars, or as rows by columns, in the order of the table."""
    if len(by) == 1:
        return table.groupby(by[0], sort=False)[name].mean()
    rows, columns = (table[n].unique() for n in by)
    wide = table.pivot_table(index=by[0], columns=by[1], values=name, aggfunc="mean", sort=False)
    number = [np.sort(k) if np.asarray(k).dtype.kind in "iuf" else k for k in (rows, columns)]
    return wide.reindex(index=number[0], columns=number[1])


def _found(table: pd.DataFrame, q: float) -> Any:
    """Return which rows are found: by the corrected p, or by p where there is none."""
    name = next((n for n in ("q", "p") if n in table), None)
    return None if name is None else np.asarray(table[name], dtype=float) <= q
