"""Exact patching: each node, or each edge, changed in a run of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network import cut_edges
from nissl.network.run.calls import Call
from nissl.network.run.replay import replaying
from nissl.network.run.restart import continued, cut, prefixes

if TYPE_CHECKING:
    from nissl.behaviour.patching import Patching
    from nissl.network.edits.edges import Edges
    from nissl.network.edits.nodes import Node, Nodes

__all__ = ["exact", "exact_edges"]


def exact(
    patching: Patching,
    nodes: Nodes,
    *,
    positions: bool = True,
    at: Sequence[int] | None = None,
) -> Tensor:
    """Change each node, at each position, in a run of its own.

    Parameters
    ----------
    patching : Patching
        The run that is changed and what is put into it.
    nodes : Nodes
        What is changed.
    positions : bool
        Each position by itself; otherwise all at once.
    at : sequence of int, optional
        At these positions alone, counted from the beginning.

    Returns
    -------
    Tensor, shape (batch, position, node), or (batch, node)
        The effect of each pair.

    Notes
    -----
    Source: Vig et al. 2020; Meng et al. 2022. Each run begins at the block that is changed, and at
    the position, where prompts have one length and a causal model keeps keys and values; several
    runs are one call (`Network.edit_batch`). Where nothing changes, nothing is run.
    """
    net, base = patching.net, patching.value
    given = patching.given(nodes.names)
    changes = patching.changes(nodes.names, given=given)
    moved = nodes.summed({k: (x != 0).to(x) for k, x in changes.items()}, positions=positions) > 0
    if at is not None:
        moved[:, [p for p in range(moved.shape[1]) if p not in at]] = False
    effects = torch.zeros(moved.shape, dtype=base.dtype, device=base.device)
    layers = _by_layer(nodes)
    runs = _Runs(patching, nodes, [x for x in layers if x is not None], apart=positions)
    for layer, numbered in layers.items():
        places = [
            (node, number, place) for node, number in numbered for place in _where(moved, number)
        ]
        for position, some in _by_position(places, apart=layer is not None and runs.cuts).items():
            call, begin = runs.of(layer, position)
            left = max(patching.lengths, default=1) - position
            size = patching.copies_per_call(left)
            for first in range(0, len(some), size):
                chunk = some[first : first + size]
                edits = [node.patch(given, place) for node, _, place in chunk]
                with begin(), net.edit_batch(edits):
                    outputs = patching.run(copies=len(chunk), call=call())
                for output, (_, number, place) in zip(outputs, chunk, strict=True):
                    where = (slice(None), number) if place is None else (slice(None), place, number)
                    effect = patching.sign * (patching.metric(output) - base)
                    effects[where] = torch.where(moved[where], effect, 0.0)
    return effects


def exact_edges(patching: Patching, edges: Edges) -> Tensor:
    """Cut each edge in a run of its own.

    Parameters
    ----------
    patching : Patching
        The run that is changed and what is put into it.
    edges : Edges
        Of the network.

    Returns
    -------
    Tensor, shape (batch, n_readers, n_writers)
        The effect of each pair.

    Notes
    -----
    Source: Goldowsky-Dill et al. 2023 (path patching). As many runs as there are edges: for small
    networks, and to check others by.
    """
    base, given = patching.value, patching.given(edges.writer_sites)
    effects = base.new_zeros(len(base), *edges.allowed.shape)
    rows, columns = edges.allowed.nonzero().T.tolist()
    cuts = (cut_edges(name, to=given) for name in edges.names(rows, columns))
    for row, column, value in zip(rows, columns, patching.each(cuts), strict=True):
        effects[:, row, column] = patching.sign * (value - base)
    return effects


class _Runs:
    """Where runs begin: at a block, and at a position where keys and values before it are kept.

    Parameters
    ----------
    patching : Patching
        The run that is changed.
    nodes : Nodes
        What is changed.
    layers : list of int
        The blocks at which runs begin.
    apart : bool
        Each run changes one position.

    Attributes
    ----------
    cuts : bool
        Positions before the one that is changed need not be run: texts of one length, read by a
        causal language model.
    """

    def __init__(self, patching: Patching, nodes: Nodes, layers: list[int], *, apart: bool) -> None:
        self.net, self.call = patching.net, patching.call
        self.prefixes = prefixes(self.net, self.call, layers) if layers else {}
        self.length = max(patching.lengths, default=1)
        self.cut: dict[int, tuple[Call, Any]] = {}
        self.filled: Any = None
        # What keys and values are made of is kept of latent attention: they cannot be replaced.
        config: Any = getattr(self.net.model, "config", None)
        latent = hasattr(config, "kv_lora_rank") and any(
            getattr(site.hook_point, "which", "query") != "query" for site in nodes.sites
        )
        self.even = len(set(patching.lengths)) == 1
        self.cuts = apart and self.even and self.length > 1 and not latent
        if self.cuts and layers:
            try:
                self.filled = cut(self.net, self.call, self.length - 1)[1]
            except NisslError:
                self.cuts = False
            else:
                # A state in place of keys and values is not copied with the batch.
                every = self.filled.layers
                self.cuts = all(getattr(layer, "keys", None) is not None for layer in every)

    def of(
        self, layer: int | None, position: int
    ) -> tuple[Callable[[], Call], Callable[[], AbstractContextManager[None]]]:
        """Return what makes the call, and what puts into force what is not run again."""
        call, cache = self.call, None
        if position:
            if position not in self.cut:
                self.cut[position] = cut(self.net, call, position, filled=self.filled)
            call, cache = self.cut[position]
        if layer is None:
            return lambda: call, nullcontext
        prefix = self.prefixes[layer]
        if position:
            prefix = prefix.beyond(position, self.length)
        return lambda: continued(call, cache), lambda: replaying(prefix)


def _by_layer(nodes: Nodes) -> dict[int | None, list[tuple[Node, int]]]:
    """Return the block in which the runs of some nodes may begin, and these nodes, numbered."""
    groups: dict[int | None, list[tuple[Node, int]]] = {}
    known, named = nodes.net.architecture, nodes.net.named_sites
    # Elsewhere the whole model is given the copies of a batch.
    grows = known is not None and known.grows and known.then is None
    for number, node in enumerate(nodes):
        layer = node.site.layer
        start = layer if grows and f"blocks.{layer}.resid_pre" in named else None
        groups.setdefault(start, []).append((node, number))
    return groups


def _by_position(
    places: list[tuple[Node, int, int | None]], *, apart: bool
) -> dict[int, list[tuple[Node, int, int | None]]]:
    """Return the first position that is run, and the nodes changed at it."""
    groups: dict[int, list[tuple[Node, int, int | None]]] = {}
    for each in places:
        groups.setdefault(each[2] or 0 if apart else 0, []).append(each)
    return groups


def _where(moved: Tensor, number: int) -> list[int | None]:
    """Return the positions at which a node changes in any pair; None for all at once."""
    if moved.ndim == 2:
        return [None] if bool(moved[:, number].any()) else []
    found: list[int | None] = moved[:, :, number].any(0).nonzero().flatten().tolist()
    return found
