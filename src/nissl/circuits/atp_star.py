"""AtP*: attribution patching that sees through saturated attention and paths that cancel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.methods import method
from nissl.network import patch
from nissl.network.gradients import StopGradient
from nissl.network.run.attention_scores import attention_scores

if TYPE_CHECKING:
    from nissl.behaviour.patching import Patching
    from nissl.network import Network
    from nissl.network.edits.nodes import Nodes

__all__ = ["atp_star"]

QUERIES, KEYS = ("attn.q", "attn.q_rot"), ("attn.k", "attn.k_rot")
Effect = Callable[[Tensor], Tensor]  # of a gradient at a pattern, shape of the pattern


@method(system=310)
def atp_star(
    patching: Patching,
    nodes: Nodes,
    *,
    positions: bool = True,
    qk_fix: bool = True,
    grad_drop: bool = True,
) -> Tensor:
    """Attribution patching with two corrections: of queries and keys, and of paths that cancel.

    Parameters
    ----------
    patching, nodes, positions
        As in `attribution`.
    qk_fix : bool
        Queries and keys change their attention pattern by as much as they do; what the pattern
        does is linear. Where a norm spans all heads (OLMo-2), all are changed at once.
    grad_drop : bool
        Take gradients once for each block, whose attention and MLP let none through, and average
        the sizes of effects over the blocks that a node is not in. The paper's effects have no
        sign: here it is that of attribution patching.

    Returns
    -------
    Tensor, shape (batch, position, node), or (batch, node)
        The effect of each pair.

    Raises
    ------
    NisslError
        Single units of queries or keys are asked for, or blocks are unknown.

    Notes
    -----
    Source: Kramár et al. 2024, sections 3.1.1 and 3.1.2; the mean over all blocks but a node's own
    is their sum over L - 1. Three forward and one backward pass, two or four forward passes for
    queries and keys, and a forward and a backward pass for each block.
    """
    net = patching.net
    blocks = _blocks(net) if grad_drop else []
    fixed = _fixed(patching, nodes, positions) if qk_fix else {}
    linear = [name for name in nodes.names if name not in fixed]
    patterns = list(dict.fromkeys(_beside(name, "attn.pattern") for name in fixed))
    changes = patching.changes(linear) if linear else {}

    def effects(*rules: Any) -> Tensor:
        with net.backward(*rules):
            found = patching.gradients([*linear, *patterns])
        products = {name: change * found[name] for name, change in changes.items()}
        products |= {name: f(found[_beside(name, "attn.pattern")]) for name, f in fixed.items()}
        return nodes.summed(products, positions=positions)

    plain = effects()
    if not blocks:
        return patching.sign * plain
    size, signed, count = (torch.zeros_like(plain) for _ in range(3))
    for layer, outputs in enumerate(blocks):
        other = torch.tensor([_block(node.site) != layer for node in nodes], device=plain.device)
        some = effects(StopGradient(outputs)) * other
        size, signed, count = size + some.abs(), signed + some, count + other
    # Where paths cancel up to rounding, what is left of them without one block tells the sign.
    sign = torch.sign(torch.where(plain.abs() <= 1e-6 * size, signed, plain))
    return patching.sign * sign * size / count


def _blocks(net: Network) -> list[tuple[str, str]]:
    """Return what each block adds to the residual stream."""
    n = net.n_layers if net.architecture is not None else 0
    found = [(f"blocks.{layer}.attn.out", f"blocks.{layer}.mlp.out") for layer in range(n)]
    if n < 2 or not all(name in net.named_sites for each in found for name in each):
        raise NisslError(
            f"the gradients of {net.name} cannot be stopped at one block of several",
            do="give functools.partial(atp_star, grad_drop=False)",
        )
    return found


def _block(site: Any) -> int | None:
    """Return the block whose output a site is part of; none for the residual stream."""
    layer: int | None = site.layer
    return None if ".resid_" in site.name else layer


def _fixed(patching: Patching, nodes: Nodes, positions: bool) -> dict[str, Effect]:
    """Return what gives the effects of queries and keys from a gradient at their patterns.

    A gradient has shape (batch, query position, head, key position), the effects (batch, position,
    head of the site).
    """
    asked = [site for site in nodes.sites if _short(site.name) in (*QUERIES, *KEYS)]
    for site, kind in zip(nodes.sites, nodes.kinds, strict=True):
        if site in asked and kind == "unit":
            raise NisslError(
                f"single units of '{site.name}' change no pattern that is known",
                do="ask for heads, or give functools.partial(atp_star, qk_fix=False)",
            )
    made: dict[str, Effect] = {}
    for short in dict.fromkeys(_short(site.name) for site in asked):
        sites = {site.name: site for site in asked if _short(site.name) == short}
        held = [_beside(name, (QUERIES if short in KEYS else KEYS)[1]) for name in sites]
        base = patching.base([*sites, *held])
        given = patching.given(list(sites))
        patterns = {name: _beside(name, "attn.pattern") for name in sites}
        scores = []
        for values in (base, {**base, **given}):
            with patching.net.edit(patch(values)):
                scores.append(attention_scores(patching.net, patching.call, patterns.values()))
        effect = _one_key if short in KEYS and positions else partial(_whole, each=positions)
        for name, site in sites.items():
            before, after = (x[patterns[name]].double() for x in scores)
            made[name] = effect(before, after, site.heads or 1)
    return made


def _whole(before: Tensor, after: Tensor, heads: int, *, each: bool) -> Effect:
    """Every row of a pattern is another: that of each query, or of all where keys change."""
    change = (after.softmax(-1) - before.softmax(-1)).nan_to_num()

    def effect(gradient: Tensor) -> Tensor:
        found = (change * _padded(gradient, change)).sum(-1)
        found = found if each else found.sum(1, keepdim=True)
        return _grouped(found, heads).to(gradient)

    return effect


def _one_key(before: Tensor, after: Tensor, heads: int) -> Effect:
    """One column of the scores is another: p_t becomes r p_t e^d, and every other p_j is r p_j."""
    p = before.softmax(-1).nan_to_num()
    grown = (after - before).nan_to_num().clamp(-700, 700).exp()
    top = p.argmax(-1, keepdim=True)

    def others(x: Tensor) -> Tensor:
        """Sum over all keys but each one; where one has nearly all, not as a difference."""
        rest: Tensor = x.sum(-1, keepdim=True) - x
        return rest.scatter(-1, top, x.scatter(-1, top, 0.0).sum(-1, keepdim=True))

    r = 1 / (others(p) + p * grown).clamp_min(1e-300)
    change = p * grown * r - p

    def effect(gradient: Tensor) -> Tensor:
        g = _padded(gradient, p)
        found = ((r - 1) * others(p * g) + change * g).sum(1)  # (batch, head, key position)
        return _grouped(found[..., : gradient.shape[-1]].transpose(1, 2), heads).to(gradient)

    return effect


def _padded(gradient: Tensor, like: Tensor) -> Tensor:
    """Nothing is read of a sink."""
    return torch.nn.functional.pad(gradient.double(), (0, like.shape[-1] - gradient.shape[-1]))


def _grouped(found: Tensor, heads: int) -> Tensor:
    """Add up the heads of queries that share one of keys."""
    grouped: Tensor = found.unflatten(-1, (heads, -1))
    return grouped.sum(-1)


def _short(name: str) -> str:
    return name.partition(".")[2].partition(".")[2]


def _beside(name: str, short: str) -> str:
    """Return another site of the same block."""
    return f"{name.removesuffix(_short(name))}{short}"
