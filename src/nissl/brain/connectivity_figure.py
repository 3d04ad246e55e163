"""Pictures of connectivity: the matrix in an order of units, and the graph on a circle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.columns import require_columns
from nissl.statistics.figure import COLOURS, heatmap, panels
from nissl.statistics.nulls import codes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_graph", "draw_matrix"]

MOST = 150  # edges that are drawn: more cannot be told apart


def draw_matrix(found: Any, order: str | None, q: float) -> Figure:
    """Draw the mean matrix; of tested pairs the lower half holds what was found."""
    import pandas as pd

    places = _places(found, order)
    values = found.mean[np.ix_(places, places)]
    np.fill_diagonal(values, np.nan)
    half = "q" in found.edges.table and not found.directed
    if half:
        values[np.tril(~(found.p[np.ix_(places, places)] <= q))] = np.nan
    names = found.units["unit"].to_numpy()[places]
    figure, (axes,) = panels(1, size=6)
    heatmap(pd.DataFrame(values, index=names, columns=names), label=found.measure, axes=axes)
    axes.set_title(f"{found!r}{f'; below the diagonal: q <= {q}' if half else ''}", fontsize=9)
    if found.directed:
        axes.set(xlabel="to", ylabel="from")
    return figure


def draw_graph(found: Any, order: str | None, q: float) -> Figure:
    """Draw units on a circle, joined by the largest edges that were found."""
    import networkx  # type: ignore[import-untyped]

    units, graph = found.units.iloc[_places(found, order)], found.graph(q)
    names = list(units["unit"])
    edges = sorted(graph.edges(data="weight"), key=lambda edge: -abs(edge[2]))[:MOST]
    weight = np.array([w for *_, w in edges])
    region = codes(units["region"].astype(str)) if "region" in units else np.zeros(len(units), int)
    place = networkx.circular_layout(names)
    nodes: dict[str, Any] = {"nodelist": names, "node_size": 30, "with_labels": False}
    nodes["node_color"] = [COLOURS[k % len(COLOURS)] for k in region]
    lines: dict[str, Any] = {"arrows": True, "connectionstyle": "arc3,rad=0.15", "alpha": 0.6}
    lines["edge_color"] = np.where(weight < 0, "#2166ac", "#b2182b")  # as in heatmaps
    lines["width"] = 0.2 + 3 * np.abs(weight) / np.abs(weight).max(initial=1e-300)
    figure, (axes,) = panels(1, size=6)
    shown = [edge[:2] for edge in edges]
    networkx.draw_networkx(graph, place, ax=axes, edgelist=shown, **nodes, **lines)
    if len(units) <= 120:
        beside = {name: 1.1 * xy for name, xy in place.items()}
        networkx.draw_networkx_labels(graph, beside, ax=axes, font_size=6)
    axes.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal")
    axes.axis("off")
    some = f"{len(edges)} of " if len(edges) < graph.size() else ""
    axes.set_title(f"{found!r}; {some}{graph.size()} edges", fontsize=9)
    return figure


def _places(found: Any, order: str | None) -> Any:
    """Return units by a column, or by clusters of units whose edges are alike."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    column = order or ("region" if "region" in found.units else None)
    if column is not None:
        require_columns(found.units, [column])
        if found.units[column].nunique() > 1:
            return np.argsort(codes(found.units[column].astype(str)), kind="stable")
    return leaves_list(linkage(found.mean, "average", optimal_ordering=True))
