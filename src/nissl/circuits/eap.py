"""Edge attribution patching: effects of all edges from a gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nissl.circuits.attribution import steps_between
from nissl.network.edits.edges import KINDS
from nissl.network.edits.seen import Seen

if TYPE_CHECKING:
    from nissl.behaviour.patching import Patching
    from nissl.network.edits.edges import Edges
    from nissl.network.gradients import Gradients

__all__ = ["eap", "eap_ig"]

TOGETHER = 64  # readers whose scores are one product: fewer are slow, more take memory


def eap(patching: Patching, edges: Edges) -> Tensor:
    """Multiply what changes of each writer by the gradient at each reader's input.

    Parameters
    ----------
    patching : Patching
        The run that is changed and what is put into it.
    edges : Edges
        Of the network.

    Returns
    -------
    Tensor, shape (batch, n_readers, n_writers)
        The effect of each pair, to first order.

    Notes
    -----
    Source: Syed et al. 2023, Attribution patching outperforms automated circuit discovery (edge
    attribution patching).
    """
    seen = Seen(edges.writer_sites)
    with patching.net.edit(seen):  # the run that is differentiated tells what writers add as well
        found = patching.gradients(_reader_sites(edges))
    return _scored(patching, edges, _by_reader(edges, found), base=seen.values)


def eap_ig(patching: Patching, edges: Edges, *, steps: int = 5) -> Tensor:
    """Edge attribution patching with gradients averaged along a path between the inputs.

    Parameters
    ----------
    patching, edges
        As in `eap`.
    steps : int
        Points of the path.

    Returns
    -------
    Tensor, shape (batch, n_readers, n_writers)
        The effect of each pair.

    Notes
    -----
    Source: Hanna et al. 2024, Have faith in faithfulness: going beyond circuit overlap when finding
    model mechanisms.
    """
    total: list[tuple[slice, Tensor]] = []
    for found in steps_between(patching, _reader_sites(edges), steps):
        for i, (rows, gradient) in enumerate(_by_reader(edges, found)):
            if i == len(total):
                total.append((rows, gradient / steps))
            else:
                total[i][1].add_(gradient, alpha=1 / steps)
    return _scored(patching, edges, total)


def _reader_sites(edges: Edges) -> list[str]:
    """Return the sites at which gradients tell of those at the readers' inputs."""
    layers = range(edges.net.n_layers)
    heads = [f"blocks.{n}.attn.{kind}" for n in layers for kind in KINDS]
    streams = [f"blocks.{n}.resid_pre" for n in layers]
    return [*streams, *heads, *(edges.mlp_input(n) for n in layers), edges.logits_input]


def _by_reader(edges: Edges, found: Gradients) -> Iterator[tuple[slice, Tensor]]:
    """Yield gradients at what readers are given, shape (batch, reader, position, d_model)."""
    some, start = list[Tensor](), 0
    for layer in range(edges.net.n_layers):
        heads = edges.attention_input(layer)
        stream = found.values[f"blocks.{layer}.resid_pre"]
        normed: list[Tensor] = []
        for kind in KINDS:
            own = found[f"blocks.{layer}.attn.{kind}"].unflatten(-1, (edges.n_heads[kind], -1))
            weights = heads.weights[kind].transpose(1, 2)
            normed += (own.movedim(2, 0).flatten(1, 2) @ weights).unflatten(1, own.shape[:2])
        at_heads = _through(heads.normed, stream, normed)
        at_mlp = found[edges.mlp_input(layer)].reshape(stream.shape)
        if heads.norm is edges.mlp_norm(layer):  # what is read through one norm has both gradients
            at_mlp = at_mlp - torch.stack(at_heads).sum(0)
        some += [*at_heads, at_mlp]
        if len(some) >= TOGETHER:
            yield slice(start, start := start + len(some)), torch.stack(some, 1)
            some = []
    some.append(found[edges.logits_input])
    yield slice(start, start + len(some)), torch.stack(some, 1)


def _through(norm: Callable[[Tensor], Tensor], x: Tensor, gradients: list[Tensor]) -> list[Tensor]:
    """Send gradients of what a norm gives back to what it was given."""
    with torch.enable_grad():
        given = x.detach().requires_grad_()
        normed = norm(given)
    # One by one: each stays in the processor's cache.
    return [torch.autograd.grad(normed, given, g, retain_graph=True)[0] for g in gradients]


def _scored(
    patching: Patching,
    edges: Edges,
    by_reader: Iterable[tuple[slice, Tensor]],
    base: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Multiply gradients at readers by changes of writers, and sum over positions and width."""
    changed = patching.changes(edges.writer_sites, base=base)
    changes = edges.stacked(changed).flatten(2)
    scores = changes.new_zeros(len(changes), len(edges.readers), len(edges.writers))
    for rows, gradient in by_reader:
        n = int(edges.allowed[rows].sum(1).max())
        scores[:, rows, :n] = gradient.flatten(2) @ changes[:, :n].transpose(1, 2)
    return patching.sign * scores.masked_fill_(~edges.allowed.to(scores.device), 0.0)
