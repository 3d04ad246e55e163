"""Attribution patching: what a node's change would do, from gradients; and its kin by rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.methods import method
from nissl.network import patch
from nissl.network.gradients import AttentionRule, NonlinearityRule, NormRule, ProductRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nissl.behaviour.patching import Patching
    from nissl.network import Network
    from nissl.network.edits.nodes import Nodes
    from nissl.network.gradients import Gradients

__all__ = ["attribution", "gim", "integrated", "relp", "steps_between"]


def attribution(
    patching: Patching, nodes: Nodes, *, positions: bool = True, rules: tuple[Any, ...] = ()
) -> Tensor:
    """Multiply each node's change by the gradient of the metric: a first-order effect.

    Parameters
    ----------
    patching : Patching
        The run that is changed and what is put into it.
    nodes : Nodes
        What is changed.
    positions : bool
        Keep positions apart.
    rules : tuple
        Backward rules in place of autograd's: see ``net.backward``.

    Returns
    -------
    Tensor, shape (batch, position, node), or (batch, node)
        The effect of each pair.

    Notes
    -----
    Source: Nanda 2023; Syed et al. 2023, Attribution patching outperforms automated circuit
    discovery. One forward and one backward pass, and a forward pass for what is put in.
    """
    with patching.net.backward(*rules):
        found = patching.gradients(nodes.names)
    changes = patching.changes(nodes.names, base=found.values)
    products = {name: change * found[name] for name, change in changes.items()}
    return patching.sign * nodes.summed(products, positions=positions)


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


@method(system=32)
def relp(
    patching: Patching, nodes: Nodes, *, positions: bool = True, hold_patterns: bool = False
) -> Tensor:
    """Attribution patching with the coefficients of relevance propagation in place of gradients.

    Norms are held, nonlinearities have the slope of their secant, and a gate and what it gates have
    half of the gradient each.

    Parameters
    ----------
    patching, nodes, positions
        As in `attribution`.
    hold_patterns : bool
        Hold attention patterns constant too: the paper's table has this rule, its code leaves it
        out. Queries and keys then have no effect, and much of what attention does is lost.

    Returns
    -------
    Tensor, shape (batch, position, node), or (batch, node)
        The effect of each pair.

    Notes
    -----
    Source: Jafari et al. 2025, RelP, table 1.
    """
    rules: list[Any] = [NormRule(), NonlinearityRule("secant")]
    if gated := _gated(patching.net):
        rules.append(ProductRule("half", at=gated))
    if hold_patterns:
        rules.append(AttentionRule())
    return attribution(patching, nodes, positions=positions, rules=tuple(rules))


def gim(
    patching: Patching, nodes: Nodes, *, positions: bool = True, temperature: float = 2.0
) -> Tensor:
    """Attribution patching with gradients that see through saturated attention.

    Norms are held, the softmax of attention is made softer for the gradient, and the factors of
    every product of activities share its gradient.

    Parameters
    ----------
    patching, nodes, positions
        As in `attribution`.
    temperature : float
        Of the softmax in the backward pass.

    Returns
    -------
    Tensor, shape (batch, position, node), or (batch, node)
        The effect of each pair.

    Notes
    -----
    Source: Edin et al. 2025, GIM: improved interpretability for large language models. As in the
    code of their experiments the gates of MLPs share gradients too; in their later package they do
    not.
    """
    rules = (NormRule(), ProductRule("half"), AttentionRule(temperature))
    return attribution(patching, nodes, positions=positions, rules=rules)


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
            yield patching.gradients(sites)


def _gated(net: Network) -> tuple[str, ...]:
    """Return the modules in which an MLP multiplies its neurons by their gates."""
    if net.architecture is None or net.architecture.matrices is None:
        return ()
    if net.architecture.matrices.gate is None:
        return ()
    neurons = net.find("mlp.neurons")
    return tuple(site.hook_point.path.rpartition(".")[0] for site in neurons)
