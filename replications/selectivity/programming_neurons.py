"""Programming-language neurons (system 192): whether they lie mostly in the bottom layers.

The paper (Kargaran et al. 2025) lists for each of eleven programming languages the neurons of the
lowest entropy, and finds them mostly in the bottom layers; those in one language's list alone are
in the top layers. Here Gemma 3 270M reads parts of programs in six languages. The null are lists of
as many neurons with languages permuted over files. For power, neurons of two languages are planted
in the bottom layers of such a recording, and neurons of one in the top layers.
"""

import numpy as np
import pandas as pd

import nissl
from nissl.network import document_activity
from nissl.selectivity import programming_neurons
from nissl.specimens import fetch
from nissl.statistics import PermutedLabels, Test, permute_labels
from nissl.statistics.figure import curve, save_figure

SEED, PER_LANGUAGE, LETTERS, PARTS = 0, 100, 600, 6  # neurons; letters of a part, parts of a pair
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
PLANTED = (("bottom", 2, 300), ("top", 1, 200))  # of how many languages, and how many neurons


def programs():
    """Return parts of every other of the six longest files of a language, spread over each."""
    folder, rows = fetch("reader"), []
    for language, patterns in FILES.items():
        paths = [path for pattern in patterns for path in folder.glob(pattern)]
        paths = [path for path in paths if 2000 < path.stat().st_size < 100_000]
        paths = sorted(paths, key=lambda path: (-path.stat().st_size, path.name))[:6]
        for path in paths[::2]:
            text = path.read_bytes().decode("utf-8", "replace")
            starts = np.arange(0, len(text) - LETTERS, LETTERS)
            n_parts = PARTS // len(paths[::2])
            for at in starts[np.linspace(0, len(starts) - 1, n_parts).astype(int)]:
                at = text.find("\n", at) + 1  # at the beginning of a line
                rows.append((text[at : at + LETTERS], language, path.name))
    table = pd.DataFrame(rows, columns=["text", "language", "file"])
    table = table[table["text"].str.strip().str.len() > 50].drop_duplicates("text")
    return table.reset_index(drop=True)


def depth(units):
    """Return where units lie, from 0 (first layer) to 1 (last)."""
    return (units["layer"] + 0.5) / (units["layer"].max() + 1)


def planted(rec):
    """Put neurons of two languages into the bottom layers, and of one into the top layers."""
    rng = np.random.default_rng(SEED)
    values, label, place = rec.values.copy(), rec["language"].values, depth(rec).values
    where = {"bottom": place < 1 / 3, "top": place > 2 / 3}
    for part, n, size in PLANTED:
        for unit in rng.choice(np.flatnonzero(where[part]), size, replace=False):
            mine = [list(FILES)[i] for i in rng.choice(len(FILES), n, replace=False)]
            values[:, unit] = np.where(np.isin(label, mine), 1.0, 0.01)
    return rec.copy(data=values)


def listed(rec):
    """Return the neurons that are in a language's list, and where they lie."""
    test = Test(null=NULL, seed=SEED)
    table = programming_neurons(rec, n_per_label=PER_LANGUAGE, test=test).table
    return table.assign(depth=depth(table))[table["kind"] != ""]


def figures(table):
    """Return the share in the bottom third, and how deep shared and exclusive neurons lie."""
    means = table.groupby("kind")["depth"].mean()
    deep = {f"{kind}_depth": float(value) for kind, value in means.items()}
    return {"bottom": float((table["depth"] < 1 / 3).mean())} | deep


net = nissl.load("gemma3-270m", dtype="bfloat16")
parts = programs()
rec = document_activity(net, parts)["open"]
permuted = permute_labels(rec, labels="language", null=NULL, seed=SEED)
tables = {"found": listed(rec), "permuted": listed(permuted), "planted": listed(planted(permuted))}
layers = pd.DataFrame({name: table.groupby("layer").size() for name, table in tables.items()})
axes = curve(layers.fillna(0))
axes.set_ylabel("neurons in a language's list")
save_figure(axes.figure, "out/selectivity/programming_neurons.png")

kinds = tables["found"]["kind"].value_counts()
nissl.claim(
    "programming_neurons",
    system=192,
    says="Neurons of programming languages lie mostly in the bottom layers.",
    measured=figures(tables["found"]) | {kind: int(n) for kind, n in kinds.items()},
    null=figures(tables["permuted"]),
    rule="bottom > null.bottom + 0.05",
    power=figures(tables["planted"]),
    data=f"Gemma 3 270M; {len(parts)} parts of {parts['file'].nunique()} files in "
    f"{len(FILES)} languages"
    "; bottom: share of listed neurons in the lowest third of the layers; depth from 0 "
    "(first layer) to 1; null: languages permuted over files",
)
