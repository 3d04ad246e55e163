"""The picture of a circuit: layers upwards, heads and MLPs across, lines as wide as effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.address import LAYER, parse, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST", "draw", "layer_of", "short_name"]

MOST = 150  # edges that are drawn: more cannot be told apart
COLOURS = ("#b2182b", "#2166ac")  # supports, opposes: the ends of the figures' diverging scale


def draw(graph: Any, n_layers: int, *, title: str, axes: Axes | None = None) -> Axes:
    """Draw a circuit of edges.

    Parameters
    ----------
    graph : networkx.DiGraph
        Addresses, with ``effect`` on the edges.
    n_layers : int
        How many blocks the network has.
    title : str
        What it is.
    axes : Axes, optional
        Where; by default a new figure.

    Returns
    -------
    Axes
        What was drawn on; the title says how many edges are left out.
    """
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection

    edges = sorted(graph.edges(data="effect"), key=lambda edge: -abs(edge[2]))[:MOST]
    shown = {end for edge in edges for end in edge[:2]}
    place = _places(sorted(shown), n_layers)
    if axes is None:
        _, axes = plt.subplots(figsize=(8, 9), layout="constrained")
    largest = max(abs(effect) for *_, effect in edges)
    lines = LineCollection(
        [(place[begin], place[end]) for begin, end, _ in edges[::-1]],
        linewidths=[0.3 + 4 * abs(effect) / largest for *_, effect in edges[::-1]],
        colors=[COLOURS[effect < 0] for *_, effect in edges[::-1]],
        alpha=0.6,
        zorder=1,
    )
    axes.add_collection(lines)
    for name, (x, y) in place.items():
        mlp = name.endswith("mlp.out")
        axes.text(
            x,
            y,
            short_name(name),
            ha="center",
            va="center",
            fontsize=7,
            zorder=2,
            bbox={
                "boxstyle": "square,pad=0.25" if mlp else "round,pad=0.25",
                "facecolor": "#f7f7f7" if mlp else "white",
                "edgecolor": "#666666",
                "linewidth": 0.6,
            },
        )
    for label, colour in zip(("supports the behaviour", "works against it"), COLOURS, strict=True):
        axes.plot([], [], color=colour, linewidth=3, alpha=0.6, label=label)
    axes.legend(loc="lower right", fontsize=7, frameon=False)
    axes.autoscale_view()
    axes.margins(0.08, 0.04)
    ticks = {int(y): parse(name).layer for name, (_, y) in place.items()}
    axes.set_yticks(list(ticks), ["" if n is None else str(n) for n in ticks.values()], fontsize=7)
    axes.set_xticks([])
    axes.set_ylabel("layer")
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    left = graph.number_of_edges() - len(edges)
    also = f"; the largest {len(edges)} of {graph.number_of_edges()} are drawn" if left else ""
    axes.set_title(f"{title}{also}", fontsize=8)
    return axes


def _places(names: list[str], n_layers: int) -> dict[str, tuple[float, float]]:
    """Return where each node is drawn: MLPs in a column of their own, heads of a layer in a row."""
    rows: dict[int, list[str]] = {}
    for name in names:
        rows.setdefault(layer_of(name, n_layers), []).append(name)
    place: dict[str, tuple[float, float]] = {}
    for height, (layer, row) in enumerate(sorted(rows.items())):
        heads = [name for name in row if parse(name).head is not None]
        heads.sort(key=lambda name: parse(name).head or 0)
        # Rows are shifted against each other, so that lines upwards do not hide behind boxes.
        shift = 0.25 if height % 2 else -0.25
        for x, name in zip(np.arange(len(heads)) - (len(heads) - 1) / 2, heads, strict=True):
            place[name] = float(x + shift), float(height)
        for name in row:
            if name not in heads:
                inside = 0 <= layer < n_layers
                place[name] = (-5.0 if inside else -3.5), height + (0.45 if inside else 0.0)
    return place


def layer_of(name: str, n_layers: int) -> int:
    """Return the row of a node: its block, -1 of the embedding, `n_layers` of the logits.

    Parameters
    ----------
    name : str
        Its address.
    n_layers : int
        How many blocks the network has.

    Returns
    -------
    int
        The row, from below.
    """
    (address,) = read([name])
    if address is None or address.layer is None:
        return -1 if name == "embed" else n_layers
    return address.layer


def short_name(name: str) -> str:
    """Return a few words for a node: what a box says.

    Parameters
    ----------
    name : str
        Its address, or any name.

    Returns
    -------
    str
        Such as ``3 head 5``, ``3 MLP`` or ``3 neuron 812``; the name itself outside the blocks.

    Examples
    --------
    >>> [short_name(name) for name in ("blocks.3.attn.z[head 5]", "blocks.3.resid_post", "logits")]
    ['3 head 5', '3 resid_post', 'logits']
    """
    (address,) = read([name])
    if address is None or address.layer is None:
        return name
    if address.head is not None:
        return f"{address.layer} head {address.head}"
    if address.index is not None:
        word = "neuron" if address.site.endswith("mlp.neurons") else "unit"
        return f"{address.layer} {word} {address.index}"
    site = LAYER.sub("", address.site).lstrip(".")
    return f"{address.layer} {'MLP' if site == 'mlp.out' else site}".rstrip()
