"""Routes: the edges, between places of a network at the tokens of a text, that led to a result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nissl.address import parse

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["RESIDUAL", "Routes"]

RESIDUAL = "residual"  # what the stream carries on


@dataclass(frozen=True)
class Routes:
    """The edges by which something came about.

    Parameters
    ----------
    table : DataFrame
        A row for each edge, from the result down: ``begin``, ``begin_position``, ``end``,
        ``end_position`` (sites or features, and positions), ``unit`` (what it goes through, or
        "residual"), ``kind`` of edge, by which it is coloured, ``contribution``, and ``share`` of
        all that enters at its end.
    tokens : list of str
        The text.
    """

    table: pd.DataFrame
    tokens: list[str]

    def units(self) -> pd.Series[float]:
        """Return what goes through each unit, largest first: its edges, added up."""
        inner = self.table[self.table["unit"] != RESIDUAL]
        return inner.groupby("unit")["contribution"].sum().sort_values(ascending=False)

    def graph(self) -> Any:
        """Return a ``networkx.MultiDiGraph`` of (place, position), with edges by their units."""
        import networkx  # type: ignore[import-untyped]

        graph = networkx.MultiDiGraph()
        rows: Any = self.table.itertuples()
        for row in rows:
            ends = (row.begin, row.begin_position), (row.end, row.end_position)
            graph.add_edge(*ends, key=row.unit, contribution=row.contribution)
        return graph

    def save(self, path: str | Path) -> Path:
        """Write edges and tokens as JSON.

        Parameters
        ----------
        path : str or Path
            Where to.

        Returns
        -------
        Path
            The file.
        """
        edges = self.table.to_dict("records")
        Path(path).write_text(json.dumps({"tokens": self.tokens, "edges": edges}, indent=1))
        return Path(path)

    def plot(self, *, axes: Axes | None = None) -> Axes:
        """Draw them: tokens across, layers up, lines as wide as shares, features by number.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Where; by default a new figure.

        Returns
        -------
        Axes
            What was drawn on.
        """
        import matplotlib.pyplot as plt

        from nissl.statistics.figure import COLOURS

        if axes is None:
            axes = plt.subplots(figsize=(max(5, 0.7 * len(self.tokens)), 8))[1]
        graph = self.graph()
        top = max((_height(place) for place, _ in graph), default=0.0) + 1
        places: dict[Any, tuple[float, float]] = {}
        beside: dict[tuple[int, float], int] = {}
        for place, position in graph:
            height = top if place.startswith("logits") else _height(place)
            n = beside[position, height] = beside.get((position, height), -1) + 1
            places[place, position] = position + 0.5 * (n % 2), height + 0.25 * (n // 2)
        drawn: dict[Any, int] = {}
        kinds = dict(zip(dict.fromkeys(self.table["kind"]), COLOURS, strict=False))
        if RESIDUAL in kinds:
            kinds[RESIDUAL] = "#bbbbbb"
        largest = self.table["share"].max()
        rows: Any = self.table.itertuples()
        for row in rows:
            ends = (row.begin, row.begin_position), (row.end, row.end_position)
            drawn[ends] = drawn.get(ends, -1) + 1  # edges of the same ends are drawn side by side
            (x0, y0), (x1, y1) = places[ends[0]], places[ends[1]]
            aside = 0.08 * drawn[ends]
            axes.plot(
                [x0 + aside, x1 + aside],
                [y0, y1],
                color=kinds[row.kind],
                linewidth=0.5 + 4 * row.share / largest,
                solid_capstyle="butt",
                alpha=0.7,
            )
        for (place, _), (x, y) in places.items():
            if label := place.partition("[")[2].rstrip("]"):
                axes.text(x, y, label, fontsize=7, ha="center", va="center").set_bbox(
                    {"facecolor": "white", "edgecolor": "#999999", "pad": 1.5}
                )
        for kind, colour in kinds.items():
            axes.plot([], [], color=colour, linewidth=3, label=kind)
        axes.legend(fontsize=7, frameon=False, loc="upper left")
        axes.set_xticks(range(len(self.tokens)), self.tokens, rotation=35, ha="right", fontsize=8)
        axes.set(xlim=(-0.5, len(self.tokens)), ylabel="layer")
        return axes


def _height(place: str) -> float:
    """Return how high a place is drawn."""
    layer = parse(place.partition(" ")[0]).layer
    return 0.0 if layer is None else layer + (1.0 if ".resid_post" in place else 0.5)
