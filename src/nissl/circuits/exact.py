"""Exact patching: each node changed in a run of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nissl.network.run.replay import replaying
from nissl.network.run.restart import Restart

if TYPE_CHECKING:
    from nissl.circuits.nodes import Node, Nodes
    from nissl.circuits.patching import Patching

__all__ = ["exact"]

TOKENS_PER_CALL = 2048


def exact(patching: Patching, nodes: Nodes, *, positions: bool = True) -> Tensor:
    """Change each node, at each position, in a run of its own.

    Parameters
    ----------
    patching : Patching
        The run that is changed and what is put into it.
    nodes : Nodes
        What is changed.
    positions : bool
        Each position by itself; otherwise all at once.

    Returns
    -------
    Tensor, shape (batch, position, node), or (batch, node)
        The effect of each pair.

    Notes
    -----
    Source: Vig et al. 2020; Meng et al. 2022. Each run begins at the block that is changed; several
    runs are one call (`Network.edit_batch`). Where nothing changes, nothing is run.
    """
    net, base = patching.net, patching.value
    given = patching.given(nodes.names)
    changes = patching.changes(nodes.names, given=given)
    moved = nodes.summed({k: (x != 0).to(x) for k, x in changes.items()}, positions=positions) > 0
    effects = torch.zeros(moved.shape, dtype=base.dtype, device=base.device)
    n = len(base)
    size = max(1, TOKENS_PER_CALL // (n * max(patching.lengths, default=1)))
    for start, some in _by_layer(nodes):
        places = [(node, number, place) for node, number in some for place in _where(moved, number)]
        if not places:
            continue
        prefix = None
        if start is not None:
            prefix = Restart(net, patching.call, net.find(start)[0], None).prefix
        for first in range(0, len(places), size):
            chunk = places[first : first + size]
            edits = [node.patch(given, place) for node, _, place in chunk]
            with (
                replaying(prefix) if prefix is not None else nullcontext(),
                net.edit_batch(edits),
            ):
                outputs = patching.run(copies=len(chunk))
            for output, (_, number, place) in zip(outputs, chunk, strict=True):
                where = (slice(None), number) if place is None else (slice(None), place, number)
                effects[where] = patching.sign * (patching.metric(output) - base)
    return effects


def _by_layer(nodes: Nodes) -> Iterator[tuple[str | None, list[tuple[Node, int]]]]:
    """Yield where the runs of some nodes may begin, and these nodes with their numbers."""
    groups: dict[str | None, list[tuple[Node, int]]] = {}
    for number, node in enumerate(nodes):
        layer, named = node.site.layer, nodes.net.named_sites
        start = f"blocks.{layer}.resid_pre"
        groups.setdefault(start if start in named else None, []).append((node, number))
    yield from groups.items()


def _where(moved: Tensor, number: int) -> list[int | None]:
    """Return the positions at which a node changes in any pair; None for all at once."""
    if moved.ndim == 2:
        return [None] if bool(moved[:, number].any()) else []
    found: list[int | None] = moved[:, :, number].any(0).nonzero().flatten().tolist()
    return found
