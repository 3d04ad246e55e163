"""Effects of edges: how much what one part of a network gives another does for a behaviour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from nissl.behaviour import Behaviour, Task
from nissl.circuits.effects import LEAST
from nissl.circuits.integrated import steps_between
from nissl.circuits.patching import Patching
from nissl.errors import TooFewSamples, require_known
from nissl.network import cut_edges, edges_of
from nissl.network.edits.edges import KINDS, Edges
from nissl.network.gradients import Gradients, gradients
from nissl.progress import progress_bar
from nissl.statistics import Finding, Test, paired_test

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EDGE_METHODS", "EdgeMethod", "eap", "eap_ig", "edge_effects", "edge_table"]
__all__ += ["exact_edges", "pair_edge_effects"]

Array: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
EdgeMethod: TypeAlias = Callable[[Patching, Edges], Tensor]
"""Given a `Patching` and the network's `Edges`, returns (batch, reader, writer)."""


def edge_effects(
    behaviour: Behaviour | Task,
    *,
    method: str | EdgeMethod = "eap_ig",
    patching: Literal["denoising", "noising", "zero", "mean", "resample"] = "noising",
    test: Test | None = Test(),
    batch_size: int = 32,
    progress: bool = True,
) -> Finding:
    """Score every edge by what replacing what goes along it does to a behaviour.

    Parameters
    ----------
    behaviour : Behaviour or Task
        Pairs of inputs, and a metric with a gradient.
    method : {"eap", "eap_ig", "exact"} or callable
        How effects are found; ``functools.partial`` sets options.
    patching : {"denoising", "noising", "zero", "mean", "resample"}
        What is put where: see `Patching`.
    test : Test or None
        As in `effects`, corrected over edges.
    batch_size : int
        Pairs in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each edge: ``indirect_effect``, the mean over pairs in units of the metric,
        above zero where the edge supports the behaviour.

    Raises
    ------
    NisslError
        The network has no edges (`edges_of`), pairs do not align, or they do not differ.
    TooFewSamples
        There are fewer than eight pairs to be tested.

    Examples
    --------
    >>> task = nissl.behaviour.indirect_object(net)  # doctest: +SKIP
    >>> edge_effects(task, test=None).top(1).units  # doctest: +SKIP
    ['blocks.29.mlp.out -> logits']
    """
    pairs = behaviour.behaviour() if isinstance(behaviour, Task) else behaviour
    if test is not None and len(pairs) < LEAST:
        raise TooFewSamples(
            f"{len(pairs)} pairs can be exchanged in {2 ** len(pairs)} ways",
            do=f"give at least {LEAST} pairs, or test=None",
        )
    edges = edges_of(pairs.net)
    each = pair_edge_effects(
        pairs,
        method=method,
        patching=patching,
        seed=0 if test is None else test.seed,
        batch_size=batch_size,
        progress=progress,
    )[:, edges.allowed.numpy()]
    table = edge_table(edges)
    name = method if isinstance(method, str) else getattr(method, "__name__", repr(method))
    said = {"patching": patching, "pairs": len(pairs), "method": name}
    if test is None:
        mean = each.mean(0, dtype=np.float64)
        table = table.assign(indirect_effect=mean, effect=mean)
        return Finding(table, f"edge effects ({name})", "none", said, "indirect_effect")
    found = paired_test(
        each,
        np.zeros_like(each),
        units=table,
        score="indirect_effect",
        method=f"edge effects ({name})",
        test=replace(test, alternative=test.alternative or "two-sided"),
        progress=progress,
    )
    return found.assign(said)


def pair_edge_effects(
    behaviour: Behaviour,
    *,
    method: str | EdgeMethod = "eap_ig",
    patching: Literal["denoising", "noising", "zero", "mean", "resample"] = "noising",
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = True,
) -> Array:
    """Return the effect of every edge on every pair.

    Parameters
    ----------
    behaviour, method, patching, batch_size, progress
        As in `edge_effects`.
    seed : int
        Of "resample".

    Returns
    -------
    array of float32, shape (n_pairs, n_readers, n_writers)
        In units of the metric; zero where there is no edge.

    Raises
    ------
    NisslError
        As in `edge_effects`.
    """
    if not callable(method):
        require_known("method", method, list(EDGE_METHODS))
    compute = method if callable(method) else EDGE_METHODS[method]
    edges = edges_of(behaviour.net)
    means: dict[str, Tensor] = {}
    parts = []
    title = f"Edges of {behaviour.net.name}"
    with progress_bar(title, total=len(behaviour), unit="pairs", progress=progress) as advance:
        for start in range(0, len(behaviour), batch_size):
            rows = slice(start, start + batch_size)
            one = Patching(behaviour, patching, rows=rows, seed=seed, means=means)
            one.require_pairs()
            found = compute(one, edges).detach() * edges.allowed.to(behaviour.net.device)
            parts.append(found.float().cpu().numpy())
            advance(len(found))
    return np.concatenate(parts)


def edge_table(edges: Edges) -> pd.DataFrame:
    """Return what is known of each edge.

    Parameters
    ----------
    edges : Edges
        Of a network.

    Returns
    -------
    DataFrame, n_edges rows
        ``unit`` (its address), ``writer``, ``reader``; in the order of ``edges.allowed``.
    """
    import pandas as pd

    readers, writers = edges.allowed.nonzero().T.tolist()
    return pd.DataFrame(
        {
            "unit": edges.names(readers, writers),
            "writer": [edges.writers[w] for w in writers],
            "reader": [edges.readers[r] for r in readers],
        }
    )


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
    net, base = patching.net, patching.value
    given = patching.given(edges.writer_sites)
    effects = base.new_zeros(len(base), *edges.allowed.shape)
    size = max(1, 2048 // (len(base) * max(patching.lengths)))
    places = edges.allowed.nonzero()
    for some in places.split(size):
        names = edges.names(some[:, 0].tolist(), some[:, 1].tolist())
        with net.edit_batch([cut_edges(name, to=given) for name in names]):
            outputs = patching.run(copies=len(some))
        for (row, column), output in zip(some.tolist(), outputs, strict=True):
            effects[:, row, column] = patching.sign * (patching.metric(output) - base)
    return effects


def eap(patching: Patching, edges: Edges) -> Tensor:
    """Multiply what changes of each writer by the gradient at each reader's input.

    Parameters
    ----------
    patching, edges
        As in `exact_edges`.

    Returns
    -------
    Tensor, shape (batch, n_readers, n_writers)
        The effect of each pair, to first order.

    Notes
    -----
    Source: Syed et al. 2023, Attribution patching outperforms automated circuit discovery (edge
    attribution patching).
    """
    net, sites, seen = patching.net, _reader_sites(edges), _Seen(edges.writer_sites)
    with net.edit(seen):  # the run that is differentiated tells what writers add as well
        found = gradients(net, patching.call, sites=sites, metric=patching.total)
    return _scored(patching, edges, _by_reader(edges, found), base=seen.values)


def eap_ig(patching: Patching, edges: Edges, *, steps: int = 5) -> Tensor:
    """Edge attribution patching with gradients averaged along a path between the inputs.

    Parameters
    ----------
    patching, edges
        As in `exact_edges`.
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


EDGE_METHODS: dict[str, EdgeMethod] = {"eap": eap, "eap_ig": eap_ig, "exact": exact_edges}


class _Seen:
    """An edit that changes nothing and keeps what sites hold."""

    writes: tuple[str, ...] = ()

    def __init__(self, sites: list[str]) -> None:
        self.reads = tuple(sites)
        self.values: dict[str, Tensor] = {}

    def begin(self, batch: Any) -> None:
        """Begin a prompt: nothing to do."""

    def apply(self, site: str, x: Tensor, positions: Any, phase: Any) -> None:
        """Keep the site's tensor."""
        self.values[site] = x.detach().clone()


def _reader_sites(edges: Edges) -> list[str]:
    """Return the sites at which gradients tell of those at the readers' inputs."""
    layers = range(edges.net.n_layers)
    heads = [f"blocks.{n}.attn.{kind}" for n in layers for kind in KINDS]
    streams = [f"blocks.{n}.resid_pre" for n in layers]
    return [*streams, *heads, *(edges.mlp_input(n) for n in layers), edges.logits_input]


def _by_reader(edges: Edges, found: Gradients) -> Iterator[tuple[slice, Tensor]]:
    """Yield gradients at what readers are given, shape (reader, batch, position, d_model)."""
    last = edges.net.n_layers
    for layer in range(last):
        heads = edges.attention_input(layer)
        stream = found.values[f"blocks.{layer}.resid_pre"]
        normed = []
        for kind in KINDS:
            own = found[f"blocks.{layer}.attn.{kind}"].unflatten(-1, (edges.n_heads[kind], -1))
            weights = heads.weights[kind].transpose(1, 2)
            normed.append((own.movedim(2, 0).flatten(1, 2) @ weights).unflatten(1, own.shape[:2]))
        rows = slice(edges.rows(layer, "q").start, edges.rows(layer, "v").stop)
        at_heads = _through(heads.normed, stream, torch.cat(normed))
        at_mlp = found[edges.mlp_input(layer)].reshape(stream.shape)
        if heads.norm is edges.mlp_norm(layer):  # what is read through one norm has both gradients
            at_mlp = at_mlp - at_heads.sum(0)
        yield rows, at_heads
        yield edges.rows(layer, "mlp"), at_mlp[None]
    yield edges.rows(last, "logits"), found[edges.logits_input][None]


def _through(norm: Callable[[Tensor], Tensor], x: Tensor, gradient: Tensor) -> Tensor:
    """Send gradients of what a norm gives back to what it was given, shape of ``gradient``."""
    with torch.enable_grad():
        given = x.expand_as(gradient).detach().requires_grad_()
        back: Tensor = torch.autograd.grad(norm(given), given, gradient)[0]
    return back


def _scored(
    patching: Patching,
    edges: Edges,
    by_reader: Iterable[tuple[slice, Tensor]],
    base: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Multiply gradients at readers by changes of writers, and sum over positions and width."""
    changed = patching.changes(edges.writer_sites, base=base)
    changes = edges.stacked(changed).movedim(0, 1).flatten(2)
    scores = changes.new_zeros(len(changes), len(edges.readers), len(edges.writers))
    for rows, gradient in by_reader:
        n = int(edges.allowed[rows.start].sum())  # those before the first, at least
        n = max(n, int(edges.allowed[rows.stop - 1].sum()))
        each = gradient.movedim(1, 0).flatten(2)
        scores[:, rows, :n] = each @ changes[:, :n].transpose(1, 2)
    return patching.sign * scores
