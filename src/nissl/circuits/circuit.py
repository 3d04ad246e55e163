"""A circuit: the few edges, or nodes, of a network that suffice for a behaviour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nissl.behaviour import Behaviour, Circuit, Task
from nissl.behaviour.circuit_parts import EdgeParts, NodeParts, Parts
from nissl.circuits.edge_effects import EDGE_METHODS, EdgeMethod, pair_edge_effects
from nissl.circuits.effects import EFFECT_METHODS, EffectMethod, method_of, pair_effects
from nissl.errors import NisslError
from nissl.network import Nodes, nodes_of

__all__ = ["circuit"]


def circuit(
    behaviour: Task | Behaviour,
    *,
    method: str | EdgeMethod | EffectMethod | None = None,
    over: str | Iterable[str] | Nodes | None = None,
    size: float = 0.02,
    tested_on: Behaviour | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> Circuit:
    """Find the edges, or nodes, that a behaviour needs most.

    Parameters
    ----------
    behaviour : Task or Behaviour
        Of a task, the first half finds the circuit and the second tests it.
    method : str or callable, optional
        How edges are scored, a method of `edge_effects` ("eap_ig"); of nodes, one of `effects`
        ("integrated").
    over : str, iterable of str, or Nodes, optional
        Sites whose nodes make the circuit, in any network; by default it is made of edges.
    size : float
        Which share of all edges or nodes it has. Those of the largest effects, of either sign, are
        taken; what has no way to the logits is left out.
    tested_on : Behaviour, optional
        Other pairs, to test it on; a Task has them.
    batch_size : int
        Pairs in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Circuit
        Its edges; ``scores`` tests it.

    Raises
    ------
    NisslError
        There are no other pairs to test on, or as in `edge_effects` and `effects`.

    Examples
    --------
    >>> task = nissl.behaviour.indirect_object(net)  # doctest: +SKIP
    >>> found = circuit(task, size=0.02)  # doctest: +SKIP
    >>> found.scores()[["n", "faithfulness", "random", "p"]]  # doctest: +SKIP
    """
    if not 0 < size <= 1:
        raise NisslError(f"size={size} is no share of the network", do="give 0.02, or so")
    pairs, name = behaviour, "behaviour"
    if isinstance(pairs, Task):
        name, (pairs, other) = pairs.name, (half.behaviour() for half in pairs.halves)
        tested_on = tested_on or other
    if tested_on is None or tested_on.net is not pairs.net:
        raise NisslError(
            "a circuit is tested on other pairs of the network that it was found in",
            do="give tested_on= of the same net, or a Task, which has two halves",
        )
    method = method or ("eap_ig" if over is None else "integrated")
    how: Any = {"method": method, "patching": "noising"}
    how |= {"batch_size": batch_size, "progress": progress}
    parts: Parts
    each: Any
    if over is None:
        parts = EdgeParts(pairs.net)
        each = pair_edge_effects(pairs, **how)[:, parts.readers, parts.writers]
    else:
        nodes = nodes_of(pairs.net, over, inputs=pairs.call(pairs.clean_ids[:1]))
        parts, each = NodeParts(nodes), pair_effects(pairs, over=nodes, positions="all", **how)[0]
    name += f" ({method_of(method, {**EFFECT_METHODS, **EDGE_METHODS})[0]})"
    scores = each.mean(0, dtype=np.float64)
    return Circuit(pairs.net, parts, scores, size, tested_on, name, batch_size)
