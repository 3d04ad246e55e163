"""Effects: how much each node of a network does for a behaviour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from nissl.behaviour import Behaviour, Task
from nissl.behaviour.exact import exact
from nissl.behaviour.pair_test import pair_test, pairs_of
from nissl.behaviour.patching import How, patchings
from nissl.circuits.atp_star import atp_star
from nissl.circuits.attribution import attribution, gim, integrated, relp
from nissl.circuits.masks import mask
from nissl.errors import NisslError, require_known
from nissl.network.edits.nodes import Nodes, nodes_of
from nissl.statistics import Finding, Test

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EFFECT_METHODS", "EffectMethod", "effects", "method_of", "pair_effects"]

Array: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

EffectMethod: TypeAlias = Callable[..., Tensor]
"""Given a `Patching`, `Nodes` and ``positions=``, returns effects, as `attribution` does."""

EFFECT_METHODS: dict[str, EffectMethod] = {
    "exact": exact,
    "attribution": attribution,
    "atp_star": atp_star,
    "integrated": integrated,
    "relp": relp,
    "gim": gim,
    "mask": mask,
}


def effects(
    behaviour: Behaviour | Task,
    *,
    over: str | Iterable[str] | Nodes = "attn.z",
    method: str | EffectMethod = "attribution",
    patching: How = "denoising",
    positions: Literal["each", "all"] = "each",
    test: Test | None = Test(),
    batch_size: int = 32,
    progress: bool = True,
) -> Finding:
    """Score every node by what changing it does to a behaviour.

    Parameters
    ----------
    behaviour : Behaviour or Task
        Pairs of inputs, and a metric.
    over : str, iterable of str, or Nodes
        The sites. A node is a head where units fall into heads, a whole site in the residual
        stream or of what is added to it, else a unit; `nodes_of` chooses otherwise.
    method : {"exact", "attribution", "atp_star", "integrated", "relp", "gim", "mask"} or callable
        How effects are found: a run for each node, or an approximation from gradients. A callable
        is used as `attribution` is; ``functools.partial`` sets options.
    patching : {"denoising", "noising", "zero", "mean", "resample"}
        What is put where: see `Patching`.
    positions : {"each", "all"}
        Change a node at each position by itself, or at all of them.
    test : Test or None
        Draws (999), tail, correction over nodes and positions, alternative ("two-sided"), seed,
        which is that of "resample" too. The null is that the prompts of a pair trade places.
    batch_size : int
        Pairs in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each node and position at which anything changes: ``indirect_effect``, the mean
        over pairs in units of the metric, above zero where the node supports the behaviour;
        ``position``, counted from the end where the pairs have several lengths.

    Raises
    ------
    NisslError
        Pairs do not align or do not differ in the metric, the metric has no gradient, or a site
        cannot be read.
    TooFewSamples
        There are fewer than eight pairs to be tested.

    Notes
    -----
    Source: Vig et al. 2020 (exact); the others name theirs. p is of the mean over pairs, whose
    signs are exchanged: another node that does nothing has effects of both signs.

    Examples
    --------
    >>> task = nissl.behaviour.indirect_object(net, n=32)  # doctest: +SKIP
    >>> found = effects(task, over="attn.z", method="relp")  # doctest: +SKIP
    >>> found.significant().top(3).units  # doctest: +SKIP
    ['blocks.23.attn.z[head 3]', 'blocks.20.attn.z[head 0]', 'blocks.24.attn.z[head 4]']
    """
    pairs = pairs_of(behaviour, test)
    each, table = pair_effects(
        pairs,
        over=over,
        method=method,
        patching=patching,
        positions=positions,
        seed=0 if test is None else test.seed,
        batch_size=batch_size,
        progress=progress,
    )
    name = method_of(method, EFFECT_METHODS)[0]
    rows = table.assign(node=table["unit"], unit=np.arange(len(table)).astype(str))
    how: Any = {"method": f"effects ({name})", "test": test, "progress": progress}
    found = pair_test(pairs, each, units=rows, **how)
    # The same node has a row for each position.
    named = found.table.assign(unit=found.table["node"]).drop(columns="node")
    found = Finding(named, found.method, found.null, found.provenance, found.score)
    return found.assign({"patching": patching, "method": name})


def pair_effects(
    behaviour: Behaviour,
    *,
    over: str | Iterable[str] | Nodes,
    method: str | EffectMethod,
    patching: How = "denoising",
    positions: Literal["each", "all"] = "each",
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = True,
) -> tuple[Array, pd.DataFrame]:
    """Return the effect of every node on every pair.

    Parameters
    ----------
    behaviour, over, method, patching, positions, batch_size, progress
        As in `effects`.
    seed : int
        Of "resample".

    Returns
    -------
    effects : array of float64, shape (n_pairs, n_rows)
        In units of the metric.
    rows : DataFrame, n_rows rows
        ``unit``, ``site``, ``layer``, and ``position`` where each is one.

    Raises
    ------
    NisslError
        As in `effects`.
    """
    require_known("positions", positions, ("each", "all"))
    compute = method_of(method, EFFECT_METHODS)[1]
    if positions == "each" and not behaviour.sequences:
        raise NisslError("these inputs have no positions", do="give positions='all'")
    nodes = nodes_of(behaviour.net, over, inputs=behaviour.call(behaviour.clean_ids[:1]))
    parts = []
    title = f"Effects on {behaviour.net.name}"
    how: Any = {"seed": seed, "batch_size": batch_size, "title": title, "progress": progress}
    for one in patchings(behaviour, patching, **how):
        found = compute(one, nodes, positions=positions == "each").detach().double().cpu()
        if not bool(torch.isfinite(found).all()):
            raise NisslError("effects are not finite", do="load the network as float32")
        parts.append(found.numpy())
    table = nodes.table()
    if positions == "all":
        return np.concatenate(parts), table
    return _by_position(parts, behaviour, table)


def _by_position(
    parts: list[Array], behaviour: Behaviour, table: pd.DataFrame
) -> tuple[Array, pd.DataFrame]:
    """Return effects and rows of nodes at the positions where anything changes."""
    lengths = np.asarray([len(ids) for ids in behaviour.clean_ids])
    longest, ragged = int(lengths.max()), len(set(lengths)) > 1
    whole = np.zeros((len(lengths), longest, len(table)))
    start = 0
    for part in parts:
        whole[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    if ragged:  # the ends of prompts correspond, not their beginnings
        for row, length in enumerate(lengths):
            whole[row] = np.roll(whole[row], longest - length, axis=0)
    kept = np.flatnonzero(whole.any((0, 2)))
    if not len(kept):
        raise NisslError("nothing changes at these sites", do="choose other sites, or patching=")
    names = kept - longest if ragged else kept
    rows = table.loc[np.tile(np.arange(len(table)), len(kept))].reset_index(drop=True)
    rows = rows.assign(position=np.repeat(names, len(table)))
    return whole[:, kept].reshape(len(lengths), -1), rows


def method_of(given: str | Callable[..., Tensor], known: Mapping[str, Any]) -> tuple[str, Any]:
    """Return a method's name and function; of a function its own name."""
    if callable(given):
        return getattr(given, "__name__", repr(given)), given
    require_known("method", given, list(known))
    return given, known[given]
