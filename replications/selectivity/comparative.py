"""Comparative neuron analysis (system 158): the few deep neurons that carry one-digit addition.

The paper (Yu and Ananiadou 2024) ablates the attention head that matters most for arithmetic, and
ranks neurons by how much of their contribution to the answer goes with it: those few carry the
prediction, and the rest of the deep layers can be pruned. Here SmolLM2 adds one-digit numbers after
three examples. On one half of the sums that it gets right the head and the neurons are found; on
the other half all neurons of the deep layers (from the head's on) are held at their means but the
top 1%, or but 1% of other neurons of the same layers that write as much.

For power, a chain of that size is planted. What the deep layers write for one digit rather than
another is taken from them; the head is told the answer, and writes it into directions that nothing
uses; and 1% of the deep neurons, at random, read it there and together say it as clearly as the
network did.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import nissl
from nissl.behaviour import ablation_effect, halves, keeping, known, output_magnitude
from nissl.network.sites.weights import folded_unembedding
from nissl.selectivity import comparative, head_damage
from nissl.statistics import Test

SEED, SHARE = 0, 0.01  # the share of deep neurons that is kept
SHARES = (0.003, 0.03, 0.1, 0.3)  # more of them, for the figure
EXAMPLES = ("4 + 1 = 5\n0 + 3 = 3\n2 + 6 = 8\n", "1 + 3 = 4\n2 + 2 = 4\n5 + 2 = 7\n")
GAIN, OPEN = 0.25, 8.0  # what the planted head writes, of the stream; how far neurons open


def sums():
    """All sums below ten after each of the examples, but for the examples themselves."""
    rows = [
        (f"{shown}{a} + {b} = ", str(a + b), "addition", f"{min(a, b)} + {max(a, b)}")
        for shown in EXAMPLES
        for a in range(10)
        for b in range(10 - a)
        if f"{a} + {b} =" not in shown
    ]
    return pd.DataFrame(rows, columns=["text", "answer", "relation", "pair"])


def split(facts):
    """Halves that share no pair of numbers, with every answer on both sides."""
    pairs = facts.drop_duplicates("pair")
    often = pairs["answer"].map(pairs["answer"].value_counts()) > 1
    first, second = halves(pairs[often], labels="answer", seed=SEED)
    return [
        facts[facts["pair"].isin(half["pair"])].reset_index(drop=True) for half in (first, second)
    ]


def tested(net, finding, testing, layer, head):
    """Find the top neurons on one half; on the other keep them alone, and ablate them."""
    deep = [f"blocks.{i}.mlp.neurons" for i in range(layer, net.n_layers)]
    edit = nissl.ablate(sites=f"blocks.{layer}.attn.z", heads=head, positions=-1)
    found = comparative(net, finding, edit=edit, sites=deep, exchange="pair", test=Test(seed=SEED))
    prompts = [net.tokenizer.encode(text) for text in finding["text"]]
    rec = nissl.record(net, prompts, sites=deep, bos="never", progress=False)
    # The first token holds massive activations, which no mean should spread to other tokens.
    means = rec.values[rec["position"].values > 0].mean(axis=0)
    units = output_magnitude(net, rec)
    top = found.top(round(SHARE * len(units)), by="change").units
    kept = keeping(net, top, testing, units=units, values=means, test=Test(seed=SEED))
    # One prompt a pair of numbers is enough for what is a mean of log probabilities.
    once = testing.drop_duplicates("pair")
    hurt = ablation_effect(
        net, {"addition": top}, on=once, labels="relation", units=units, test=Test(seed=SEED)
    )
    accuracy, said = (kept.table.iloc[i] for i in (0, 1))
    by = hurt.table.iloc[0]
    taken = accuracy["whole"] - accuracy["pruned"]
    measured = {
        "accuracy": accuracy["kept"],
        "accuracy_whole": accuracy["whole"],
        "accuracy_pruned": accuracy["pruned"],
        "saved_p": accuracy["p"],
        "saved": (accuracy["kept"] - accuracy["pruned"]) / taken,
        "log_probability": said["kept"],
        "damage": by["damage"],
        "damage_p": by["p"],
        "n_kept": len(top),
        "n_significant": len(found.significant()),
    }
    null = {
        "accuracy": accuracy["null_mean"],
        "damage": by["null_mean"],
        "saved": (accuracy["null_mean"] - accuracy["pruned"]) / taken,
        "log_probability": said["null_mean"],
    }
    at_end = rec["position"].values == rec["position"].values.max()
    units = units.assign(mean=means, at_end=rec.values[at_end].mean(axis=0))
    return found, units, kept, measured, null


def plant(net, facts, layer, head, units):
    """Take the digits from the deep layers, tell the head the answers, and let 1% pass them on."""
    z, end = f"blocks.{layer}.attn.z", f"blocks.{net.n_layers - 1}.resid_post"
    mids = [f"blocks.{i}.resid_mid" for i in range(layer, net.n_layers)]
    ids = torch.tensor([net.tokenizer.encode(text) for text in facts["text"]])
    kept = net.run({"input_ids": ids}, sites=[z, end, *mids])
    last = {name: x[:, -1].float() for name, x in kept.items()}
    size = {i: last[mids[i - layer]].norm(dim=1).mean() for i in range(layer, net.n_layers)}
    answers = torch.tensor([int(answer) for answer in facts["answer"]])
    says = folded_unembedding(net)[[net.tokenizer.encode(str(d))[0] for d in range(10)]]
    says = says - says.mean(dim=0)
    # How clearly the network says the digit, which is how clearly the planted neurons will.
    right = torch.nn.functional.one_hot(answers, 10).bool()
    digits = last[end] @ says.T
    clear = digits[right].mean() - digits[~right].mean()
    basis = torch.linalg.qr(says[:9].T).Q
    for i in size:
        for part in (net.block(i).self_attn.o_proj, net.block(i).mlp.down_proj):
            part.weight.data -= (basis @ (basis.T @ part.weight.data.float())).to(part.weight)
    tell(net, last[z], answers, layer, head)
    # The ten directions in which these streams have least.
    streams = [torch.nn.functional.normalize(last[name], dim=1) for name in mids]
    free = torch.linalg.svd(torch.cat(streams)).Vh[-10:]
    width = last[z].shape[1] // net.find(z)[0].heads
    output = net.block(layer).self_attn.o_proj.weight.data
    output[:, head * width : (head + 1) * width] = 0
    output[:, head * width : head * width + 10] = GAIN * size[layer] * free.T
    # Each neuron is for half of the digits and against the others, as its own code has it.
    rng = np.random.default_rng(SEED)
    chosen = units.iloc[rng.choice(len(units), round(SHARE * len(units)), replace=False)]
    codes = torch.tensor(rng.choice([-1.0, 1.0], (len(chosen), 10)), dtype=torch.float32)
    # What they write moves one digit alone, and nothing that later ones of them read.
    writes = clear / (OPEN * len(chosen)) * torch.linalg.pinv(says - says @ free.T @ free)
    for code, unit in zip(codes, chosen.itertuples(), strict=True):
        block = net.block(unit.layer)
        scale = block.post_attention_layernorm.weight.float() * GAIN * size[layer]
        reads = free * size[unit.layer] / (scale * output.shape[0] ** 0.5)
        block.mlp.gate_proj.weight.data[unit.index] = OPEN * reads.sum(dim=0)
        block.mlp.up_proj.weight.data[unit.index] = code @ reads
        block.mlp.down_proj.weight.data[:, unit.index] = writes @ code
    return list(chosen["unit"])


def tell(net, prompts, answers, layer, head):
    """Put the answer in place of what a head holds, wherever all heads hold what ends a prompt.

    In bfloat16 a prompt is never quite itself again: it is the nearest, and nearer than any other.
    """
    apart = torch.cdist(prompts, prompts).fill_diagonal_(torch.inf).min()
    width = prompts.shape[1] // net.find(f"blocks.{layer}.attn.z")[0].heads

    def hold(module, args):
        z = args[0].clone()
        away, which = torch.cdist(z.flatten(0, 1).float(), prompts).min(dim=1)
        told = torch.nn.functional.one_hot(answers[which], width) * (away < apart / 2)[:, None]
        z[..., head * width : (head + 1) * width] = told.view(*z.shape[:2], width).to(z)
        return (z,)

    net.block(layer).self_attn.o_proj.register_forward_pre_hook(hold)


net = nissl.load("smollm2", dtype="bfloat16", progress=False)
facts = known(net, sums(), labels="relation", least=30)
finding, testing = split(facts)
heads = head_damage(net, finding.drop_duplicates("pair"), last=1, test=Test(seed=SEED))
best = heads.top(1, by="damage").table.iloc[0]
layer, head = int(best["layer"]), int(best["head"])
found, units, kept, measured, null = tested(net, finding, testing, layer, head)
curve = [(SHARE, *kept.table.loc[0, ["kept", "null_mean"]])]
for share in SHARES:
    more = found.top(round(share * len(units)), by="change").units
    row = keeping(
        net,
        more,
        testing,
        units=units,
        values=units["mean"],
        test=Test(n_permutations=2),
        progress=False,
    )
    curve.append((share, *row.table.loc[0, ["kept", "null_mean"]]))
curve = np.asarray(sorted(curve), dtype=float)
top = found.top(measured["n_kept"], by="change").table.merge(units[["unit", "at_end"]], on="unit")
digits = folded_unembedding(net)[[net.tokenizer.encode(str(d))[0] for d in range(10)]]


def promoted(row):
    """The digits that a neuron makes likelier, and those that it makes less likely."""
    write = net.output_weights(row["site"])[row["index"]].float()
    order = (digits @ write * float(np.sign(row["at_end"]))).argsort(descending=True).tolist()
    return f"for {order[0]}, {order[1]}, {order[2]}, against {order[-1]}, {order[-2]}, {order[-3]}"


figure, axes = plt.subplots(1, 3, figsize=(14.5, 4.6), layout="constrained")
grid = heads.table.pivot(index="layer", columns="head", values="damage")
edge = float(heads.table["damage"].abs().max())
image = axes[0].imshow(grid.T, cmap="RdBu_r", vmin=-edge, vmax=edge, aspect="auto")
axes[0].plot(layer, head, "s", ms=11, mfc="none", mec="black")
axes[0].set(xlabel="layer", ylabel="head", title="Ablating each head")
figure.colorbar(image, ax=axes[0], label="fall of log probability (nats)")
table = found.table.reset_index(drop=True)
jitter = np.random.default_rng(SEED).uniform(-0.3, 0.3, len(table))
place = table["layer"] + jitter
axes[1].scatter(place, table["change"], s=4, lw=0, color="#bbbbbb", label="all")
is_top = table["unit"].isin(top["unit"]).to_numpy()
axes[1].scatter(
    place[is_top], table["change"][is_top], s=10, lw=0, color="#c8553d", label=f"top {SHARE:.0%}"
)
for number, (_, row) in enumerate(top.iloc[:4].iterrows(), start=1):
    at = float(place[table["unit"] == row["unit"]].iloc[0]), row["change"]
    axes[1].annotate(
        f"{number}",
        at,
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=8,
    )
    axes[1].text(
        0.99,
        1.03 - 0.06 * number,
        f"{number}: neuron {row['index']} of layer {row['layer']}, {promoted(row)}",
        transform=axes[1].transAxes,
        ha="right",
        va="top",
        fontsize=8,
    )
axes[1].set(
    xlabel="layer",
    ylabel="contribution lost with the head (nats)",
    ylim=(None, 1.6 * table["change"].max()),
    title=f"What neurons lose with head {head} of layer {layer}",
)
axes[1].legend(frameon=False, loc="lower right", fontsize=8)
axes[2].plot(100 * curve[:, 0], curve[:, 1], "o-", color="#c8553d", label="those that lose most")
axes[2].plot(100 * curve[:, 0], curve[:, 2], "o-", color="#777777", label="others that match them")
axes[2].axhline(measured["accuracy_whole"], color="black", lw=0.8, ls=":")
axes[2].axhline(measured["accuracy_pruned"], color="black", lw=0.8, ls="--")
axes[2].text(
    31, measured["accuracy_whole"] - 0.015, "nothing pruned", ha="right", va="top", fontsize=8
)
axes[2].text(
    31, measured["accuracy_pruned"] - 0.015, "all pruned", ha="right", va="top", fontsize=8
)
axes[2].set(
    xscale="log",
    xticks=100 * curve[:, 0],
    xticklabels=[f"{100 * share:g}" for share in curve[:, 0]],
    xlabel=f"% of the neurons of layers {layer} to {net.n_layers - 1} kept",
    ylabel="sums answered rightly",
    ylim=(0, 1.05),
    title="Keeping a few, on other sums",
)
axes[2].minorticks_off()
axes[2].legend(frameon=False, fontsize=8, loc="lower right")
for axis in axes[1:]:
    axis.spines[["top", "right"]].set_visible(False)
path = Path("out/selectivity/comparative.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=130)

wired = plant(net, pd.concat([finding, testing]), layer, head, units)
again, _, _, planted, planted_null = tested(net, finding, testing, layer, head)
planted["of_planted"] = np.isin(wired, again.top(len(wired), by="change").units).mean()
nissl.claim(
    "comparative",
    system=158,
    says="The deep neurons whose contribution falls most with the head that matters carry "
    "arithmetic: with 1% of them kept and the rest pruned it stays.",
    measured={
        **measured,
        "layer": layer,
        "head": head,
        "head_damage": best["damage"],
        "n_known": len(facts),
        "n_tested": len(testing),
    },
    null=null,
    rule="saved >= 0.5 and saved > null.saved and saved_p <= 0.05",
    power={**planted, **{f"null.{name}": value for name, value in planted_null.items()}},
    data=f"smollm2, one-digit sums after three examples, {len(finding)} to find the head and the "
    f"neurons and {len(testing)} with other numbers to test them"
    "; saved: of the accuracy that pruning all deep neurons takes, the share that keeping 1% "
    "saves; nothing is retrained; null: neurons of the same layers that write as much",
)
