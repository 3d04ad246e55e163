"""Gated neuron function: which layers enrich the directions they read, and which deplete them.

The paper (Gerstner and Schütze 2025) classes the neurons of twelve models by the cosines of their
input, gate and output weights, and finds that enrichment dominates early and middle layers, while
later layers tend towards depletion. Here the neurons of three small gated models are classed, and
beside each the same architecture with fresh weights. For power, the paper's pattern is planted in
the fresh weights: conditional enrichment in a tenth of the neurons of the first half, depletion in
a twentieth of those of the last quarter.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import MaxNLocator
from scipy.stats import binomtest, fisher_exact

import nissl
from nissl.network.sites.weights import folded_weights
from nissl.selectivity import GATED_CLASSES, gated_class_shares, gated_function
from nissl.statistics import ReinitialisedNetwork, Test

SEED = 0
MODELS = ("smollm2", "gemma3-270m", "stories15m")
SHARES = {"enrichment": 0.1, "depletion": 0.05}  # planted, for power


def least_of_both(figures):
    """The least favourable figure of SmolLM2 and of Gemma."""
    two = [
        {k: figures[f"{name}_{k}"] for k in ("early", "late", "p")} for name in ("smollm2", "gemma")
    ]
    return {
        "early": min(one["early"] for one in two),
        "late": max(one["late"] for one in two),
        "p": max(one["p"] for one in two),
    }


def measure(found, name):
    """Net enrichment (share enriching less share depleting) early and late, and their p.

    Early is the first half of the layers, late the last quarter. Two questions must both be
    answered: do neurons that enrich outnumber those that deplete early (sign test: weights drawn at
    random are as often the one as the other), and is depletion commoner among them late than early
    (Fisher's exact test)? The p is the larger.
    """
    table = found.table
    n_layers = table["layer"].max() + 1
    enriches = table["gated_class"].str.contains("enrichment")
    depletes = table["gated_class"].str.contains("depletion")
    early, late = table["layer"] < n_layers / 2, table["layer"] >= n_layers * 3 / 4
    counts = [
        [int((which & part).sum()) for which in (enriches, depletes)] for part in (early, late)
    ]
    sign = 1.0
    if sum(counts[0]):
        sign = binomtest(counts[0][0], sum(counts[0]), alternative="greater").pvalue
    shift = fisher_exact(counts, alternative="greater").pvalue
    return {
        f"{name}_early": (counts[0][0] - counts[0][1]) / int(early.sum()),
        f"{name}_late": (counts[1][0] - counts[1][1]) / int(late.sum()),
        f"{name}_p": float(max(sign, shift)),
        f"{name}_median_early": float(table.loc[early, "cos_in_out"].median()),
        f"{name}_median_late": float(table.loc[late, "cos_in_out"].median()),
    }


def plant(net):
    """Give neurons of a network with fresh weights the paper's pattern of output weights."""
    rng = torch.Generator().manual_seed(SEED)
    for layer in range(net.n_layers):
        early, late = layer < net.n_layers / 2, layer >= net.n_layers * 3 / 4
        if not early and not late:
            continue
        mlp, sign = net.block(layer).mlp, 1 if early else -1
        share = SHARES["enrichment" if early else "depletion"]
        chosen = torch.rand(mlp.up_proj.out_features, generator=rng) < share
        read = folded_weights(net, f"blocks.{layer}.mlp.neurons", after=False).read[chosen]
        noise = torch.randn(read.shape, generator=rng)
        noise *= read.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True)
        # Cosine of about 0.7 with what the neuron reads; the gate is left as it was.
        mlp.down_proj.weight.data[:, chosen] = sign * (read + noise).T


measured, null, power, shares = {}, {}, {}, {}
for model in MODELS:
    name = model.split("-")[0].removesuffix("3")
    net = nissl.load(model)
    found = gated_function(net, test=Test(correction="bh", seed=SEED))
    measured |= measure(found, name)
    measured[f"{name}_significant"] = float((found.table["q"] <= 0.05).mean())
    shares[model] = gated_class_shares(found), found.table
    fresh_model = next(ReinitialisedNetwork().draw(net.model, 1, seed=SEED))
    fresh = nissl.load(fresh_model, tokenizer=net.tokenizer, progress=False)
    random = gated_function(fresh, test=Test(correction="bh", seed=SEED))
    null |= measure(random, name)
    null[f"{name}_significant"] = float((random.table["q"] <= 0.05).mean())
    plant(fresh)
    power |= measure(gated_function(fresh, test=Test(correction="bh", seed=SEED)), name)
    if model.startswith("gemma"):  # with the norm after the MLP, which the paper leaves out
        print(
            "both norms:",
            measure(gated_function(net, fold="both", test=Test(correction="bh", seed=SEED)), name),
        )

COLOURS = (
    "#c0392b",
    "#f0a08c",
    "#e3c565",
    "#e6e6e6",
    "#8fb8de",
    "#2c6fbb",
    "#7b241c",
    "#d98880",
    "#b7950b",
    "#5499c7",
    "#1b4f72",
)
colours = dict(zip(GATED_CLASSES, COLOURS, strict=True))
figure, axes = plt.subplots(2, len(MODELS), figsize=(13, 6.4), layout="constrained", sharex="col")
for (top, bottom), model in zip(axes.T, MODELS, strict=True):
    share, table = shares[model]
    base = np.zeros(len(share))
    order = [c for c in GATED_CLASSES if c != "orthogonal output"]
    for kind in order:
        if share[kind].any():
            top.bar(share.index, share[kind], 0.9, base, color=colours[kind], label=kind)
            base += share[kind].to_numpy()
    top.set_title(model)
    top.set_ylim(0, max(0.02, base.max() * 1.15))
    layers = table.groupby("layer")["cos_in_out"]
    low, middle, high = (layers.quantile(q) for q in (0.05, 0.5, 0.95))
    bottom.fill_between(low.index, low, high, color="#bbbbbb", label="5% to 95% of neurons")
    bottom.plot(middle.index, middle, color="black", label="median")
    width = table.groupby("layer")[["null_mean", "null_sd"]].first()
    for side in (-1.645, 1.645):
        edge = width["null_mean"] + side * width["null_sd"]
        label = "5% to 95% of mismatched" if side < 0 else None
        bottom.plot(edge.index, edge, "--", color="#c0392b", lw=1, label=label)
    bottom.axhline(0, color="grey", lw=0.5)
    bottom.set_xlabel("layer")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
axes[0, 0].set_ylabel("share of neurons\n(the rest: orthogonal output)")
axes[1, 0].set_ylabel("cos(input, output weights)")
handles = {h[1]: h[0] for a in axes[0] for h in zip(*a.get_legend_handles_labels(), strict=True)}
figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False)
axes[1, -1].legend(frameon=False, fontsize=8)
path = Path("out/selectivity/gated.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=120)

nissl.claim(
    "gated",
    system=132,
    says="Enrichment neurons dominate in early-middle layers, later layers tend to depletion.",
    measured=measured | least_of_both(measured),
    null=null | least_of_both(null),
    power=power | least_of_both(power),
    rule="early > 0 and late < early and p < 0.01",
    data="weights of SmolLM2-135M, Gemma 3 270M and stories15M, norms before MLPs folded in"
    "; net enrichment is the share of enriching less depleting neurons at |cos| > 0.5, in the "
    "first half and in the last quarter of the layers; null: fresh weights; early, late and p: "
    "the least favourable of SmolLM2 and Gemma; in Gemma hardly a neuron goes beyond 0.5 (none "
    "where the norm after the MLP, which the paper leaves out, is folded in too); medians of "
    "cos(in, out), which are in no rule, fall from above zero to below in all three models",
)
