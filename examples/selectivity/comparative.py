"""Comparative neuron analysis (system 158): the few deep neurons that carry one-digit addition.

The paper (Yu and Ananiadou 2024) ablates the attention head that matters most for arithmetic, and
ranks neurons by how much of their contribution to the answer goes with it: those few carry the
prediction, and the rest of the deep layers can be pruned. Here SmolLM2 adds one-digit numbers after
three examples. On one half of the sums that it gets right the head and the neurons are found; on
the other half all neurons of the deep layers (from the head's on) are held at their means but the
top 1%, or but 1% of other neurons of the same layers that write as much.

For power, 1% of the deep neurons at random are wired to the head: a readout of the digit from what
the head holds is written into directions that nothing uses, and each neuron writes its digit.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import nissl
from nissl.network.weights import folded_unembedding
from nissl.selectivity import comparative, damage, halves, head_damage, keeping, known, weighed

SEED, SHARE = 0, 0.01  # the share of deep neurons that is kept
SHARES = (0.003, 0.03, 0.1, 0.3)  # more of them, for the figure
EXAMPLES = ("4 + 1 = 5\n0 + 3 = 3\n2 + 6 = 8\n", "1 + 3 = 4\n2 + 2 = 4\n5 + 2 = 7\n")
GAIN, PUSH = 0.25, 0.5  # of the stream: what the planted head and the planted neurons write


def sums():
    """All sums below ten after each of the examples, but for the examples themselves."""
    rows = [
        (f"{shown}{a} + {b} = ", str(a + b), "addition", f"{min(a, b)} + {max(a, b)}")
        for shown in EXAMPLES for a in range(10) for b in range(10 - a)
        if f"{a} + {b} =" not in shown
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["text", "answer", "relation", "pair"])


def split(facts):
    """Halves that share no pair of numbers, with every answer on both sides."""
    pairs = facts.drop_duplicates("pair")
    often = pairs["answer"].map(pairs["answer"].value_counts()) > 1
    first, second = halves(pairs[often], labels="answer", seed=SEED)
    return [facts[facts["pair"].isin(half["pair"])].reset_index(drop=True)
            for half in (first, second)]  # fmt: skip


def tested(net, finding, testing, layer, head):
    """Find the top neurons on one half; on the other keep them alone, and ablate them."""
    deep = [f"blocks.{i}.mlp.neurons" for i in range(layer, net.n_layers)]
    edit = nissl.ablate(sites=f"blocks.{layer}.attn.z", heads=head, positions=-1)
    found = comparative(net, finding, edit=edit, sites=deep, block="pair", seed=SEED)
    prompts = [net.tokenizer.encode(text) for text in finding["text"]]
    rec = nissl.record(net, prompts, sites=deep, bos="never", progress=False)
    # The first token holds massive activations, which no mean should spread to other tokens.
    means = rec.values[rec["position"].values > 0].mean(axis=0)
    units = weighed(net, rec)
    top = found.top(round(SHARE * len(units)), by="change").units
    kept = keeping(net, top, testing, units=units, values=means, seed=SEED)
    # One prompt a pair of numbers is enough for what is a mean of log probabilities.
    once = testing.drop_duplicates("pair")
    hurt = damage(net, {"addition": top}, once, labels="relation", units=units, seed=SEED)
    accuracy, said = (kept.table.iloc[i] for i in (0, 1))
    by = hurt.table.iloc[0]
    taken = accuracy["whole"] - accuracy["pruned"]
    measured = {
        "accuracy": accuracy["kept"], "accuracy_whole": accuracy["whole"],
        "accuracy_pruned": accuracy["pruned"], "p_accuracy": accuracy["p"],
        "saved": (accuracy["kept"] - accuracy["pruned"]) / taken,
        "log_probability": said["kept"], "damage": by["damage"], "p_damage": by["p"],
        "n_kept": len(top), "n_significant": len(found.significant()),
    }  # fmt: skip
    null = {
        "accuracy": accuracy["null_mean"], "damage": by["null_mean"],
        "saved": (accuracy["null_mean"] - accuracy["pruned"]) / taken,
        "log_probability": said["null_mean"],
    }  # fmt: skip
    return found, units, means, kept, measured, null


def plant(net, facts, layer, head, units):
    """Wire 1% of the deep neurons to the head, so that they alone could say the sum."""
    z, ends = f"blocks.{layer}.attn.z", f"blocks.{net.n_layers - 1}.resid_post"
    mids = [f"blocks.{i}.resid_mid" for i in range(layer, net.n_layers)]
    ids = [net.tokenizer.encode(text) for text in facts["text"]]
    kept = net.run({"input_ids": torch.tensor(ids)}, sites=[z, ends, *mids])
    last = {name: x[:, -1].float() for name, x in kept.items()}
    width = last[z].shape[1] // net.find(z)[0].heads
    mine = slice(head * width, (head + 1) * width)
    digits = torch.tensor([int(answer) for answer in facts["answer"]])
    wanted = torch.nn.functional.one_hot(digits, 10).float()
    # A readout of the digit from the head, and ten directions of the stream that nothing uses.
    seen = last[z][:, mine]
    ridge = 1e-3 * seen.square().sum() / width * torch.eye(width)
    reads = torch.linalg.solve(seen.T @ seen + ridge, seen.T @ wanted)
    free = torch.linalg.svd(torch.cat([last[name] for name in mids])).Vh[-10:]
    size = last[mids[0]].norm(dim=1).mean()
    net.block(layer).self_attn.o_proj.weight.data[:, mine] += (GAIN * size * free.T) @ reads.T
    tokens = [net.tokenizer.encode(str(d))[0] for d in range(10)]
    says = folded_unembedding(net)[tokens]
    says = torch.nn.functional.normalize(says - says.mean(dim=0), dim=1)
    rng = np.random.default_rng(SEED)
    chosen = units.iloc[rng.choice(len(units), round(SHARE * len(units)), replace=False)]
    read = GAIN * last[z].shape[1] ** 0.5  # what a neuron reads of its digit after the norm
    strength = PUSH * last[ends].norm(dim=1).mean() / (len(chosen) / 10 * read**2)
    for number, unit in enumerate(chosen.itertuples()):
        block, digit = net.block(unit.layer), number % 10
        scale = block.post_attention_layernorm.weight.float()
        block.mlp.gate_proj.weight.data[unit.index] = free[digit] / scale
        block.mlp.up_proj.weight.data[unit.index] = free[digit] / scale
        block.mlp.down_proj.weight.data[:, unit.index] = strength * says[digit]


net = nissl.load("smollm2", dtype="bfloat16", progress=False)
facts = known(net, sums(), labels="relation", least=30)
finding, testing = split(facts)
heads = head_damage(net, finding, last=1, block="pair", seed=SEED)
best = heads.top(1, by="damage").table.iloc[0]
layer, head = int(best["layer"]), int(best["head"])
found, units, means, kept, measured, null = tested(net, finding, testing, layer, head)
curve = [(SHARE, *kept.table.loc[0, ["kept", "null_mean"]])]
for share in SHARES:
    more = found.top(round(share * len(units)), by="change").units
    row = keeping(net, more, testing, units=units, values=means, n_draws=2, progress=False)
    curve.append((share, *row.table.loc[0, ["kept", "null_mean"]]))
curve = np.asarray(sorted(curve), dtype=float)
top = found.top(measured["n_kept"], by="change").table
unembedding = folded_unembedding(net)


def promoted(row):
    """The tokens that a neuron's output, at its mean activity, makes likelier."""
    write = net.output_weights(row["site"])[row["index"]].float()
    sign = np.sign(means[list(units["unit"]).index(row["unit"])])
    best = (unembedding @ write * float(sign)).topk(4).indices
    return " ".join(repr(token) for token in net.tokens(best.tolist()))


figure, axes = plt.subplots(1, 3, figsize=(14.5, 4.6), layout="constrained")
grid = heads.table.pivot(index="layer", columns="head", values="damage")
edge = float(heads.table["damage"].abs().max())
image = axes[0].imshow(grid.T, cmap="RdBu_r", vmin=-edge, vmax=edge, aspect="auto")
axes[0].plot(layer, head, "s", ms=11, mfc="none", mec="black")
axes[0].set(xlabel="layer", ylabel="head", title="Ablating each head")
figure.colorbar(image, ax=axes[0], label="fall of the answer's log probability (nats)")
table = found.table
jitter = np.random.default_rng(SEED).uniform(-0.3, 0.3, len(table))
axes[1].scatter(table["layer"] + jitter, table["change"], s=4, lw=0, color="#bbbbbb", label="all")
is_top = table["unit"].isin(top["unit"]).to_numpy()
axes[1].scatter((table["layer"] + jitter)[is_top], table["change"][is_top], s=10, lw=0,
                color="#c8553d", label=f"top {SHARE:.0%}")  # fmt: skip
for number, (_, row) in enumerate(top.iloc[:4].iterrows()):
    axes[1].annotate(
        f"{row['layer']}[{row['index']}] {promoted(row)}", (row["layer"], row["change"]),
        xytext=(0.98, 0.97 - 0.07 * number), textcoords="axes fraction", ha="right", va="top",
        fontsize=7.5, arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "#777777"},
    )  # fmt: skip
axes[1].set(xlabel="layer", ylabel="contribution lost with the head (nats)",
            ylim=(None, 1.6 * table["change"].max()),
            title=f"What neurons lose with head {head} of layer {layer}")  # fmt: skip
axes[1].legend(frameon=False, loc="lower right", fontsize=8)
axes[2].plot(100 * curve[:, 0], curve[:, 1], "o-", color="#c8553d", label="those that lose most")
axes[2].plot(100 * curve[:, 0], curve[:, 2], "o-", color="#777777", label="others that match them")
axes[2].axhline(measured["accuracy_whole"], color="black", lw=0.8, ls=":")
axes[2].axhline(measured["accuracy_pruned"], color="black", lw=0.8, ls="--")
axes[2].text(31, measured["accuracy_whole"] - 0.015, "nothing pruned", ha="right", va="top",
             fontsize=8)  # fmt: skip
axes[2].text(31, measured["accuracy_pruned"] - 0.015, "all pruned", ha="right", va="top",
             fontsize=8)  # fmt: skip
axes[2].set(xscale="log", xlabel=f"% of the neurons of layers {layer} to {net.n_layers - 1} kept",
            ylabel="sums answered rightly", ylim=(0, 1.05),
            title="Keeping a few, on other sums")  # fmt: skip
axes[2].legend(frameon=False, fontsize=8, loc="lower right")
for axis in axes[1:]:
    axis.spines[["top", "right"]].set_visible(False)
path = Path("out/selectivity/comparative.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=130)

plant(net, pd.concat([finding, testing]), layer, head, units)
planted, planted_null = tested(net, finding, testing, layer, head)[-2:]
nissl.claim(
    "comparative",
    system=158,
    says="The deep neurons whose contribution falls most with the head that matters carry "
    "arithmetic: with 1% of them kept and the rest pruned it stays, without them it goes.",
    measured={**measured, "layer": layer, "head": head, "head_damage": best["damage"],
              "n_known": len(facts), "n_tested": len(testing)},
    null=null,
    rule="saved >= 0.5 and p_accuracy <= 0.05 and damage > null.damage and p_damage <= 0.05",
    power={**planted, **{f"null.{name}": value for name, value in planted_null.items()}},
    why="saved: of the accuracy that pruning all deep neurons takes, the share that keeping 1% "
    "saves; nothing is retrained; null: neurons of the same layers that write as much",
    data=f"smollm2, one-digit sums after three examples, {len(finding)} to find the head and the "
    f"neurons and {len(testing)} with other numbers to test them",
    seed=SEED,
)  # fmt: skip
