"""Gated neuron function: which layers enrich the directions they read, and which deplete them.

The paper (Gerstner and Schütze 2025) classes the neurons of twelve models by the cosines of their
input, gate and output weights, and finds that enrichment dominates early and middle layers, while
later layers tend towards depletion. Here the neurons of three small gated models are classed, and
beside each the same architecture with fresh weights. For power, the paper's pattern is planted in
the fresh weights: conditional enrichment in a tenth of the neurons of the first half, depletion in
a twentieth of those of the last quarter.
"""

import pandas as pd
import torch
from scipy.stats import binomtest, fisher_exact

import nissl
from nissl.network.sites.weights import folded_weights
from nissl.selectivity import gated_class_shares, gated_function
from nissl.statistics import ReinitialisedNetwork, Test
from nissl.statistics.figure import bar, curve, panels, save_figure

SEED = 0
TEST = Test(correction="bh", seed=SEED)
MODELS = ("smollm2", "gemma3-270m", "stories15m")
SHARES = {"enrichment": 0.1, "depletion": 0.05}  # planted, for power


def least_of_both(figures):
    """The least favourable figure of SmolLM2 and of Gemma."""
    worst = {"early": min, "late": max, "p": max}
    return {k: f(figures[f"smollm2_{k}"], figures[f"gemma_{k}"]) for k, f in worst.items()}


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


measured, null, power, tables = {}, {}, {}, {}
for model in MODELS:
    name = model.split("-")[0].removesuffix("3")
    net = nissl.load(model)
    found = tables[model] = gated_function(net, test=TEST)
    measured |= measure(found, name)
    fresh = nissl.load(next(ReinitialisedNetwork().draw(net.model, 1, seed=SEED)), progress=False)
    null |= measure(gated_function(fresh, test=TEST), name)
    plant(fresh)
    power |= measure(gated_function(fresh, test=TEST), name)

figure, axes = panels(len(MODELS), 2)
for (top, bottom), (model, found) in zip(axes.T, tables.items(), strict=True):
    shares = gated_class_shares(found).drop(columns="orthogonal output")
    bar(shares, stacked=True, axes=top).set_title(model)
    if model != MODELS[-1]:  # one list of classes for all
        top.get_legend().remove()
    layers = found.table.groupby("layer")
    ends = pd.DataFrame({q: layers["cos_in_out"].quantile(q) for q in (0.05, 0.5, 0.95)})
    expected = layers[["null_mean", "null_sd"]].first()
    mean, sd = expected["null_mean"], expected["null_sd"]
    curve(ends[0.5], interval=(ends[0.05], ends[0.95]), null=mean, null_sd=sd, axes=bottom)
axes[0, 0].set_ylabel("share of neurons")
axes[1, 0].set_ylabel("cos(input, output weights): median, 5% to 95%")
save_figure(figure, "out/selectivity/gated.png")

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
