"""PLND (system 184): neurons that every document of a language activates, found without labels.

The paper (Zhao et al. 2024) takes the neurons whose deactivation changes the layer's output most in
all documents of a language, and finds that silencing those of one language hurts that language and
spares the others. Here Gemma 3 270M reads half of the articles of the Universal Declaration of
Human Rights in five languages; neurons of one language alone are silenced, and random neurons that
match them, while it predicts others. Beside it: how many of them the detector that compares
languages (system 164) takes too.
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
from nissl.selectivity import language_neurons, members, parallel, plnd
from nissl.statistics import PermutedLabels, Test
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


net = nissl.load("gemma3-270m", dtype="bfloat16")
found_on, tested_on = declaration(net)
activity = document_activity(net, found_on)
found = plnd(activity["impact"], test=Test(null=NULL, seed=SEED))
groups = members(found, kinds=("specific",))
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
mine = hurt.table["unit"] == hurt.table["label"]
other = ~mine & (hurt.table["label"] != "own - others")
labelled = members(
    language_neurons(activity["open"], test=Test(null=NULL, seed=SEED)),
    kinds=("specific", "related"),
)
both = {name: len(set(units) & set(labelled.get(name, []))) for name, units in groups.items()}

names = sorted(LANGUAGES.values())
figure, axes = plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
active = found.table[found.table["activated"]]
belongs = active.pivot(index="unit", columns="label", values="activated")
belongs = belongs.reindex(columns=names).notna().to_numpy(dtype=int)
shared = belongs.T @ belongs
share = shared / np.diag(shared)[:, None]
axes[0].imshow(share, cmap="Greys", vmin=0, vmax=1)
for (row, column), value in np.ndenumerate(shared):
    axes[0].text(
        column,
        row,
        value,
        ha="center",
        va="center",
        fontsize=8,
        color="white" if share[row, column] > 0.5 else "black",
    )
axes[0].set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
axes[0].set_yticks(range(len(names)), names)
axes[0].set_title("Neurons that all documents activate, and shared ones")
heatmap(effect_matrix(hurt, names=names), numbers=True, label="nats", axes=axes[1])
axes[1].set(
    xlabel="language that is predicted",
    ylabel="neurons silenced (how many)",
    title="Rise of the loss beyond matched neurons (nats)",
)
specific = active[active["kind"] == "specific"]
counts = specific.groupby(["layer", "label"]).size().unstack(fill_value=0)
counts = counts.reindex(range(int(found.table["layer"].max()) + 1), fill_value=0)
counts.plot.bar(stacked=True, width=0.8, ax=axes[2], rot=0)
axes[2].set(xlabel="layer", ylabel="neurons", title="Neurons of one language alone, by layer")
axes[2].legend(frameon=False)
path = Path("out/selectivity/plnd.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=120)

nissl.claim(
    "plnd",
    system=184,
    says="Silencing the neurons that all documents of one language alone activate hurts that "
    "language and spares others.",
    measured={
        "languages_hurt": int((own["p"] <= 0.05).sum()),
        "own": float(hurt.table.loc[mine, "damage"].mean()),
        "others": float(hurt.table.loc[other, "damage"].mean()),
        "silenced": float(np.mean([len(units) for units in groups.values()])),
        "by_labels_too": sum(both.values()) / sum(map(len, groups.values())),
    },
    null={
        "languages_hurt": 0.05 * len(LANGUAGES),
        "own": float(hurt.table.loc[mine, "null_mean"].mean()),
        "others": float(hurt.table.loc[other, "null_mean"].mean()),
    },
    rule="own > 4 * others and own > null.own",
    data=f"Gemma 3 270M; {len(found_on)} articles in {len(LANGUAGES)} languages to find neurons, "
    f"{TOKENS} tokens of each of {len(tested_on)} others to test them"
    "; a language counts as hurt where its loss rises more than that of the others, beyond that "
    "with matched neurons (p <= 0.05); by_labels_too: also among the neurons of system 164",
)
