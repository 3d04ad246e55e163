"""Programming-language neurons (system 192): which ones languages share, and which are exclusive.

The paper (Kargaran et al. 2025) lists for each of eleven programming languages the neurons of the
lowest entropy, finds them mostly in the bottom layers and those in one language's list alone in the
top layers, and cannot tell apart the neurons of languages that are close to many others. Here
Gemma 3 270M reads parts of programs in six languages. Neurons are found on some files; exclusive
ones are silenced, and random neurons that match them, while it predicts other files. The null for
the layers are lists of as many neurons with languages permuted over files; for power, shared
and exclusive neurons are planted low and high in such a recording, and to what silencing does to
the own language is added half of what it does with natural languages (system 164).
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

import nissl
from nissl.behaviour import (
    LossMeasure,
    ablation_effect,
    beginnings,
    effect_matrix,
    output_magnitude,
)
from nissl.network import document_activity
from nissl.selectivity import members, programming_neurons
from nissl.specimens import fetch
from nissl.statistics import PermutedLabels, Test, permute_labels
from nissl.statistics.figure import heatmap

SEED, N_DRAWS, PER_LANGUAGE, EFFECT = 0, 19, 100, 0.5  # nats, planted
LETTERS, PARTS, TESTED, TOKENS = 600, 6, 2, 16  # of a part; parts to find, and to test; and tokens
EXAMPLES = "pygments-*/tests/examplefiles"
FILES = {
    "c": [f"{EXAMPLES}/c/*.c"],
    "c++": [f"{EXAMPLES}/cpp/*.cpp", "gcld3-*/src/*ent*.cc"],
    "html": [f"{EXAMPLES}/html/*html"],
    "python": ["pygments-*/pygments/*.py"],
    "ruby": [f"{EXAMPLES}/rb/*.rb"],
    "rust": [f"{EXAMPLES}/rust/*.rs", "cramjam-*/cramjam-python/src/*.rs"],
}
NULL = PermutedLabels(exchange="file")


def programs(net):
    """Parts of files, spread evenly over each; every other file is for the test."""
    folder = fetch("reader")
    rows = []
    for language, patterns in FILES.items():
        paths = [path for pattern in patterns for path in folder.glob(pattern)]
        paths = [path for path in paths if 2000 < path.stat().st_size < 100_000]
        paths = sorted(paths, key=lambda path: (-path.stat().st_size, path.name))[:6]
        for number, path in enumerate(paths):
            text = path.read_bytes().decode("utf-8", "replace")
            starts = np.arange(0, len(text) - LETTERS, LETTERS)
            wanted = PARTS // -(-len(paths) // 2) if number % 2 == 0 else TESTED
            for at in starts[np.linspace(0, len(starts) - 1, wanted).astype(int)]:
                at = text.find("\n", at) + 1  # at the beginning of a line
                rows.append((text[at : at + LETTERS], language, path.name, number % 2))
    table = pd.DataFrame(rows, columns=["text", "language", "file", "side"])
    table = table[table["text"].str.strip().str.len() > 50].drop_duplicates("text")
    found_on, tested_on = (table[table["side"] == side] for side in (0, 1))
    tested_on = tested_on.groupby("language").head(TESTED)
    tested_on = tested_on.assign(text=beginnings(net, tested_on["text"], TOKENS))
    return found_on.reset_index(drop=True), tested_on


def layers(found):
    """Share of listed neurons in the bottom third, and how deep shared and exclusive ones lie."""
    table = found.table
    depth = (table["layer"] + 0.5) / (table["layer"].max() + 1)
    shared, exclusive = (depth[table["kind"] == kind] for kind in ("shared", "exclusive"))
    p = mannwhitneyu(exclusive, shared, alternative="greater").pvalue if len(shared) else 1.0
    listed = depth[table["kind"] != ""]
    return {
        "bottom": float((listed < 1 / 3).mean()),
        "shared_depth": float(shared.mean()) if len(shared) else 0.5,
        "exclusive_depth": float(exclusive.mean()),
        "p": float(p),
    }


def planted(rec):
    """Neurons of two languages put into the bottom layers, and of one into the top layers."""
    rng = np.random.default_rng(SEED)
    rec = permute_labels(rec, labels="language", null=NULL, seed=SEED)
    values, label = rec.values.copy(), rec["language"].values
    depth = (rec["layer"].values + 0.5) / (rec["layer"].values.max() + 1)
    for part, n, size in ((depth < 1 / 3, 2, 300), (depth > 2 / 3, 1, 200)):
        for unit in rng.choice(np.flatnonzero(part), size, replace=False):
            mine = rng.choice(len(FILES), n, replace=False)
            values[:, unit] = np.where(np.isin(label, mine), 1.0, 0.01)
    return rec.copy(data=values)


net = nissl.load("gemma3-270m", dtype="bfloat16")
found_on, tested_on = programs(net)
activity = document_activity(net, found_on)
options = {"n_per_label": PER_LANGUAGE, "null": NULL, "seed": SEED}
found = programming_neurons(activity["open"], **options)
groups = members(found, kinds=("exclusive",))
hurt = ablation_effect(
    net,
    groups,
    on=tested_on,
    labels="language",
    units=output_magnitude(net, activity["size"]),
    test=Test(n_permutations=N_DRAWS, correction=None, seed=SEED),
    measure=LossMeasure(every=3, batch_size=20),
)
own = hurt.table[hurt.table["label"] == "own - others"]
without = permute_labels(activity["open"], labels="language", null=NULL, seed=SEED)
nothing = programming_neurons(without, **options)
power = programming_neurons(planted(activity["open"]), **options)

names = list(FILES)
table = found.table
figure, axes = plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
per_layer = table.groupby(["layer", "kind"]).size().unstack(fill_value=0)
for kind, colour in {"shared": "#2c6fbb", "exclusive": "#c0392b"}.items():
    axes[0].plot(per_layer.index, per_layer[kind], "o-", color=colour, label=kind)
listed = nothing.table[nothing.table["kind"] != ""].groupby("layer").size()
axes[0].plot(listed.index, listed, "--", color="grey", label="either, languages permuted")
axes[0].set(xlabel="layer", ylabel="neurons", title="Neurons of programming languages by layer")
axes[0].xaxis.set_major_locator(plt.MaxNLocator(integer=True))
axes[0].legend(frameon=False)
lists = members(found, kinds=("shared", "exclusive"))
common = np.array([[len(set(lists[a]) & set(lists[b])) for b in names] for a in names])
off = np.where(np.eye(len(names), dtype=bool), 0, common)
axes[1].imshow(off, cmap="Blues")
for (row, column), value in np.ndenumerate(common):
    text = f"{len(groups.get(names[row], []))}\nexclusive" if row == column else str(value)
    axes[1].text(
        column,
        row,
        text,
        ha="center",
        va="center",
        fontsize=8,
        color="white" if off[row, column] > 0.6 * off.max() else "black",
    )
axes[1].set_xticks(range(len(names)), names)
axes[1].set_yticks(range(len(names)), names)
axes[1].set_title(f"Neurons shared by two languages (of {PER_LANGUAGE} each)")
heatmap(effect_matrix(hurt, names=names), numbers=True, label="nats", axes=axes[2])
axes[2].set(
    xlabel="language that is predicted",
    ylabel="exclusive neurons silenced",
    title="Rise of the loss beyond matched neurons (nats)",
)
path = Path("out/selectivity/programming_neurons.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=120)

nissl.claim(
    "programming_neurons",
    system=192,
    says="Neurons of programming languages lie mostly in the bottom layers.",
    measured={
        **layers(found),
        "languages_hurt": int((own["p"] <= 0.05).sum()),
        "own_less_others": float(own["damage"].mean()),
        "shared": int((table["kind"] == "shared").sum()),
        "exclusive": int((table["kind"] == "exclusive").sum()),
    },
    null={
        **layers(nothing),
        "languages_hurt": 0.05 * len(FILES),
        "own_less_others": float(own["null_mean"].mean()),
    },
    power={
        **layers(power),
        "languages_hurt": int((own["effect"] + EFFECT > 2 * own["null_sd"]).sum()),
    },
    rule="bottom > null.bottom + 0.05",
    data=f"Gemma 3 270M; {len(found_on)} parts of {found_on['file'].nunique()} files in "
    f"{len(FILES)} languages to find neurons, {len(tested_on)} of other files to test them"
    "; bottom: share of them in the lowest third of the layers; depth from 0 "
    "(first layer) to 1; null: languages permuted over files, and matched neurons silenced",
)
