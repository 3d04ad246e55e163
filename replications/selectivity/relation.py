"""Relation-specific neurons (system 24): silencing them should hurt their relation and no other.

Two models are asked facts of nine relations, and tested on the eight that each knows best. On one
half of what it knows, every MLP neuron is scored for every relation; the best hundredth are
silenced, and the other half is asked again. The null silences random neurons of the same layers
that write as much.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import nissl
from nissl.behaviour import (
    AnswerMeasure,
    PromptScorer,
    ablation_effect,
    effect_matrix,
    halves,
    output_magnitude,
)
from nissl.selectivity import relation
from nissl.statistics import Test
from nissl.statistics.figure import heatmap

SEED, N_DRAWS, LEAST, RELATIONS = 0, 19, 30, 8
TRIED, FOUND, ASKED = 150, 30, 4  # facts of each relation: at first, to find neurons, to test them
SIZES = (0.001, 0.003, 0.01)  # of all neurons
MODELS = {"smollm2": "#2f5d8a", "gemma3-270m": "#c8553d"}


def known(net):
    """Facts that the network answers rightly, of the relations of which it knows most."""
    facts = nissl.read("relations").sample(frac=1, random_state=SEED)
    facts = facts.groupby("relation").head(TRIED)
    before, right = PromptScorer(net, list(facts["text"]), list(facts["answer"])).answers()
    facts = facts.assign(before=before)[right]
    counts = facts["relation"].value_counts().head(RELATIONS)
    return facts[facts["relation"].isin(counts.index[counts >= LEAST])]


def fall(net, facts, units):
    """By how much answers get less likely without units, in nats."""
    with net.edit(nissl.ablate(units)):
        scorer = PromptScorer(net, list(facts["text"]), list(facts["answer"]))
        after, _ = scorer.answers(progress=False)
    return float((facts["before"] - after).mean())


def measure(name):
    """Find neurons on one half of the facts, silence them on the other."""
    net = nissl.load(name, dtype="bfloat16", progress=False)
    found_on, tested_on = halves(known(net), labels="relation", seed=SEED)
    found_on = found_on.groupby("relation").head(FOUND).drop(columns=["answer", "before"])
    tested_on = tested_on.groupby("relation").head(ASKED)
    rec = nissl.record(net, found_on, sites="mlp.neurons")
    table = relation(
        rec, labels="relation", exchange="fact", test=Test(n_permutations=9, seed=SEED)
    ).table
    units, best = output_magnitude(net, rec), {}
    for kind, rows in table.groupby("label"):
        best[kind] = list(rows.nlargest(int(SIZES[-1] * len(units)), "effect")["unit"])
    hurt = ablation_effect(
        net,
        best,
        on=tested_on,
        labels="relation",
        units=units,
        test=Test(n_permutations=N_DRAWS, seed=SEED),
        measure=AnswerMeasure(batch_size=320),
    )
    grows = [
        np.mean(
            [
                fall(net, tested_on[tested_on["relation"] == kind], top[: int(size * len(units))])
                for kind, top in best.items()
            ]
        )
        for size in SIZES[:-1]
    ]
    mine = hurt.table["unit"] == hurt.table["label"]
    return hurt, [*grows, hurt.table.loc[mine, "damage"].mean()]


measured, null, shown = {}, {}, {}
for name in MODELS:
    hurt, grows = shown[name] = measure(name)
    table = hurt.table
    contrast = table[table["label"] == "own - others"]
    own = grows[-1]
    short = name.split("-")[0]
    measured |= {
        f"{short}_relations": len(contrast),
        f"{short}_own": float(own),
        f"{short}_others": float(own - contrast["damage"].mean()),
        f"{short}_own_of_a_thousandth": float(grows[0]),
        f"{short}_specific": float((contrast["p"] <= 0.05).mean()),
    }
    null[f"{short}_own_less_others"] = float(contrast["null_mean"].mean())

figure, axes = plt.subplots(
    1, 3, figsize=(17, 5.2), layout="constrained", width_ratios=(1.25, 1.25, 0.7)
)
for axis, (name, (hurt, grows)) in zip(axes[:2], shown.items(), strict=True):
    fall_of = effect_matrix(hurt, value="damage", names=sorted(set(hurt.units)))
    heatmap(fall_of, numbers=True, label="fall of the log probability (nats)", axes=axis)
    axis.set(
        xlabel="facts asked",
        ylabel="neurons silenced (how many)",
        title=f"{name}: the best {SIZES[-1]:.0%} of neurons for each relation",
    )
    axes[2].plot([100 * size for size in SIZES], grows, "o-", color=MODELS[name], label=name)
axes[2].set(
    xscale="log",
    xlabel="neurons silenced (%)",
    ylabel="fall on their own relation (nats)",
    title="More neurons",
)
axes[2].set_xticks([100 * size for size in SIZES], [f"{100 * size:g}" for size in SIZES])
axes[2].minorticks_off()
axes[2].legend(frameon=False)
axes[2].spines[["top", "right"]].set_visible(False)
path = Path("out/selectivity/relation.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=120)

nissl.claim(
    "relation",
    system=24,
    says="Neurons found by statistics for a relation hurt it more than other relations when they "
    "are silenced.",
    measured=measured | {"specific": min(v for k, v in measured.items() if "specific" in k)},
    null=null,
    rule="specific > 0.5",
    data=f"facts that the models answer rightly, at least {LEAST} of each relation; {FOUND} of "
    f"each, at most, to find neurons, {ASKED} others to test them; {N_DRAWS} groups of neurons "
    "matched by layer and by weight"
    "; specific: share of the relations that their neurons hurt more than others (p <= 0.05), in "
    "the model where it is less; not the first run: frames, relations and counts of facts were "
    "changed after one that was inconclusive too",
)
