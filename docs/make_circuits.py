"""Make docs/circuits.md: what the room holds, and its methods put to the test: see the page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

import nissl
from nissl.behaviour import Behaviour, Task, first_tokens
from nissl.circuits import circuit, effects, mask, pair_edge_effects, pair_effects
from nissl.circuits.edge_effects import EDGE_METHODS
from nissl.circuits.effects import EFFECT_METHODS
from nissl.cli.printing import markdown
from nissl.methods import methods, system
from nissl.network import edges_of
from nissl.specimens.planted.circuits import CIRCUITS, planted_circuit
from nissl.statistics import Test, rate

HEAD = """# Circuits

Which components of a network cause a behaviour, and by which connections.

<!-- not run: the gallery's page on a circuit runs these calls -->
```python
import nissl

net = nissl.load("smollm2")
task = nissl.behaviour.indirect_object(net, n=32)
heads = nissl.circuits.effects(task, over="attn.z", method="relp")  # a Finding: head and position
edges = nissl.circuits.edge_effects(task, method="eap_ig")  # a Finding of edges
circuit = nissl.circuits.circuit(task, method="eap_ig", size=0.02)  # chosen on one half
circuit.scores()  # tested on the other
circuit.plot()
circuit.save("ioi.json")
```

A behaviour is pairs of prompts and a metric ([Behaviour](behaviour.md)). A **node** is a head, a
unit or a whole site of any network; an **edge** leads from what writes into the residual stream to
what reads from it (`nissl.network.edges_of`). Cutting edges is an Edit, so that exact patching,
the check of an approximation and the faithfulness of a circuit are one path of code:
`with net.edit(nissl.network.cut_edges("blocks.1.attn.z[head 2] -> blocks.4.attn.q[head 3]"))`.
Whatever supports the behaviour has an effect above zero, in units of the metric. Under the null the
prompts of a pair trade places.

A method of effects is one function: given a `Patching` (the run that is changed, and what is put
into it) and `Nodes`, it returns a number for each pair, position and node; `effects(...,
method=function)` does the rest.

**Which method?** For edges `eap_ig`; `exact` where there are few. For nodes `integrated`, and
`relp` where three forward passes are all there is; `exact` for the few that are left. A circuit of
nodes that is to be small: `mask`, which is trained, at ten times the price. Queries and keys of
saturated attention have no gradient: `atp_star` tells what they do. Measure before you trust:
beside exact patching RelP was nearer than attribution in SmolLM2 by sizes and not by ranks, and in
Gemma, which norms what each block adds, by neither ([Claims](claims.md)).

This page is made by `python docs/make_circuits.py`.

## Methods

"""
ALSO = """

## Two behaviours, depth, and words

`dissociation` takes two behaviours and a group of units for each, and ablates both groups for both.
A double dissociation needs each group to take more of its own behaviour than of the other, more
than units of the same layers do, and more than where pairs are relabelled; `p_dissociation` is the
largest of these p. It says too how many units the groups share, beside chance. A head that another
replaces when it is gone is missed by ablation: put in what it does on the matched prompt instead.

`residual_dynamics(net, texts)` follows the stream at the last token: how a unit goes on from block
to block, how fast and how dense the stream is, and what is left of a push some blocks later. Set a
re-initialised network beside it: it is as continuous.

`commitment_layer(task)` needs pairs that are answered rightly, then wrongly: until which block the
context can still turn each answer, from which the last token carries it, and from which the logit
lens agrees.

`operand_patterns` names for each unit the pattern of whole numbers that its activity goes with
most: a value, range or residue of an operand or the result, or that two are equal or of one
parity. A named pattern is no proof that the unit matters to those sums: silence it.

`head_gates` tells the heads that are needed from the others; an interfering head is not one whose
ablation must help. `weight_mask` needs a penalty in the thousands on a real model: raise it until
the size fits.

**Pairs that share words** are not independent. Where they fall into groups, such as the questions
of one fact, set `behaviour.exchange` to the group of each pair: groups trade places as a whole.
"""
PLANTED = """
## On circuits that are known

Six circuits were written by hand into a stock Llama, among heads and MLPs that move the stream and
matter to nothing (`nissl.specimens.planted.planted_circuit`). Of as many of the largest effects as
there are true parts, this share is true: recall and precision at once.

"""
LEVELS = """

## Levels and power

The same circuits. *Nothing*: prompts of each pair trade places at random, so that no node has an
effect on the mean; the share of true nodes with p of at most 0.05, and its 99% interval. *Found*:
the share of true nodes with q of at most 0.05, by how many pairs there are. A trained `mask` has
one order for all pairs, and no p. Pairs that share words are not independent, and p is then too
small: in untrained networks that read sixteen words in 64 pairs it was below 0.05 for 4% to 26% of
the nodes.

"""
REAL = """

## On SmolLM2

Sixteen pairs of each behaviour, which it answers rightly. Circuits are found on one half and tested
on the other: *faithfulness* is the share of the behaviour that the circuit has alone, *random* that
of three circuits with as many parts in the same layers. CMD is the area between faithfulness and 1
over sizes from 0.5% to 50%, the smaller the better, and CPR the area under faithfulness, which
rewards leaving out what hurts. *Seconds* are of one core, to find it.

"""


def page() -> str:
    """Return the whole page; about an hour on one core."""
    rows = [
        {
            "method": f"`{m.name.removeprefix('nissl.circuits.')}`",
            "system": f"{system(m.system).name} ({m.system})",
            "what it does": m.summary,
        }
        for m in sorted(methods(), key=lambda m: m.system)
        if system(m.system).room == "circuits"
    ]
    parts = (markdown(rows), ALSO, PLANTED, markdown(recovered()), LEVELS, markdown(levels()))
    return HEAD + "".join(parts) + REAL + markdown(real()) + "\n"


QUIET: dict[str, Any] = {"progress": False}
OVER = ("attn.z", "mlp.out")
SIZES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def task_of(name: str, variant: Any = "planted", *, seed: int = 0) -> tuple[Any, Any]:
    """Return a planted circuit and the first half of its pairs as a behaviour."""
    planted = planted_circuit(name, variant, seed=seed)
    net = nissl.load(planted.module, tokenizer=planted.tokenizer)
    pairs = planted.pairs[planted.pairs["half"] == "first"]
    right, wrong = (first_tokens(net, pairs[c].tolist()).tolist() for c in ("answer", "wrong"))
    return planted, Behaviour(
        net, pairs["text"].tolist(), pairs["corrupted"].tolist(), right=right, wrong=wrong
    )


def recovered() -> list[dict[str, str]]:
    """Return which share of the true nodes and edges is among as many of the largest effects."""
    rows = []
    every = [("nodes", n) for n in EFFECT_METHODS] + [("edges", n) for n in EDGE_METHODS]
    for kind, method in every:
        row = {"method": f"`{method}`", "of": kind}
        for name in CIRCUITS:
            planted, behaviour = task_of(name)
            if kind == "nodes":
                each, table = pair_effects(
                    behaviour,
                    over=OVER,
                    method=method,
                    patching="noising",
                    positions="all",
                    **QUIET,
                )
                found, truth, units = each.mean(0), planted.nodes, table["unit"].to_numpy()
            else:
                edges = edges_of(behaviour.net)
                where = edges.allowed.nonzero().T.tolist()
                units = np.asarray(edges.names(*where))
                each = pair_edge_effects(behaviour, method=method, **QUIET)
                found, truth = each.mean(0)[edges.allowed.numpy()], planted.edges
            best = units[np.argsort(-np.abs(found), kind="stable")[: len(truth)]]
            row[name.replace("_", " ")] = f"{len(truth & set(best)) / len(truth):.2f}"
        rows.append(row)
    return rows


def levels() -> list[dict[str, str]]:
    """Return how often nodes are called significant where nothing is, and where something is."""
    rows = []
    for method in [name for name in EFFECT_METHODS if name != "mask"]:
        random = np.random.default_rng(0)
        p, found = [], {n: [] for n in (8, 16, 32)}
        for name in CIRCUITS:
            planted, behaviour = task_of(name)
            test = Test(n_permutations=499)
            for _ in range(40):
                swap = random.random(len(behaviour)) < 0.5
                clean, corrupted = (
                    [b if s else a for a, b, s in zip(*sides, swap, strict=True)]
                    for sides in (
                        (behaviour.clean_ids, behaviour.corrupted_ids),
                        (behaviour.corrupted_ids, behaviour.clean_ids),
                    )
                )
                mixed = Behaviour(
                    behaviour.net,
                    clean,
                    corrupted,
                    right=behaviour.right.tolist(),
                    wrong=behaviour.wrong.tolist(),
                )
                table = effects(
                    mixed, over=OVER, method=method, positions="all", test=test, **QUIET
                ).table
                p.append(table.loc[table["unit"].isin(planted.nodes), "p"].to_numpy())
            for n in found:
                some = Behaviour(
                    behaviour.net,
                    behaviour.clean_ids[:n],
                    behaviour.corrupted_ids[:n],
                    right=behaviour.right[:n].tolist(),
                    wrong=behaviour.wrong[:n].tolist(),
                )
                table = effects(
                    some, over=OVER, method=method, positions="all", test=test, **QUIET
                ).table
                q = table.loc[table["unit"].isin(planted.nodes), "q"].to_numpy()
                found[n].append(q)
        nothing = rate(np.concatenate(p))
        power = "; ".join(
            f"{n}: {np.mean(np.concatenate(q) <= 0.05):.0%}" for n, q in found.items()
        )
        rows.append(
            {
                "method": f"`{method}`",
                "nothing": f"{nothing.rate:.3f} ({nothing.low:.3f} to {nothing.high:.3f})",
                "found, by pairs": power,
            }
        )
    return rows


def real() -> list[dict[str, str]]:
    """Return circuits of four behaviours of SmolLM2 by every method, tested on the other half."""
    net = nissl.load("smollm2")
    tasks: list[Task] = [
        nissl.behaviour.indirect_object(net, n=16, **QUIET),
        nissl.behaviour.agreement(net, n=16, **QUIET),
        nissl.behaviour.fact_recall(net, n=16, **QUIET),
        nissl.behaviour.sums(net, n=16, **QUIET),
    ]
    ways: list[tuple[str, dict[str, Any]]] = [
        ("`eap`, edges", {"method": "eap"}),
        ("`eap_ig`, edges", {"method": "eap_ig"}),
        ("`integrated`, heads and MLPs", {"method": "integrated", "over": OVER}),
        ("`relp`, heads and MLPs", {"method": "relp", "over": OVER}),
        ("`mask`, heads and MLPs", {"method": mask, "over": OVER}),
    ]
    rows = []
    for task in tasks:
        for said, options in ways:
            begin = time.process_time()
            found = circuit(task, size=0.02 if "edges" in said else 0.1, **options, **QUIET)
            seconds = time.process_time() - begin
            own = found.scores(n_random=3, **QUIET).iloc[0]
            curve = found.scores(sizes=SIZES, n_random=0, **QUIET).attrs
            rows.append(
                {
                    "behaviour": task.name,
                    "method": said,
                    "parts": f"{int(own['n'])} of {len(found.parts)}",
                    "faithfulness": f"{own['faithfulness']:.2f}",
                    "random": f"{own['random']:.2f}",
                    "CMD": f"{curve['CMD']:.3f}",
                    "CPR": f"{curve['CPR']:.3f}",
                    "seconds": f"{seconds:.0f}",
                }
            )
            print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    Path(__file__).with_name("circuits.md").write_text(page(), encoding="utf-8")
