"""Relation-specific neurons (system 24): silencing them should hurt their relation and no other.

Two models are asked facts of nine relations, and tested on the eight that each knows best. On one
half of what it knows, every MLP neuron is scored for every relation; the best hundredth are
silenced, and the other half is asked again. The null silences random neurons of the same layers
that write as much. Fewer neurons are silenced too: the paper finds that they add up.
"""

import pandas as pd

import nissl
from nissl.behaviour import (
    AnswerMeasure,
    ablation_effect,
    effect_matrix,
    halves,
    known,
    output_magnitude,
)
from nissl.selectivity import relation
from nissl.statistics import Test
from nissl.statistics.figure import curve, heatmap, panels, save_figure

SEED, N_DRAWS, LEAST, RELATIONS = 0, 19, 30, 8
TRIED, FOUND, ASKED = 150, 30, 4  # facts of each relation: at first, to find neurons, to test them
SIZES = (0.001, 0.003, 0.01)  # of all neurons
MODELS = ("smollm2", "gemma3-270m")


def best_known(net):
    """Return facts that the network answers rightly, of the relations of which it knows most."""
    facts = nissl.read("relations").sample(frac=1, random_state=SEED)
    facts = known(net, facts.groupby("relation").head(TRIED), labels="relation", least=0)
    counts = facts["relation"].value_counts().head(RELATIONS)
    return facts[facts["relation"].isin(counts.index[counts >= LEAST])]


def silenced(name):
    """Find neurons on one half of the facts, silence them on the other; a Finding by their share.

    Matched neurons beside the fewer ones are drawn but twice: no claim is about them.
    """
    net = nissl.load(name, dtype="bfloat16", progress=False)
    found_on, tested_on = halves(best_known(net), labels="relation", seed=SEED)
    found_on = found_on.groupby("relation").head(FOUND).drop(columns=["answer", "log_probability"])
    tested_on = tested_on.groupby("relation").head(ASKED)
    rec = nissl.record(net, found_on, sites="mlp.neurons")
    test = Test(n_permutations=9, seed=SEED)
    table = relation(rec, labels="relation", exchange="fact", test=test).table
    units = output_magnitude(net, rec)
    best = {
        kind: list(rows.nlargest(int(SIZES[-1] * len(units)), "effect")["unit"])
        for kind, rows in table.groupby("label")
    }
    return {
        size: ablation_effect(
            net,
            {kind: top[: int(size * len(units))] for kind, top in best.items()},
            on=tested_on,
            labels="relation",
            units=units,
            measure=AnswerMeasure(batch_size=320),
            test=Test(n_permutations=N_DRAWS if size == SIZES[-1] else 2, seed=SEED),
        )
        for size in SIZES
    }


measured, null, grows = {}, {}, {}
figure, axes = panels(3)
for name, heat in zip(MODELS, axes, strict=False):
    found = silenced(name)
    tables = {size: one.table for size, one in found.items()}
    own = {size: t.loc[t["unit"] == t["label"], "damage"].mean() for size, t in tables.items()}
    contrast = tables[SIZES[-1]].query("label == 'own - others'")
    short, grows[name] = name.split("-")[0], pd.Series(own)
    measured |= {
        f"{short}_relations": len(contrast),
        f"{short}_own": float(own[SIZES[-1]]),
        f"{short}_others": float(own[SIZES[-1]] - contrast["damage"].mean()),
        f"{short}_own_of_a_thousandth": float(own[SIZES[0]]),
        f"{short}_specific": float((contrast["p"] <= 0.05).mean()),
    }
    null[f"{short}_own_less_others"] = float(contrast["null_mean"].mean())
    falls = effect_matrix(found[SIZES[-1]], value="damage")
    heatmap(falls, numbers=True, label="fall (nats)", axes=heat).set_title(name)
curve(pd.DataFrame(grows).rename_axis("share of neurons silenced"), axes=axes[2])
axes[2].set(xscale="log", ylabel="fall on their own relation (nats)", title="More neurons")
save_figure(figure, "out/selectivity/relation.png")

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
