"""Effects of edges: how much what one part of a network gives another does for a behaviour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from nissl.behaviour import Behaviour, Task
from nissl.behaviour.exact import exact_edges
from nissl.behaviour.pair_test import pair_test, pairs_of
from nissl.behaviour.patching import How, Patching, patchings
from nissl.circuits.eap import eap, eap_ig
from nissl.circuits.effects import method_of
from nissl.circuits.masks import mask_edges
from nissl.network import edges_of
from nissl.network.edits.edges import Edges
from nissl.statistics import Finding, Test

__all__ = ["EDGE_METHODS", "EdgeMethod", "edge_effects", "pair_edge_effects"]

Array: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
EdgeMethod: TypeAlias = Callable[[Patching, Edges], Tensor]
"""Given a `Patching` and the network's `Edges`, returns (batch, reader, writer)."""

EDGE_METHODS: dict[str, EdgeMethod] = {
    "eap": eap,
    "eap_ig": eap_ig,
    "mask": mask_edges,
    "exact": exact_edges,
}


def edge_effects(
    behaviour: Behaviour | Task,
    *,
    method: str | EdgeMethod = "eap_ig",
    patching: How = "noising",
    test: Test | None = Test(),
    batch_size: int = 32,
    progress: bool = True,
) -> Finding:
    """Score every edge by what replacing what goes along it does to a behaviour.

    Parameters
    ----------
    behaviour : Behaviour or Task
        Pairs of inputs, and a metric with a gradient.
    method : {"eap", "eap_ig", "mask", "exact"} or callable
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
    >>> task = nissl.behaviour.indirect_object(net, n=32)  # doctest: +SKIP
    >>> edge_effects(task, test=None).top(1).units  # doctest: +SKIP
    ['embed -> blocks.0.mlp.out']
    """
    pairs = pairs_of(behaviour, test)
    edges = edges_of(pairs.net)
    each = pair_edge_effects(
        pairs,
        method=method,
        patching=patching,
        seed=0 if test is None else test.seed,
        batch_size=batch_size,
        progress=progress,
    )[:, edges.allowed.numpy()]
    name = method_of(method, EDGE_METHODS)[0]
    how: Any = {"method": f"edge effects ({name})", "test": test, "progress": progress}
    found = pair_test(pairs, each, units=edges.table(), **how)
    return found.assign({"patching": patching, "method": name})


def pair_edge_effects(
    behaviour: Behaviour,
    *,
    method: str | EdgeMethod = "eap_ig",
    patching: How = "noising",
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
    compute = method_of(method, EDGE_METHODS)[1]
    edges = edges_of(behaviour.net)
    title, parts = f"Edges of {behaviour.net.name}", []
    how: Any = {"seed": seed, "batch_size": batch_size, "title": title, "progress": progress}
    for one in patchings(behaviour, patching, **how):
        found = compute(one, edges).detach() * edges.allowed.to(behaviour.net.device)
        parts.append(found.float().cpu().numpy())
    return np.concatenate(parts)
