"""Dead, n-gram and positional neurons: what fires when, and whether detectors erase their tokens.

The paper (Voita et al. 2023) looks at OPT, whose ReLU neurons are active or not, and finds dead
neurons, detectors of a few tokens whose output weights point away from those very tokens (over 80%
of them), and positional neurons. Here three models with smooth gates read about 100,000 tokens
each. A neuron counts as active beyond 1% of its layer's output, and as firing beyond 20%; since no
threshold is natural, half of a token's occurrences and half of the neuron's firings are asked of a
detector instead of 95%. These were chosen for giving enough detectors in stories15M on a part of
the text, before any output weight was looked at. Which neurons detect is read from activity,
whether they erase from weights.

For power, the output weights of every detector are drawn anew, so that 80% point away from their
trigger.
"""

import numpy as np
import pandas as pd
import torch
from scipy.stats import norm

import nissl
from nissl.network.sites.weights import folded_unembedding, folded_weights
from nissl.selectivity import NgramRules, erasing, ngram
from nissl.statistics import Test
from nissl.statistics.figure import bar, curve, panels, save_figure

SEED, WINDOW, N_TOKENS = 0, 256, 105_000
MODELS = ("smollm2", "gemma3-270m", "stories15m")
RULES = NgramRules(active=0.01, firing=0.2, coverage=0.5, most=5, information=0.05)
TEST = Test(correction="bh", seed=SEED)


def pieces(net):
    """Return pieces of the reader from random places, so that position says nothing of words."""
    rng = np.random.default_rng(SEED)
    found, total = [], 0
    for text in nissl.read("reader")["text"]:
        ids = net.tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = ids[int(rng.integers(0, max(1, min(200, len(ids) - WINDOW + 1)))) :]
        found.append(ids[: 2 * WINDOW - 2])
        total += len(found[-1])
        if total >= N_TOKENS:
            break
    return found


def plant(net, found, share=0.8):
    """Draw output weights of detectors, of which this share points away from the triggers."""
    rng = torch.Generator().manual_seed(SEED)
    table = found.table[found.table["kind"] == "token"]
    head = folded_unembedding(net)
    head = head - head.mean(dim=0)
    for layer, rows in table.groupby("layer"):
        site = f"blocks.{layer}.mlp.neurons"
        write = net.block(layer).mlp.down_proj.weight.data
        on_the_way = folded_weights(net, site).write[0] / net.output_weights(site).float()[0]
        for row in rows.itertuples():
            read = head[row.trigger] * on_the_way
            noise = torch.randn(len(read), generator=rng)
            # The noise's part along a direction is normal with deviation 1.
            planted = noise - row.sign * float(norm.ppf(share)) * read / read.norm()
            write[:, row.index] = planted * write[:, row.index].norm() / planted.norm()


def share_and_p(name, made):
    """Return the share of negative logits of one model, and p of their mean."""
    said = made.provenance
    return {f"{name}_negative": said["share_negative"], f"{name}_p": said["mean_p"]}


def least_of_all(figures):
    """Return the least favourable figure of the models."""
    negative = [value for name, value in figures.items() if name.endswith("_negative")]
    p = [value for name, value in figures.items() if name.endswith("_p")]
    return figures | {"negative": min(negative), "p": max(p)}


measured, null, power = {}, {}, {}
figure, axes = panels(len(MODELS), 2)
for (top, bottom), model in zip(axes.T, MODELS, strict=True):
    name = model.split("-")[0].removesuffix("3")
    net = nissl.load(model, progress=False)
    # bfloat16 reads three times as fast; statistics are in float32.
    quick = nissl.load(model, dtype="bfloat16", progress=False)
    test = Test(tail="gpd", correction="bh", seed=SEED)
    found = ngram(quick, pieces(net), rules=RULES, window=WINDOW, test=test)
    made = erasing(net, found, test=TEST)
    kinds = found.table["kind"]
    for kind, word in (("token", "detectors"), ("positional", "positional"), ("dead", "dead")):
        measured[f"{name}_{word}"] = int((kinds == kind).sum())
    measured |= share_and_p(name, made)
    null[f"{name}_negative"] = made.provenance["null_share_negative"]
    shares = pd.crosstab(found.table["layer"], kinds, normalize="index").drop(columns="other")
    bar(shares, stacked=True, axes=top).set_title(model)
    layers = made.table.groupby("layer")[["trigger_logit", "null_mean"]].mean()
    curve(layers["trigger_logit"], null=layers["null_mean"], axes=bottom)
    plant(net, found)
    power |= share_and_p(name, erasing(net, found, test=TEST))
axes[0, 0].set_ylabel("share of neurons")
axes[1, 0].set_ylabel("mean logit of the trigger\n(deviations; below zero: erased)")
save_figure(figure, "out/selectivity/ngram.png")

nissl.claim(
    "ngram",
    system=160,
    says="Neurons that detect tokens write against the tokens that trigger them.",
    measured=least_of_all(measured),
    null=null | {"negative": max(null.values())},
    power=least_of_all(power),
    rule="negative > 0.5 and negative > null.negative and p < 0.01",
    data=f"about {N_TOKENS:,} tokens of the reader, windows of {WINDOW} from random places"
    "; negative: share of detectors whose trigger's logit is below the mean of the vocabulary "
    "(80% in OPT), the least of the models; null: triggers permuted over detectors",
)
