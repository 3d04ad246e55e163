"""Comparative neuron analysis (system 158): the few deep neurons that carry one-digit addition.

The paper (Yu and Ananiadou 2024) ablates the attention head that matters most for arithmetic, and
ranks neurons by how much of their contribution to the answer goes with it: those few carry the
prediction, and the rest of the deep layers can be pruned. Here SmolLM2 adds one-digit numbers after
three examples. On one half of the sums that it gets right the head and the neurons are found; on
the other half all neurons of the deep layers (from the head's on) are held at their means but the
top 1%, or but 1% of other neurons of the same layers that write as much.
"""

import pandas as pd

import nissl
from nissl.behaviour import halves, head_damage, known, output_magnitude, pruning_effect
from nissl.selectivity import comparative
from nissl.statistics import Test
from nissl.statistics.figure import bar, heatmap, panels, save_figure

SEED, SHARE = 0, 0.01  # the share of deep neurons that is kept
EXAMPLES = ("4 + 1 = 5\n0 + 3 = 3\n2 + 6 = 8\n", "1 + 3 = 4\n2 + 2 = 4\n5 + 2 = 7\n")


def sums():
    """Return all sums below ten after each of the examples, but for the examples themselves."""
    rows = [
        (f"{shown}{a} + {b} = ", str(a + b), "addition", f"{min(a, b)} + {max(a, b)}")
        for shown in EXAMPLES
        for a in range(10)
        for b in range(10 - a)
        if f"{a} + {b} =" not in shown
    ]
    return pd.DataFrame(rows, columns=["text", "answer", "relation", "pair"])


def split(facts):
    """Return halves that share no pair of numbers, with every answer on both sides."""
    pairs = facts.drop_duplicates("pair")
    often = pairs["answer"].map(pairs["answer"].value_counts()) > 1
    sides = halves(pairs[often], labels="answer", seed=SEED)
    return (facts[facts["pair"].isin(side["pair"])].reset_index(drop=True) for side in sides)


net = nissl.load("smollm2", dtype="bfloat16", progress=False)
facts, test = known(net, sums(), labels="relation", least=30), Test(seed=SEED)
finding, testing = split(facts)
heads = head_damage(net, finding.drop_duplicates("pair"), last=1, test=test)
best = heads.top(1, by="damage").table.iloc[0]
layer, head = int(best["layer"]), int(best["head"])

deep = [f"blocks.{i}.mlp.neurons" for i in range(layer, net.n_layers)]
edit = nissl.ablate(sites=f"blocks.{layer}.attn.z", heads=head, positions=-1)
found = comparative(net, finding, edit=edit, sites=deep, exchange="pair", test=test)
prompts = [net.tokenizer.encode(text) for text in finding["text"]]
rec = nissl.record(net, prompts, sites=deep, bos="never", progress=False)
units = output_magnitude(net, rec)
top = found.top(round(SHARE * len(units)), by="change").units
# The first token holds massive activations, which no mean should spread to other tokens.
means = rec.values[rec["position"].values > 0].mean(axis=0)
kept = pruning_effect(net, top, testing, units=units, values=means, test=test).table.iloc[0]

figure, axes = panels(2)
grid = heads.table.pivot(index="head", columns="layer", values="damage")
heatmap(grid, label="fall without the head (nats)", axes=axes[0])
shown = {"whole": "nothing pruned", "kept": f"but {SHARE:.0%}", "null_mean": "but as many others"}
bar({name: kept[row] for row, name in {**shown, "pruned": "all pruned"}.items()}, axes=axes[1])
axes[1].set_ylabel("sums answered rightly")
save_figure(figure, "out/selectivity/comparative.png")

taken = kept["whole"] - kept["pruned"]
nissl.claim(
    "comparative",
    system=158,
    says="The deep neurons whose contribution falls most with the head that matters carry "
    "arithmetic: with 1% of them kept and the rest pruned it stays.",
    measured={
        "saved": (kept["kept"] - kept["pruned"]) / taken,
        "saved_p": kept["p"],
        "accuracy": kept["kept"],
        "accuracy_whole": kept["whole"],
        "accuracy_pruned": kept["pruned"],
        "layer": layer,
        "head": head,
        "head_damage": best["damage"],
        "n_kept": len(top),
        "n_significant": len(found.significant()),
    },
    null={
        "saved": (kept["null_mean"] - kept["pruned"]) / taken,
        "accuracy": kept["null_mean"],
    },
    rule="saved >= 0.5 and saved > null.saved and saved_p <= 0.05",
    data=f"smollm2, one-digit sums after three examples, {len(finding)} to find the head and the "
    f"neurons and {len(testing)} with other numbers to test them"
    "; saved: of the accuracy that pruning all deep neurons takes, the share that keeping 1% "
    "saves; nothing is retrained; null: neurons of the same layers that write as much",
)
