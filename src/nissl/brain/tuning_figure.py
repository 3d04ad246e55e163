"""Pictures of tuning curves: polar, lines and maps, a panel a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.errors import UnknownName
from nissl.statistics.figure import BAND, COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_curves"]


def draw_curves(tuned: Any, units: list[str]) -> Figure:
    """Draw the curves of some cells over the band of the null."""
    import matplotlib.pyplot as plt

    table = tuned.finding.table.set_index("unit")
    for name in units:
        if name not in table.index:
            raise UnknownName("unit", name, table.index.tolist())
    rows, columns = -(-len(units) // 3), min(len(units), 3)
    figure = plt.figure(figsize=(3.2 * columns, 3.2 * rows), layout="constrained")
    polar = len(tuned.to) == 1 and bool(tuned.period[0])
    for place, name in enumerate(units, 1):
        axes = figure.add_subplot(rows, columns, place, projection="polar" if polar else None)
        cell = table.index.get_loc(name)
        if len(tuned.to) == 2:
            image = axes.pcolormesh(
                *tuned.bins, tuned.curves[cell].T, shading="nearest", vmin=0, rasterized=True
            )
            axes.set(xlabel=tuned.to[0], ylabel=tuned.to[1], aspect="equal")
            figure.colorbar(image, ax=axes, label="Hz")
        else:
            _line(axes, tuned, cell, polar)
        said = f"{name}: {table[tuned.finding.score].iloc[cell]:.2f} bits per spike"
        q = f"\nq = {table['q'].iloc[cell]:.2g}" if "q" in table else ""
        axes.set_title(said + q, fontsize=9)
    return figure


def _line(axes: Any, tuned: Any, cell: int, polar: bool) -> None:
    """Draw a curve of one coordinate; around a circle it closes."""
    from matplotlib.ticker import MaxNLocator

    at, turn = tuned.bins[0], np.arange(len(tuned.bins[0]))
    if polar:
        at, turn = at * 2 * np.pi / tuned.period[0], np.append(turn, 0)
        axes.set_rlabel_position(90)
        axes.yaxis.set_major_locator(MaxNLocator(2))
    else:
        axes.set(xlabel=tuned.to[0], ylabel="Hz")
        axes.spines[["top", "right"]].set_visible(False)
    if tuned.null_band is not None:
        axes.fill_between(at[turn], *tuned.null_band[:, cell, turn], color=BAND, linewidth=0)
    axes.plot(at[turn], tuned.curves[cell, turn], color=COLOURS[0], linewidth=1.5)
    axes.set_ylim(bottom=0)
