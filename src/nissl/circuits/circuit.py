"""A circuit: the few edges, or nodes, of a network that suffice for a behaviour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nissl.behaviour import Behaviour, Circuit, Task
from nissl.behaviour.circuit_parts import EdgeParts, NodeParts, Parts
from nissl.circuits.edge_effects import EdgeMethod, pair_edge_effects
from nissl.circuits.effects import EffectMethod, pair_effects
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
    name = behaviour.name if isinstance(behaviour, Task) else "behaviour"
    if isinstance(behaviour, Task):
        first, second = behaviour.halves
        pairs, tested_on = first.behaviour(), tested_on or second.behaviour()
    elif tested_on is None:
        raise NisslError(
            "a circuit is tested on other pairs than it was found on",
            do="give tested_on=, or a Task, which has two halves",
        )
    else:
        pairs = behaviour
    if tested_on.net is not pairs.net:
        raise NisslError(
            "the circuit is found in one network and tested on another",
            do="make both behaviours with the same net",
        )
    parts: Parts
    if method is None:
        method = "eap_ig" if over is None else "integrated"
    options: dict[str, Any] = {"method": method, "patching": "noising", "progress": progress}
    if over is None:
        each = pair_edge_effects(pairs, batch_size=batch_size, **options)
        parts = EdgeParts(pairs.net)
        scores = each.mean(0, dtype=np.float64)[parts.readers, parts.writers]
    else:
        nodes = nodes_of(pairs.net, over, inputs=pairs.call(pairs.clean_ids[:1]))
        effects, _ = pair_effects(
            pairs, over=nodes, positions="all", batch_size=batch_size, **options
        )
        parts, scores = NodeParts(nodes), effects.mean(0)
    said = method if isinstance(method, str) else getattr(method, "__name__", repr(method))
    return Circuit(pairs.net, parts, scores, size, tested_on, f"{name} ({said})", batch_size)
