"""Pictures of connectivity: the matrix in an order of units, and the graph on a circle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_graph", "draw_matrix"]

MOST = 150  # edges that are drawn: more cannot be told apart
COLOURS = ("#b2182b", "#2166ac")  # above and below zero: the ends of the figures' scale


def draw_matrix(found: Any, places: NDArray[np.int64], q: float) -> Figure:
    """Draw the mean matrix; of tested pairs the lower half holds what was found."""
    import pandas as pd

    from nissl.statistics.figure import heatmap, panels

    values = found.mean.copy()
    np.fill_diagonal(values, np.nan)
    values = values[np.ix_(places, places)]
    half = "q" in found.edges.table and not found.directed
    if half:
        lost = np.tril(~(found.p[np.ix_(places, places)] <= q))
        values[lost] = np.nan
    names = found.units["unit"].to_numpy()[places]
    figure, (axes,) = panels(1, size=6)
    heatmap(pd.DataFrame(values, index=names, columns=names), label=found.measure, axes=axes)
    axes.set_title(repr(found) + (f"; below the diagonal: q <= {q}" if half else ""), fontsize=9)
    axes.set(xlabel="to" if found.directed else "", ylabel="from" if found.directed else "")
    return figure


def draw_graph(found: Any, places: NDArray[np.int64], q: float) -> Figure:
    """Draw units on a circle, joined by the largest edges that were found."""
    from matplotlib.patches import FancyArrowPatch

    from nissl.statistics.figure import COLOURS as GROUPS
    from nissl.statistics.figure import panels

    names = found.units["unit"].to_numpy()[places]
    angle = 2 * np.pi * np.arange(len(names)) / len(names)
    place = dict(zip(names, np.stack([np.cos(angle), np.sin(angle)], axis=1), strict=True))
    every = list(found.graph(q).edges(data="weight"))
    edges = sorted(every, key=lambda edge: -abs(edge[2]))[:MOST]
    figure, (axes,) = panels(1, size=6)
    largest = max((abs(weight) for *_, weight in edges), default=1.0)
    for a, b, weight in edges:
        line: dict[str, Any] = {"linewidth": 0.2 + 3 * abs(weight) / largest, "alpha": 0.5}
        style = "-|>" if found.directed else "-"
        axes.add_patch(
            FancyArrowPatch(
                place[a],
                place[b],
                arrowstyle=style,
                mutation_scale=8,
                connectionstyle="arc3,rad=0.15",
                color=COLOURS[int(weight < 0)],
                **line,
            )
        )
    region = found.units["region"].to_numpy()[places] if "region" in found.units else names
    colour = {r: GROUPS[k % len(GROUPS)] for k, r in enumerate(dict.fromkeys(region))}
    xy = np.array(list(place.values()))
    single = len(colour) == len(names)
    axes.scatter(*xy.T, s=20, zorder=3, color=GROUPS[0] if single else [colour[r] for r in region])
    if len(names) <= 120:
        for name, (x, y), turn in zip(names, xy, np.degrees(angle), strict=True):
            left = 90 < turn < 270
            axes.text(
                1.05 * x,
                1.05 * y,
                name,
                rotation=turn + 180 * left,
                rotation_mode="anchor",
                ha="right" if left else "left",
                va="center",
                fontsize=6,
            )
    axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
    axes.axis("off")
    said = (
        f"{len(edges)} of {len(every)} edges" if len(edges) < len(every) else f"{len(every)} edges"
    )
    axes.set_title(f"{found!r}; {said}", fontsize=9)
    return figure
