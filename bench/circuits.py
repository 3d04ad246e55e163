"""Effects of nodes and edges on SmolLM2, in forward passes of the same pairs.

A forward pass is one plain call on the prompts that are changed, all logits computed. Exact
patching is counted in operations, beside those that no way of doing it can spare; and timed, at the
last position, beside one forward pass for each node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import nissl
from bench.measure import Row, in_turn, one_thread, ratio
from nissl.behaviour import Behaviour, Patching, exact, indirect_object
from nissl.circuits import (
    atp_star,
    attribution,
    eap,
    eap_ig,
    relp,
)
from nissl.network import cut_edges, edges_of, nodes_of

# Prompts of one length that differ in their last word.
START = "We asked what is said most often of the country, and of those who live there:"
COUNTRIES = ("France", "Spain", "Japan", "China", "Italy", "Egypt", "India", "Russia", "Canada")


def run(rounds: int = 3) -> list[Row]:
    """Return the rows; some four minutes on one core."""
    one_thread()
    net = nissl.load("smollm2", progress=False)
    pairs = indirect_object(net, n=16, progress=False).halves[0].behaviour()
    patching, neurons = Patching(pairs, "noising"), nodes_of(net, "mlp.neurons")
    edges = edges_of(net)
    given = patching.given(edges.writer_sites)
    cut = cut_edges(torch.ones(edges.allowed.shape).bernoulli(0.5), to=given)

    def with_edges_cut() -> None:
        with net.edit(cut):
            patching.run()

    work: list[tuple[str, float | None, Callable[[], Any]]] = [
        (
            "attribution of every neuron at every position",
            3.3,
            lambda: attribution(patching, neurons),
        ),
        ("RelP of the same", 3.6, lambda: relp(patching, neurons)),
        ("EAP, all edges", 4.0, lambda: eap(patching, edges)),
        ("EAP-IG, 5 steps, all edges", 18.0, lambda: eap_ig(patching, edges)),
        ("a run with half of all edges cut", 2.5, with_edges_cut),
    ]
    rows = [_forwards(patching, *each, rounds=rounds) for each in work]
    heads = nodes_of(net, ["attn.q", "attn.k", "attn.v"])
    star = ("AtP* of every query, key and value", None, lambda: atp_star(patching, heads))
    return [*rows, _forwards(patching, *star, rounds=1), _operations(pairs), _last(net, rounds)]


def _forwards(
    patching: Patching, name: str, target: float | None, work: Callable[[], Any], *, rounds: int
) -> Row:
    if rounds > 1:
        work()  # what is kept of a network is made
    seconds = in_turn({"work": work, "forward": lambda: _forward(patching)}, rounds=rounds)
    value, spread = ratio(seconds["work"], seconds["forward"])
    return Row(
        name=name,
        ratio=value,
        unit="x forward",
        target=target,
        limit=None,
        seconds=min(seconds["work"]),
        note=f"{len(patching.lengths)} pairs of {max(patching.lengths)} tokens; {spread}",
    )


def _forward(patching: Patching) -> None:
    with torch.no_grad():
        patching.net.model(*patching.call.args, **patching.call.kwargs)


def _operations(pairs: Behaviour) -> Row:
    """Heads at all positions from the first that differs: operations of matrices, two a weight."""
    patching, net = Patching(pairs, "noising", rows=slice(2)), pairs.net
    nodes = nodes_of(net, "attn.z")
    with FlopCounterMode(display=False) as counter:
        found = exact(patching, nodes)
    length, places = found.shape[1], (found != 0).any(0).nonzero().tolist()
    blocks: list[Any] = [net.block(layer) for layer in range(net.n_layers)]
    whole = sum(p.numel() for p in blocks[0].parameters() if p.ndim == 2)
    behind = sum(p.numel() for n, p in blocks[0].named_parameters() if "o_proj" in n or "mlp" in n)
    head, necessary = 2 * net.unembedding.shape[1], 0  # of the right and the wrong answer
    layers = [node.site.layer or 0 for node in nodes]
    for position, number in places:
        later = len(blocks) - 1 - layers[number]
        necessary += 2 * ((later * whole + behind) * (length - position) + head)
    return Row(
        name="exact patching of every head at every position: executed over necessary operations",
        ratio=counter.get_total_flops() / (necessary * len(found)),
        unit="x necessary",
        target=1.2,
        limit=1.0,
        note=f"{len(places):,} runs of {len(found)} pairs, 2 operations a weight and token",
    )


def _last(net: Any, rounds: int) -> Row:
    texts = [f"{START} {country}" for country in COUNTRIES]
    clean, corrupted = texts[:8], texts[1:]
    answers = {"right": [" French"] * 8, "wrong": [" Spanish"] * 8}
    patching = Patching(Behaviour(net, clean, corrupted, **answers), "noising")
    nodes = nodes_of(net, "attn.z")
    seconds = in_turn(
        {"exact": lambda: exact(patching, nodes), "forward": lambda: _forward(patching)},
        rounds=rounds,
    )
    value, spread = ratio(seconds["forward"], seconds["exact"])
    return Row(
        name="exact patching of every head at the last position, beside one forward pass a node",
        ratio=value * len(nodes),
        unit="x faster",
        target=30.0,
        limit=None,
        more_is_better=True,
        seconds=min(seconds["exact"]),
        note=f"{len(nodes)} heads, 8 pairs of {max(patching.lengths)} tokens; {spread}",
    )
