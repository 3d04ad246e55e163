"""Recall versus reasoning (system 37): heads and layers that the one needs and the other does not.

The paper finds heads and layers by their effect on facts that are recalled and on puzzles that are
reasoned out, disables them, and loses one ability but not the other. A network as small as SmolLM2
recalls facts of countries, and of reasoning does sums of one digit. Relevance patching with zeros,
on one half of the pairs, chooses the heads whose shares of the two behaviours differ most; they are
ablated on the other half, beside random heads of the same layers. The same is done with the
attention and the MLP of each layer, beside others of their kind.
"""

import nissl
from nissl.behaviour import fact_recall, sums
from nissl.circuits import dissociation, effects
from nissl.statistics import MatchedUnits, Test
from nissl.statistics.figure import heatmap, panels, save_figure

N, HEADS, PARTS, DRAWS, SEED = 20, 13, 3, 19, 0  # 13 of 270 heads and 3 of 60 parts are 5%
TASKS = {"recall": fact_recall, "reasoning": sums}


def shares(pairs, over):
    """Return which share of a behaviour is lost without each node, about, by relevance patching."""
    how = {"method": "relp", "patching": "zero", "positions": "all", "test": None}
    table = effects(pairs, over=over, progress=False, **how).table
    size = float(pairs.clean_value.mean() - pairs.corrupted_value.mean())
    return table.assign(share=table["indirect_effect"] / size)


def chosen(behaviours, over, n, most):
    """Return the nodes that each behaviour needs more than the other, and all of them.

    At most so many are of one layer that random ones can be drawn beside them.
    """
    found = {name: shares(pairs, over) for name, pairs in behaviours.items()}
    table = found["recall"].assign(more=found["recall"]["share"] - found["reasoning"]["share"])
    groups = {}
    for name, ascending in (("recall", False), ("reasoning", True)):
        best = table.sort_values("more", ascending=ascending, kind="stable")
        groups[name] = list(best.groupby("layer").head(most)["unit"][:n])
    return groups, table


def accuracies(pairs, units):
    """Return the accuracy of each behaviour without units."""
    with pairs["recall"].net.edit(nissl.ablate(units)):
        return [float((x.clean() > 0).double().mean()) for x in pairs.values()]


net = nissl.load("smollm2")
halves = {name: make(net, n=N, progress=False).halves for name, make in TASKS.items()}
first, second = ({k: each[i].behaviour() for k, each in halves.items()} for i in (0, 1))
measured, null, damage = {}, {}, {}
for kind, over, n, most in (
    ("heads", "attn.z", HEADS, 4),
    ("layers", ["attn.out", "mlp.out"], PARTS, 2),
):
    groups, units = chosen(first, over, n, most)
    if kind == "layers":  # drawn from all layers, attention for attention and MLP for MLP
        units = units.assign(layer=units["site"].str.endswith("mlp.out").astype(int))
    test = Test(DRAWS, null=MatchedUnits(("layer",), n_nearest=30), seed=SEED)
    found = dissociation(groups, on=second, units=units, test=test, progress=False)
    table = found.table.set_index(["label", "unit"])
    own = table.loc["own - others"]
    damage[kind] = found.table[found.table["label"] != "own - others"].pivot(
        index="unit", columns="label", values="damage"
    )
    name = "dissociation" if kind == "heads" else "dissociation_of_layers"
    measured |= {
        name: own["damage"].min(),
        "p" if kind == "heads" else "p_of_layers": found.provenance["p_dissociation"],
        f"{kind}_p_matched": [own["p"][group] for group in TASKS],
        f"{kind}_p_pairs": [own["p_pairs"][group] for group in TASKS],
        f"shared_{kind}": found.provenance["shared"],
    }
    null[name] = own["null_mean"].max()
    for group in TASKS:
        measured[f"lost_without_{group}_{kind}"] = [table["damage"][t, group] for t in TASKS]
        measured[f"accuracy_without_{group}_{kind}"] = accuracies(second, groups[group])
        measured[f"{group}_{kind}"] = groups[group]

figure, axes = panels(2)
for each, (kind, table) in zip(axes, damage.items(), strict=True):
    heatmap(table.rename_axis(index=f"{kind} ablated", columns="share lost"), axes=each)
save_figure(figure, "out/circuits/recall_and_reasoning.png")
nissl.claim(
    "recall_and_reasoning",
    system=37,
    says="Recall and reasoning rest on heads of their own: without either's the other is left.",
    measured=measured,
    null=null,
    rule="dissociation >= 0.1 and p <= 0.05",
    data=f"smollm2, {N} pairs of each task, one half chooses {HEADS} heads or {PARTS} attention or "
    "MLP layers for each and the other tests; lost: share of the behaviour, 1 as corrupted; lists: "
    "recall of facts, one-digit sums; dissociation: what a group takes from its own task less from "
    f"the other, the smaller of the two groups; null: the larger mean of {DRAWS} groups of random "
    "heads of the same layers; p: the largest of both groups, of matched heads and permuted pairs",
)
