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

import hashlib
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import nissl
from nissl.cache import cache_dir
from nissl.network.sites.weights import folded_unembedding, folded_weights
from nissl.selectivity import NgramRules, erasing, ngram
from nissl.statistics import Test, load_finding

SEED, WINDOW, N_TOKENS = 0, 256, 105_000
MODELS = ("smollm2", "gemma3-270m", "stories15m")
SETTINGS = {"active": 0.01, "firing": 0.2, "coverage": 0.5, "most": 5, "information": 0.05}
KINDS = {"token": "#2c6fbb", "bigram": "#8fb8de", "trigram": "#c9ddf0", "positional": "#e3a23c"}
KINDS["dead"] = "#777777"


def pieces(net):
    """Windows of the reader that begin at random places, so that position says nothing of words."""
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


def found_in(net, model):
    """The kinds of all neurons; kept in the cache, by settings, model and text."""
    texts = pieces(net)
    about = json.dumps([SETTINGS, WINDOW, SEED, net.weights_hash, texts])
    path = cache_dir("examples", "ngram") / f"{hashlib.sha256(about.encode()).hexdigest()[:16]}"
    path = path.with_suffix(".parquet")
    if path.exists():
        return load_finding(path)
    # bfloat16 reads three times as fast; statistics are in float32.
    quick = nissl.load(model, dtype="bfloat16", progress=False)
    found = ngram(
        quick,
        texts,
        rules=NgramRules(**SETTINGS),
        window=WINDOW,
        test=Test(tail="gpd", correction="bh", seed=SEED),
    )
    found.save(path)
    return found


def plant(net, found, share=0.8):
    """Draw output weights of detectors, of which this share points away from the triggers."""
    from scipy.stats import norm

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


def least_of_all(figures):
    """The least favourable figure of the models."""
    p = [v for k, v in figures.items() if k.endswith("_p")]
    return {"negative": min(v for k, v in figures.items() if k.endswith("_negative"))} | (
        {"p": max(p)} if p else {}
    )


measured, null, power = {}, {}, {}
shown = {}
for model in MODELS:
    name = model.split("-")[0].removesuffix("3")
    net = nissl.load(model, progress=False)
    found = found_in(net, model)
    table = found.table
    made = erasing(net, found, test=Test(correction="bh", seed=SEED))
    counts = table["kind"].value_counts()
    measured |= {
        f"{name}_detectors": int(counts.get("token", 0)),
        f"{name}_positional": int(counts.get("positional", 0)),
        f"{name}_dead": int(counts.get("dead", 0)),
        f"{name}_negative": made.provenance["share_negative"],
        f"{name}_logit": made.provenance["mean"],
        f"{name}_p": made.provenance["mean_p"],
    }
    null |= {
        f"{name}_negative": made.provenance["null_share_negative"],
        f"{name}_logit": made.provenance["null_mean"],
    }
    shown[model] = table, made
    plant(net, found)
    planted = erasing(net, found, test=Test(correction="bh", seed=SEED)).provenance
    power |= {f"{name}_negative": planted["share_negative"], f"{name}_p": planted["mean_p"]}
    for row in made.table.nsmallest(3, "trigger_logit").itertuples():
        print(f"{model} {row.unit}: {row.triggers!r} at {row.trigger_logit:.1f} deviations")

figure, axes = plt.subplots(3, len(MODELS), figsize=(13, 8.6), layout="constrained")
for (top, middle, bottom), model in zip(axes.T, MODELS, strict=True):
    table, made = shown[model]
    shares = table.groupby("layer")["kind"].value_counts(normalize=True).unstack(fill_value=0)
    base = np.zeros(len(shares))
    for kind, colour in KINDS.items():
        if kind in shares:
            top.bar(shares.index, shares[kind], 0.9, base, color=colour, label=kind)
            base += shares[kind].to_numpy()
    top.set_title(model)
    top.set_xlabel("layer")
    top.legend(frameon=False, fontsize=8)
    logit = made.table["trigger_logit"]
    middle.scatter(
        made.table["layer"] + np.random.default_rng(0).uniform(-0.3, 0.3, len(made.table)),
        logit,
        s=5,
        lw=0,
        alpha=0.6,
        c=np.where(logit < 0, "#2c6fbb", "#c0392b"),
    )
    by_layer = made.table.groupby("layer")
    middle.plot(by_layer["trigger_logit"].mean(), color="black", lw=1.5, label="mean")
    middle.plot(by_layer["null_mean"].mean(), color="grey", ls="--", label="triggers permuted")
    middle.axhline(0, color="grey", lw=0.5)
    middle.set_xlabel("layer")
    information = np.sort(table["information"].to_numpy())[::-1]
    bottom.loglog(np.arange(1, len(information) + 1), np.maximum(information, 1e-6), color="black")
    bottom.axhline(SETTINGS["information"], color="#e3a23c", ls="--", label="positional: 0.05 nats")
    bottom.set_xlabel("neurons, by rank")
    bottom.set_ylim(1e-5, 1)
axes[0, 0].set_ylabel("share of neurons")
axes[1, 0].set_ylabel("logit of the trigger\n(deviations; below zero: erased)")
axes[2, 0].set_ylabel("information about position (nats)")
axes[1, 0].legend(frameon=False, fontsize=8)
axes[2, 0].legend(frameon=False, fontsize=8)
path = Path("out/selectivity/ngram.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=120)

nissl.claim(
    "ngram",
    system=160,
    says="Neurons that detect tokens write against the tokens that trigger them.",
    measured=measured | least_of_all(measured),
    null=null | {"negative": max(v for k, v in null.items() if k.endswith("_negative"))},
    power=power | least_of_all(power),
    rule="negative > 0.5 and negative > null.negative and p < 0.01",
    data=f"about {N_TOKENS:,} tokens of the reader, windows of {WINDOW} from random places"
    "; negative: share of detectors whose trigger's logit is below the mean of the vocabulary "
    "(80% in OPT), the least of the models; null: triggers permuted over detectors",
)
