"""Language neurons (system 164): specific to one language, related to several, or agnostic.

The paper (Zhang et al. 2025) classes neurons of multilingual models by how often they are open in
each language, and finds language neurons mostly in the first and last layers, where a language is
understood and produced, and agnostic ones between. Here Gemma 3 270M reads the Universal
Declaration of Human Rights, the same articles in five languages. Neurons are found on half of the
articles; they are silenced, and random neurons that match them, while it predicts others. As a
null for the layers of language neurons, languages are permuted within each article. For power,
neurons with the paper's pattern are planted in such a recording.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import nissl
from nissl.behaviour import (
    LossMeasure,
    ablation_effect,
    beginnings,
    effect_matrix,
    halves,
    output_magnitude,
)
from nissl.network import document_activity
from nissl.selectivity import language_neurons, members, parallel
from nissl.statistics import PermutedLabels, Test, permute_labels
from nissl.statistics.figure import heatmap

SEED, TESTED, TOKENS, N_DRAWS = 0, 2, 16, 19  # articles tested, and tokens of each
LANGUAGES = {
    "English": "English",
    "French": "French",
    "German, Standard (1996)": "German",
    "Russian": "Russian",
    "Chinese, Mandarin (Simplified)": "Chinese",
}
NULL = PermutedLabels(within="article")


def declaration(net):
    """Half of the articles in every language, and the first tokens of some others."""
    texts = nissl.read("udhr").query("article > 0")
    texts = texts.assign(language=texts["language"].map(LANGUAGES)).dropna(subset="language")
    found_on, rest = halves(parallel(texts), labels="language", by="article", seed=SEED)
    tested_on = rest.groupby("language").head(TESTED)
    return found_on, tested_on.assign(text=beginnings(net, tested_on["text"], TOKENS))


def outer(table):
    """Whether units lie in the first or last third of the layers."""
    depth = (table["layer"] + 0.5) / (table["layer"].max() + 1)
    return (depth < 1 / 3) | (depth > 2 / 3)


def layers(found):
    """Share of language neurons in the outer thirds of the layers, of agnostic ones between."""
    table = found.table
    language = table["kind"].isin(["specific", "related"])
    agnostic = table["kind"] == "agnostic"
    return {
        "outer": float(outer(table)[language].mean()) if language.any() else 0.0,
        "agnostic_middle": float((~outer(table))[agnostic].mean()) if agnostic.any() else 0.0,
    }


def planted(rec):
    """Language neurons in the outer layers only, and agnostic ones in the middle, put in."""
    rng = np.random.default_rng(SEED)
    rec = permute_labels(rec, labels="language", null=NULL, seed=SEED)
    values, label = rec.values.copy(), rec["language"].values
    outside = np.asarray(outer(rec.coords.to_dataset()))
    for unit in rng.choice(np.flatnonzero(outside), len(outside) // 100, replace=False):
        values[:, unit] = np.where(label == rng.integers(len(LANGUAGES)), 1.0, 0.02)
    for unit in rng.choice(np.flatnonzero(~outside), len(outside) // 50, replace=False):
        values[:, unit] = 1.0
    return rec.copy(data=values)


net = nissl.load("gemma3-270m", dtype="bfloat16")
found_on, tested_on = declaration(net)
activity = document_activity(net, found_on)
found = language_neurons(activity["open"], test=Test(null=NULL, seed=SEED))
groups = members(found, kinds=("specific", "related"))
hurt = ablation_effect(
    net,
    groups,
    on=tested_on,
    labels="language",
    units=output_magnitude(net, activity["size"]),
    test=Test(n_permutations=N_DRAWS, correction=None, seed=SEED),
    measure=LossMeasure(every=2, batch_size=20),
)
own = hurt.table[hurt.table["label"] == "own - others"]
without = permute_labels(activity["open"], labels="language", null=NULL, seed=SEED)
nothing = language_neurons(without, test=Test(null=NULL, seed=SEED))
power = language_neurons(planted(activity["open"]), test=Test(null=NULL, seed=SEED))

table = found.table
figure, axes = plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
per_layer = table.groupby(["layer", "kind"]).size().unstack(fill_value=0)
per_layer = 100 * per_layer / per_layer.sum()
colours = {"specific": "#c0392b", "related": "#e3a165", "agnostic": "#7f8c8d"}
for kind, colour in colours.items():
    if kind in per_layer:
        n = int((table["kind"] == kind).sum())
        axes[0].plot(per_layer.index, per_layer[kind], "o-", color=colour, label=f"{kind} ({n})")
axes[0].set(xlabel="layer", ylabel="neurons of the kind (%)", title="Where each kind lies")
axes[0].xaxis.set_major_locator(plt.MaxNLocator(integer=True))
axes[0].legend(frameon=False)
heatmap(
    effect_matrix(hurt, names=sorted(LANGUAGES.values())), numbers=True, label="nats", axes=axes[1]
)
axes[1].set(
    xlabel="language that is predicted",
    ylabel="neurons silenced (how many)",
    title="Rise of the loss beyond matched neurons (nats)",
)
place = np.arange(len(own))
axes[2].bar(place, own["damage"], color=np.where(own["p"] <= 0.05, "#2c6fbb", "#c9d6e5"))
axes[2].errorbar(
    place,
    own["null_mean"],
    yerr=2 * own["null_sd"],
    fmt="_",
    color="black",
    label="matched random neurons, 2 sd",
)
axes[2].set_xticks(place, own["unit"], rotation=35, ha="right", rotation_mode="anchor")
axes[2].axhline(0, color="grey", lw=0.5)
axes[2].set(ylabel="nats", title="Own language less the others (dark: p <= 0.05)")
axes[2].margins(y=0.2)
axes[2].legend(frameon=False, loc="upper left")
path = Path("out/selectivity/language_neurons.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=120)

nissl.claim(
    "language_neurons",
    system=164,
    says="Silencing a language's neurons hurts it more than others.",
    measured={
        "languages_hurt": int((own["p"] <= 0.05).sum()),
        **layers(found),
        "own_less_others": float(own["damage"].mean()),
        "specific": int((table["kind"] == "specific").sum()),
        "related": int((table["kind"] == "related").sum()),
        "agnostic": int((table["kind"] == "agnostic").sum()),
        "significant": float((table["q"] <= 0.05).mean()),
    },
    # Exchanging languages leaves agnostic neurons what they are: beside them stand all neurons.
    null={
        "outer": layers(nothing)["outer"],
        "agnostic_middle": float((~outer(table)).mean()),
        "languages_hurt": 0.05 * len(LANGUAGES),
        "own_less_others": float(own["null_mean"].mean()),
        "significant": float((nothing.table["q"] <= 0.05).mean()),
    },
    rule="languages_hurt >= 4",
    power=layers(power),
    data=f"Gemma 3 270M; {len(found_on)} articles in {len(LANGUAGES)} languages to find neurons, "
    f"{TOKENS} tokens of each of {len(tested_on)} others to test them"
    "; null: languages permuted within articles, and matched neurons silenced; outer: "
    "share of them in the first and last layers; both figures of layers are in no rule",
)
