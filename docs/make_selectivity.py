"""Make docs/selectivity.md: what the room holds, and its levels and power: see the page for how."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nissl.cli.printing import markdown
from nissl.methods import methods, system
from nissl.statistics import rate
from nissl.statistics.calibration import Rate
from planted import CASES, Case
from untrained import SCORES, untrained_rate

HEAD = """# Selectivity

Which units respond to what. Every method of this room has one shape: a Recording, or a Network and
inputs of several kinds, goes in; a Finding comes out, with a null; an Edit puts it to the test.

<!-- not run: minutes; replications/selectivity/relation.py runs these lines for its claim -->
```python
import nissl
from nissl.statistics.figure import heatmap

net = nissl.load("smollm2")
facts = nissl.read("relations")
facts = facts[facts["relation"] != "superlative"]  # of which it knows too few
facts = nissl.behaviour.known(net, facts, labels="relation")
found_on, tested_on = nissl.behaviour.halves(facts, labels="relation")
rec = nissl.record(net, found_on.drop(columns="answer"), sites="mlp.neurons")
found = nissl.selectivity.relation(rec, labels="relation", exchange="fact")
best = {
    kind: list(rows.nlargest(50, "effect")["unit"]) for kind, rows in found.table.groupby("label")
}
units = nissl.behaviour.output_magnitude(net, rec)
hurt = nissl.behaviour.ablation_effect(net, best, on=tested_on, labels="relation", units=units)
heatmap(nissl.behaviour.effect_matrix(hurt), numbers=True, label="nats")
```

Units are found on one half of the facts and tested on the other. `ablation_effect` silences each
group of units, and beside it random units of the same layers that write as much; it measures
answers, losses of texts or rankings. What the papers claim of each method, and what was measured
here, is in [Claims](claims.md).

![What answers of each relation lose without the neurons of another](relation.png)

This page is made by `PYTHONPATH=tests python docs/make_selectivity.py`.

## Methods

"""
LEVELS = """

## Levels and power

Every method that gives p-values was run on data that hold nothing, and on data with an effect
planted. *Nothing* is the share of tests with p of at most 0.05, and its exact 99% interval: it
should hold 0.05, or lie below where p is a bound. *Found* is the share of planted effects with p of
at most 0.05, before any correction, for three sizes of the effect. `families` and
`weight_signature` describe units and test nothing.

Ablated groups are held against units matched to them, each of which is drawn from twenty that are
alike, the group's own among them; no other unit of the group is. A group that is a large share of
its layer therefore stands out too often, by up to that share: twelve neurons of 48 may, of 2,000
hardly.

"""
UNTRAINED = """

## Networks that were never trained

A network with fresh weights responds to its input. Scored against nineteen others of its kind,
unit by unit, it should exceed them no more often than chance has it, in one test of twenty. These
are the methods that score units, heads or layers. The networks are Llamas of three small layers;
for `lazy` OPTs, whose neurons are ReLUs, for `relevance` BERTs that score pairs, for `coverage`
convolutional. Inputs and labels are such that a network can tell them apart, and none was taught
to. The interval is of 99.9%, since there are many methods. *Scores* counts the p-values. Where
units of one network are not independent, few of them count.

"""
TARGETS = 12  # untrained networks, each with nineteen others


def page() -> str:
    """Return the whole page; some minutes on one core."""
    own = {m.system for m in methods() if m.room == "selectivity"}
    rows = [
        {
            "method": f"`{m.name.rsplit('.', 1)[1]}`",
            "system": f"{system(m.system).name} ({m.system})",
            "what it does": m.summary,
        }
        for m in sorted(methods(), key=lambda m: m.system)
        if m.system in own  # what a system does not need this room for stands below it
    ]
    rates = {name: untrained_rate(case, n_targets=TARGETS) for name, case in SCORES.items()}
    untrained = [
        {"method": f"`{name}`", "scores": str(found.n), "exceed the others": said(found)}
        for name, found in rates.items()
    ]
    return (
        HEAD
        + markdown(rows)
        + LEVELS
        + markdown([*map(measured, CASES)])
        + UNTRAINED
        + markdown(untrained)
        + "\n"
    )


def measured(case: Case) -> dict[str, str]:
    """Return the row of a method: what it finds where nothing is, and where something is."""
    repeats = 4 * case.repeats
    nothing = [case.p(np.random.default_rng([seed, 0]), 0.0)[0] for seed in range(3 * repeats)]
    powers = []
    for number, size in enumerate(case.sizes, 1):
        p = [case.p(np.random.default_rng([seed, number]), size)[1] for seed in range(repeats)]
        powers.append(f"{size:g}: {rate(np.concatenate(p)).rate:.0%}")
    bound = " (p is a bound)" if case.bound else ""
    bound += " (a large share)" if case.share else ""
    return {
        "method": f"`{case.name}`",
        "data": case.data,
        "nothing": said(rate(np.concatenate(nothing))) + bound,
        "planted": case.effect,
        "found": "; ".join(powers),
    }


def said(found: Rate) -> str:
    """Write a rate with its interval."""
    return f"{found.rate:.3f} ({found.low:.3f} to {found.high:.3f})"


if __name__ == "__main__":
    Path(__file__).with_name("selectivity.md").write_text(page(), encoding="utf-8")
