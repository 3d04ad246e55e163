"""Neuron paths (system 193): one neuron a layer, chosen together, against others as many.

SmolLM2 names the one of two people who was named once. The path is chosen on pairs of one half, for
what its neurons do together at the last token. On the other half, what the logit difference loses
without it is held against paths of the most active neuron of each layer, of the neuron that alone
has the largest attribution, and of random neurons that write as much.
"""

import numpy as np
import pandas as pd
import torch

import nissl
from nissl.circuits import neuron_path, pair_effects
from nissl.statistics import paired_test
from nissl.statistics.figure import bar, panels, save_figure

SEED, FIND, TEST, STEPS, CANDIDATES, RANDOM, NEAR, PLANTED = 0, 8, 32, 3, 4, 24, 25, 0.1


def paths_of(net, pairs):
    """Return paths of the most active neurons and of those of the largest attribution."""
    lengths = torch.tensor([len(ids) for ids in pairs.clean_ids])
    active = [
        x[torch.arange(len(x)), lengths - 1].mean(0).abs()
        for x in net.run(pairs.clean_call, sites="mlp.neurons").values()
    ]
    each, rows = pair_effects(
        pairs, over="mlp.neurons", method="attribution", patching="zero", progress=False
    )
    rows = rows.assign(effect=each.mean(0))
    rows = rows[rows["position"] == rows["position"].max()]  # the last
    alone = rows.loc[rows.groupby("layer")["effect"].idxmax(), "unit"]
    most = [f"blocks.{layer}.mlp.neurons[{int(x.argmax())}]" for layer, x in enumerate(active)]
    return most, list(alone), active


def random_path(net, path, active, rng):
    """Draw for each neuron another of its layer that writes about as much."""
    drawn = []
    for unit, x in zip(path, active, strict=True):
        site, index = unit[:-1].split("[")
        writes = (x * net.output_weights(site).norm(dim=1)).numpy()
        order = np.argsort(np.abs(writes - writes[int(index)]))
        drawn.append(f"{site}[{rng.choice(order[1 : NEAR + 1])}]")
    return drawn


def lost(net, pairs, path):
    """Return which share of the mean logit difference each pair loses without a path."""
    with net.edit(nissl.ablate(path, positions=-1)):
        left = pairs.clean()
    return ((pairs.clean_value - left) / pairs.clean_value.mean()).numpy()


def compared(joint, others, drawn):
    """Return the fall, and p against the better of other choices, over pairs, and random paths."""
    better = max(others, key=np.mean)
    found = paired_test(
        joint[:, None], better[:, None], units=pd.DataFrame({"unit": ["path"]}), progress=False
    )
    p_random = (1 + sum(x.mean() >= joint.mean() for x in drawn)) / (1 + len(drawn))
    p = float(found.table["p"].iloc[0])
    return {"fall": float(joint.mean()), "p": p, "fall_p": p_random}


net = nissl.load("smollm2", progress=False)
task = nissl.behaviour.indirect_object(net, n=2 * TEST, seed=SEED, progress=False)
first, second = task.halves
some = nissl.behaviour.Task(net, task.name, first.items.iloc[:FIND].reset_index(drop=True))
to_find, to_test = some.behaviour(), second.behaviour()

found = neuron_path(to_find, steps=STEPS, candidates=CANDIDATES, progress=False)
most_active, alone, active = paths_of(net, to_find)
rng = np.random.default_rng(SEED)
drawn = [lost(net, to_test, random_path(net, found.units, active, rng)) for _ in range(RANDOM)]
joint, *others = (lost(net, to_test, path) for path in (found.units, alone, most_active))
falls = dict(zip(("alone", "most active"), (float(x.mean()) for x in others), strict=True))
better, nothing = max(falls.values()), float(np.mean(drawn))
# The same pairs, were the path to take a tenth of the behaviour more than the better of the others.
planted = joint - joint.mean() + better + PLANTED

figure, axes = panels(2)
bar(pd.Series({"joint": joint.mean(), **falls, "random": nothing}), axes=axes[0])
axes[0].set(ylabel="share of the logit difference lost", title="Without a path, on the other half")
axes[1].plot(found.table["layer"], found.table["influence"], marker="o")
axes[1].set(xlabel="layer", ylabel="part of the joint influence")
save_figure(figure, "out/circuits/neuron_path.png")

nissl.claim(
    "neuron_path",
    system=193,
    says="Paths of neurons chosen layer by layer for their joint influence matter more than those "
    "of the most active neurons, or of neurons chosen each by its own attribution.",
    measured={
        **compared(joint, others, drawn),
        "alone": falls["alone"],
        "most_active": falls["most active"],
        "joint_influence": found.provenance["joint_influence"],
        "gap": found.provenance["gap"],
        "same_as_alone": len(set(found.units) & set(alone)) / len(alone),
    },
    null={"fall": better, "random": nothing},
    rule="fall > null.fall and p < 0.05 and fall_p < 0.05",
    power=compared(planted, others, drawn),
    data=f"smollm2, {net.n_layers} neurons at the last token; {len(to_find)} prompts of indirect "
    f"objects to find them, {len(to_test)} with other names to test; p: over pairs, against the "
    f"better of the two other choices, which is null.fall; fall_p: {RANDOM} random paths that "
    "write as much; planted: a tenth more than the better",
)
