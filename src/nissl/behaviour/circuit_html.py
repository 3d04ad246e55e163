"""A circuit as notebooks show it: its graph, and a table of its largest parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nissl.address import parse
from nissl.behaviour.circuit_figure import MOST, layer_of, short_name
from nissl.pictures import html, plain_table, plain_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["circuit_html"]

ROWS = 10  # of the table


def circuit_html(
    edges: Iterable[tuple[str, str, float]], table: pd.DataFrame, n_layers: int, *, title: str
) -> str:
    """Draw a circuit.

    Parameters
    ----------
    edges : iterable of (str, str, float)
        From which node to which, with the effect; none of a circuit of nodes.
    table : DataFrame
        Its parts with ``unit`` and ``indirect_effect``, the largest first.
    n_layers : int
        How many blocks the network has.
    title : str
        What it is.

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unit": ["embed -> logits"], "indirect_effect": [1.0]})
    >>> drawn = circuit_html([("embed", "logits", 1.0)], table, 2, title="Circuit")
    >>> "<td>embed -&gt; logits</td>" in drawn
    True
    """
    found = sorted(edges, key=lambda edge: -abs(edge[2]))
    lines, first = found[:MOST], table.head(MOST)
    effects = dict(zip(first["unit"].astype(str), first["indirect_effect"], strict=True))
    names = {end for edge in lines for end in edge[:2]} if found else set(effects)
    nodes = [
        _node(name, None if found else effects[name], n_layers)
        for name in sorted(names, key=_order)
    ]
    n_parts, n_drawn = (len(found), len(lines)) if found else (len(table), len(names))
    says = "Violet supports the behaviour, teal (dashed) works against it; wide is large."
    if n_parts > n_drawn:
        says += f" Drawn are the largest {n_drawn} of {n_parts:,}."
    top = table.head(ROWS)
    cells = [
        [str(unit), float(effect)]
        for unit, effect in zip(top["unit"], top["indirect_effect"], strict=True)
    ]
    columns = [f"the largest {len(top)} of {len(table):,}", "effect"]
    data = {
        "title": title,
        "says": says,
        "label": title,
        "nodes": nodes,
        "edges": [{"from": a, "to": b, "effect": float(effect)} for a, b, effect in lines],
        "layers": {"-1": "", str(n_layers): ""},
        "columns": columns,
        "cells": cells,
    }
    plain = f"<p>{plain_text(title)}</p>{plain_table(columns, cells)}"
    return html("circuit", data, plain=plain, title=title)


def _order(name: str) -> tuple[int, int, str]:
    address = parse(name)
    return address.head or 0, address.index or 0, name


def _node(name: str, effect: float | None, n_layers: int) -> dict[str, Any]:
    """MLPs stand in a column of their own, half a row above the heads that they read."""
    address, layer = parse(name), layer_of(name, n_layers)
    apart = address.head is None and address.index is None
    inside = 0 <= layer < n_layers
    return {
        "name": name,
        "label": short_name(name),
        "layer": layer + 0.45 * (inside and apart),
        "position": 0 if apart else 1,
        **({} if effect is None else {"effect": float(effect)}),
    }
