"""Exact patching: each node, or each edge, changed in a run of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from nissl.network import cut_edges
from nissl.network.run.caches import empty_cache
from nissl.network.run.calls import Call
from nissl.network.run.replay import replaying
from nissl.network.run.restart import can_be_cut, continued, cut, prefixes

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
    runs = _Runs(patching, nodes, apart=positions)
    given = runs.given(patching)
    changes = patching.changes(nodes.names, base=runs.base, given=given)
    moved = nodes.summed({k: (x != 0).to(x) for k, x in changes.items()}, positions=positions) > 0
    if at is not None:
        moved[:, [p for p in range(moved.shape[1]) if p not in at]] = False
    effects = torch.zeros(moved.shape, dtype=base.dtype, device=base.device)
    for position, places in runs.by_position(moved).items():
        for chunk in _chunks(places, patching.copies_per_call(runs.length - position)):
            call, begin = runs.of(chunk[0].start, position)
            with begin(), net.edit_batch([each.node.patch(given, each.at) for each in chunk]):
                outputs = patching.run(copies=len(chunk), call=call())
            for output, each in zip(outputs, chunk, strict=True):
                where = (slice(None), *(() if each.at is None else (each.at,)), each.number)
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


class _Place(NamedTuple):
    """A node, its number, the position it is changed at (None: all), and the block to begin at."""

    node: Node
    number: int
    at: int | None
    start: int | None


class _Runs:
    """Where runs begin: at a block, and at a position where keys and values before it are kept.

    Parameters
    ----------
    patching : Patching
        The run that is changed.
    nodes : Nodes
        What is changed.
    apart : bool
        Each run changes one position.

    Attributes
    ----------
    base : dict of str to Tensor
        Activity in the run that is changed.
    cuts : bool
        Positions before the one that is changed need not be run: texts of one length, read by a
        causal language model.
    """

    def __init__(self, patching: Patching, nodes: Nodes, *, apart: bool) -> None:
        self.net, self.call, self.nodes = patching.net, patching.call, nodes
        known, named = self.net.architecture, self.net.named_sites
        # Elsewhere the whole model is given the copies of a batch.
        grows = known is not None and known.grows and known.then is None
        each = (node.site.layer for node in nodes)
        self.starts = [n if grows and f"blocks.{n}.resid_pre" in named else None for n in each]
        layers = [layer for layer in self.starts if layer is not None]
        self.length = max(patching.lengths, default=1)
        self.cut: dict[int, tuple[Call, Any]] = {}
        # What keys and values are made of is kept of latent attention: they cannot be replaced.
        config: Any = getattr(self.net.model, "config", None)
        latent = hasattr(config, "kv_lora_rank") and any(
            getattr(site.hook_point, "which", "query") != "query" for site in nodes.sites
        )
        even = len(set(patching.lengths)) == 1 and self.length > 1
        cuts = apart and even and not latent and bool(layers)
        self.cuts = cuts and can_be_cut(self.net, self.call)
        self.filled = empty_cache(self.net) if self.cuts else None
        self.prefixes, self.base = prefixes(
            self.net, self.call, layers, sites=nodes.names, cache=self.filled
        )
        # A state in place of keys and values is not copied with the batch.
        every = [] if self.filled is None else self.filled.layers
        self.cuts &= all(getattr(layer, "keys", None) is not None for layer in every)

    def given(self, patching: Patching) -> dict[str, Tensor]:
        """Return what is put in, run from the first token that is another one."""
        names, other = self.nodes.names, patching.other
        if self.cuts and other is not None:
            same = (other.kwargs["input_ids"] == self.call.kwargs["input_ids"]).all(0)
            first = int(same.cumprod(0).sum())
            if 0 < first < self.length:
                call, cache = cut(self.net, other, first, filled=self.filled)
                late = self.net.run(continued(call, cache), sites=names)
                return {k: torch.cat([self.base[k][:, :first], x], 1) for k, x in late.items()}
        return patching.given(names)

    def by_position(self, moved: Tensor) -> dict[int, list[_Place]]:
        """Return the first position that is run, and what is changed in these runs, by block."""
        groups: dict[int, list[_Place]] = {}
        for number, (node, start) in enumerate(zip(self.nodes, self.starts, strict=True)):
            for at in _where(moved, number):
                first = at if at and self.cuts and start is not None else 0
                groups.setdefault(first, []).append(_Place(node, number, at, start))
        for places in groups.values():
            places.sort(key=lambda each: -1 if each.start is None else each.start)
        return groups

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


def _chunks(places: list[_Place], most: int) -> Iterator[list[_Place]]:
    """Yield what is changed in one call: all in one block, unless so few make slow products."""
    chunk: list[_Place] = []
    for each in places:
        apart = chunk and each.start != chunk[-1].start and len(chunk) >= most // 16
        if apart or len(chunk) == most:
            yield chunk
            chunk = []
        chunk.append(each)
    if chunk:
        yield chunk


def _where(moved: Tensor, number: int) -> list[int | None]:
    """Return the positions at which a node changes in any pair; None for all at once."""
    if moved.ndim == 2:
        return [None] if bool(moved[:, number].any()) else []
    found: list[int | None] = moved[:, :, number].any(0).nonzero().flatten().tolist()
    return found
