"""Pictures of tuning curves: polar, lines and maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.errors import UnknownName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["tuning_figure"]

BAND, LINE = "#e2e8f0", "#2f5d8a"


def tuning_figure(tuned: Any, units: Sequence[str]) -> Figure:
    """Draw one panel a cell, in Hz, over the band of the null; `tuned` is a Tuning."""
    import matplotlib.pyplot as plt

    table = tuned.finding.table.set_index("unit")
    for name in units:
        if name not in table.index:
            raise UnknownName("unit", name, table.index.tolist())
    polar = len(tuned.to) == 1 and bool(tuned.period[0])
    n_columns = min(len(units), 3)
    n_rows = -(-len(units) // n_columns)
    figure, grid = plt.subplots(
        n_rows,
        n_columns,
        figsize=(3.2 * n_columns, 3.2 * n_rows),
        layout="constrained",
        squeeze=False,
        subplot_kw={"projection": "polar"} if polar else {},
    )
    for axes in grid.flat[len(units) :]:
        axes.remove()
    for axes, name in zip(grid.flat, units, strict=False):
        row = table.index.get_loc(name)
        band = None if tuned.null_band is None else tuned.null_band[:, row]
        if len(tuned.to) == 2:
            _map(axes, tuned, tuned.curves[row])
        else:
            _line(axes, tuned, tuned.curves[row], band, polar)
        said = f"{name}: {table[tuned.finding.score].iloc[row]:.2f} bits per spike"
        q = f"\nq = {table['q'].iloc[row]:.2g}" if "q" in table else ""
        axes.set_title(said + q, fontsize=9)
    return figure


def _line(axes: Any, tuned: Any, curve: Any, band: Any, polar: bool) -> None:
    """Draw a curve of one coordinate; around a circle it closes."""
    at = tuned.bins[0]
    if polar:
        turn = np.r_[np.arange(len(at)), 0]
        at, curve = at[turn] * 2 * np.pi / tuned.period[0], curve[turn]
        band = None if band is None else band[:, turn]
        axes.set_rlabel_position(90)
        axes.yaxis.set_major_locator(_few())
    else:
        axes.set(xlabel=tuned.to[0], ylabel="Hz")
        axes.spines[["top", "right"]].set_visible(False)
    if band is not None:
        axes.fill_between(at, *band, color=BAND, linewidth=0)
    axes.plot(at, curve, color=LINE, linewidth=1.5)
    axes.set_ylim(bottom=0)


def _map(axes: Any, tuned: Any, curve: Any) -> None:
    """Draw a map of two coordinates; what was not visited is left white."""
    image = axes.pcolormesh(*tuned.bins, curve.T, shading="nearest", vmin=0, rasterized=True)
    axes.set(xlabel=tuned.to[0], ylabel=tuned.to[1], aspect="equal")
    axes.figure.colorbar(image, ax=axes, label="Hz")


def _few() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(2)
