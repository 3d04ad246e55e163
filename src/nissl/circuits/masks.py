"""Masks: nodes or edges ordered by training, so that the first few do as the whole network does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nissl.circuits.attribution import attribution
from nissl.circuits.eap import eap_ig
from nissl.errors import NisslError
from nissl.network import cut_edges, frozen
from nissl.network.edits.nodes import MixedNodes
from nissl.network.run.calls import call_model
from nissl.training import train

if TYPE_CHECKING:
    from nissl.behaviour.patching import Patching
    from nissl.network.edits.edges import Edges
    from nissl.network.edits.nodes import Nodes

__all__ = ["mask", "mask_edges"]

SMALLEST = 0.005  # of the budgets that are drawn
TEMPERATURE = 0.1  # of the gates' slope, in shares of the network by which a part is ranked


def mask(
    patching: Patching,
    nodes: Nodes,
    *,
    positions: bool = False,
    budget: float | None = None,
    steps: int = 50,
    learning_rate: float = 0.03,
    seed: int = 0,
) -> Tensor:
    """Train an order of the nodes, of which the first few are to do as all do.

    Parameters
    ----------
    patching : Patching
        Into the clean run; what is masked has the other run's activity.
    nodes : Nodes
        The nodes.
    positions : bool
        Not known of: a node is masked at all positions.
    budget : float, optional
        The share of nodes that is kept; by default another is drawn at each step, so that one order
        serves all sizes.
    steps, learning_rate : int, float
        Updates of the order.
    seed : int
        Of the budgets.

    Returns
    -------
    Tensor, shape (batch, node)
        The order, the same for every pair of the batch: above zero, the larger the more needed.

    Notes
    -----
    Source: masks over components with one gate a budget, Cao et al. 2021 and Bhaskar et al. 2024
    (Finding transformer circuits with edge pruning); budgets drawn at random are ours. The order
    begins as that of attribution patching. What is kept is kept whole in the forward pass; its
    gate's slope is that of a logistic function.
    """
    if positions:
        raise NisslError("a mask knows no positions", do="give positions='all'")
    start = attribution(patching, nodes, positions=False).abs().mean(0)
    other = patching.given(nodes.names)
    options: Any = {"budget": budget, "steps": steps, "learning_rate": learning_rate, "seed": seed}
    return _trained(patching, start, lambda gates: MixedNodes(nodes, gates, other), **options)


def mask_edges(patching: Patching, edges: Edges, **options: Any) -> Tensor:
    """Train an order of the edges, of which the first few are to do as all do.

    Parameters
    ----------
    patching : Patching
        As in `mask`.
    edges : Edges
        Of the network.
    **options
        ``budget``, ``steps``, ``learning_rate``, ``seed``: as in `mask`.

    Returns
    -------
    Tensor, shape (batch, n_readers, n_writers)
        The order, which begins as that of `eap_ig`. A step costs about ten forward passes.
    """
    allowed = edges.allowed.to(patching.net.device)
    start = eap_ig(patching, edges).abs().mean(0)[allowed]
    other = patching.given(edges.writer_sites)

    def edit(gates: Tensor) -> Any:
        share = torch.zeros(allowed.shape, dtype=gates.dtype, device=gates.device)
        return cut_edges(share.masked_scatter(allowed, 1 - gates), to=other)

    order = _trained(patching, start, edit, **options)
    whole = order.new_zeros(len(order), *allowed.shape)
    whole[:, allowed] = order
    return whole


def _trained(
    patching: Patching,
    start: Tensor,
    edit: Callable[[Tensor], Any],
    *,
    budget: float | None = None,
    steps: int = 50,
    learning_rate: float = 0.03,
    seed: int = 0,
) -> Tensor:
    """Return the order, shape (batch, part), that begins as scores and is trained by an edit."""
    net, wanted = patching.net, patching.value.detach()
    rank = start.argsort().argsort().float()
    places = nn.Parameter(((rank + 0.5) / len(start)).to(net.device))  # 0 is last, 1 first
    scale = wanted.float().square().mean().clamp_min(1e-6)
    drawn = torch.rand(steps, generator=torch.Generator().manual_seed(seed))
    budgets = SMALLEST ** (1 - drawn) if budget is None else torch.full((steps,), budget)

    def loss(model: nn.Module, share: float) -> Tensor:
        with frozen(net), net.edit(edit(_gates(places, share))):
            found = patching.metric(call_model(net, patching.call))
        return (found - wanted).float().square().mean() / scale

    train(
        nn.ParameterList([places]),
        lambda step: float(budgets[step]),
        loss=loss,
        steps=steps,
        learning_rate=learning_rate,
        # Adam would move every part as far, whatever it does.
        optimiser="sgd",
        clip=1.0,
        seed=seed,
        cache=False,
        progress=False,
    )
    order = places.detach() - places.detach().min() + 1e-3
    return order.expand(len(patching.value), -1)


def _gates(places: Tensor, budget: float) -> Tensor:
    """Return 1 for the first share of the parts, 0 for others, with the slope of a logistic."""
    n = max(1, round(budget * len(places)))
    bar = places.detach().topk(min(n + 1, len(places))).values
    middle = (bar[-2] + bar[-1]) / 2 if n < len(places) else bar[-1] - 1
    soft = torch.sigmoid((places - middle) / TEMPERATURE)
    return (places > middle).to(soft) + soft - soft.detach()
