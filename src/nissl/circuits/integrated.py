"""Integrated gradients of nodes: gradients averaged along the way from one prompt to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nissl.network import patch
from nissl.network.gradients import gradients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nissl.behaviour.patching import Patching
    from nissl.network.edits.nodes import Nodes
    from nissl.network.gradients import Gradients

__all__ = ["integrated", "steps_between"]


def integrated(
    patching: Patching, nodes: Nodes, *, positions: bool = True, steps: int = 5
) -> Tensor:
    """Multiply each node's change by the gradient, averaged along a path between the inputs.

    Parameters
    ----------
    patching, nodes, positions
        As in `attribution`.
    steps : int
        Points of the path, in the middle of as many equal parts.

    Returns
    -------
    Tensor, shape (batch, position, node), or (batch, node)
        The effect of each pair.

    Notes
    -----
    Source: Hanna et al. 2024, Have faith in faithfulness (EAP-IG, inputs), for nodes; midpoints in
    place of right ends halve the error of the sum at the same cost.
    """
    changes = patching.changes(nodes.names)
    mean = {name: torch.zeros_like(x) for name, x in changes.items()}
    for found in steps_between(patching, nodes.names, steps):
        for name in mean:
            mean[name] += found[name] / steps
    products = {name: change * mean[name] for name, change in changes.items()}
    return patching.sign * nodes.summed(products, positions=positions)


def steps_between(patching: Patching, sites: list[str], steps: int) -> Iterator[Gradients]:
    """Yield gradients at sites while the input moves from the run that is changed to the other.

    Parameters
    ----------
    patching : Patching
        The two runs.
    sites : list of str
        Where gradients are wanted.
    steps : int
        How many.

    Yields
    ------
    Gradients
        Of the metric's sum over pairs.
    """
    net = patching.net
    start = "embed" if "embed" in net.named_sites else ":in"
    base, change = patching.base(start), patching.changes(start)
    for step in range(steps):
        share = (step + 0.5) / steps
        moved = {name: x + share * change[name] for name, x in base.items()}
        with net.edit(patch(moved)):
            yield gradients(net, patching.call, sites=sites, metric=patching.total)
