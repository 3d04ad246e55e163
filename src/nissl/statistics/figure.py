"""The picture of a Finding: ranked effects over their null band, and effects by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nissl.statistics.finding import Finding

__all__ = ["draw_finding"]

_FOUND, _REST, _BAND = "#c2410c", "#94a3b8", "#e2e8f0"


def draw_finding(finding: Finding, *, q: float = 0.05) -> Figure:
    """Draw ranked effects with their null band, and by layer where the layer is known.

    Parameters
    ----------
    finding : Finding
        What was found.
    q : float
        Rows with a corrected p of at most this are coloured.

    Returns
    -------
    matplotlib Figure
        One panel, or two where the table has a column ``layer``; on no screen until shown.

    Examples
    --------
    >>> import pandas as pd
    >>> from nissl.statistics.finding import Finding
    >>> table = pd.DataFrame({"unit": ["a", "b"], "r": [0.5, 0.1]})
    >>> found = Finding(table, method="m", null="none")
    >>> len(draw_finding(found).axes)
    1
    """
    from matplotlib.figure import Figure

    table = finding.table
    layered = "layer" in table and len(table) > 0
    figure = Figure(figsize=(10 if layered else 5.5, 3.6), layout="constrained")
    axes = figure.subplots(1, 2 if layered else 1, squeeze=False)[0]
    name = "effect" if "effect" in table else finding.score
    effect = np.asarray(table[name], dtype=float)
    found = np.asarray(table["q"]) <= q if "q" in table else np.zeros(len(table), dtype=bool)
    _ranked(axes[0], finding, effect, found)
    axes[0].set_ylabel(f"{finding.score}, above its null" if name == "effect" else finding.score)
    if layered:
        layer = np.asarray(table["layer"], dtype=float)
        # Spread by rank inside the layer, so that the picture is the same at every drawing.
        spread = (np.argsort(np.argsort(effect)) * 0.618) % 1 - 0.5
        axes[1].scatter(layer + 0.7 * spread, effect, s=4, color=_REST, rasterized=True)
        axes[1].scatter((layer + 0.7 * spread)[found], effect[found], s=7, color=_FOUND)
        axes[1].set_xlabel("layer")
    figure.suptitle(repr(finding), fontsize=9)
    return figure


def _ranked(ax: Axes, finding: Finding, effect: NDArray[Any], found: NDArray[Any]) -> None:
    order = np.argsort(-effect, kind="stable")
    rank = np.arange(1, len(order) + 1)
    if "null_sd" in finding.table:
        band = 1.96 * np.asarray(finding.table["null_sd"], dtype=float)[order]
        ax.fill_between(rank, -band, band, color=_BAND, label="95% of the null", linewidth=0)
    ax.scatter(rank, effect[order], s=5, color=_REST, rasterized=True)
    if found.any():
        hits = found[order]
        ax.scatter(
            rank[hits], effect[order][hits], s=9, color=_FOUND, label=f"{found.sum():,} found"
        )
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=8)
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set_xlabel("rank")
