"""Dead salmons (system 51): random networks give findings, unless networks are the null too.

The neurons of a small language model (TinyStories, 15 million weights) read the beginnings of
program files and of other texts. Which neurons respond to program text? The question is put to the
trained network and to nineteen with fresh weights, as is usual (labels permuted over documents) and
with the dead-salmon control.
"""

from pathlib import Path

import numpy as np

import nissl
from nissl.recording import aggregate
from nissl.statistics import Test, dead_salmon

SEED, N_NETWORKS, WORDS = 0, 19, 30

net = nissl.load("stories15m", progress=False)
texts = nissl.read("reader")
texts = texts[texts["kind"].isin(["program", "dialogue"])].copy()
texts["text"] = [" ".join(text.split()[:WORDS]) for text in texts["text"]]
is_program = np.asarray(texts["kind"] == "program")


def activity(model):
    """Mean activity of every neuron over each document's first words."""
    network = nissl.load(model, tokenizer=net.tokenizer, progress=False)
    rec = nissl.record(
        network, list(texts["text"]), sites="blocks.*.mlp.neurons", window=64, progress=False
    )
    return aggregate(rec, by="document")


found = dead_salmon(
    activity,
    net.model,
    is_program,
    exchange=np.arange(len(texts)),  # one sample a document
    test=Test(n_permutations=500, seed=SEED),
    training=Test(n_permutations=N_NETWORKS, seed=SEED),
)
table, about = found.table, found.provenance
print(found)
figure = Path("out/statistics/dead_salmon.png")
figure.parent.mkdir(parents=True, exist_ok=True)
found.plot().savefig(figure, dpi=120)

nissl.claim(
    "dead_salmon",
    system=51,
    says="Interpretability methods find plausible structure in randomly initialised networks.",
    measured={
        "random_rate": about["random_rate"],
        "random_share": about["random_share"],
        "trained_share": float(np.mean(table["q_labels"] <= 0.05)),
        "standing_share": float(np.mean(table["q"] <= 0.05)),
    },
    null={"random_rate": about["dead_rate"], "random_rate_low": about["dead_low"]},
    rule="random_rate > 0.5 and null.random_rate_low <= 0.05",
    data=f"stories15m, {N_NETWORKS} re-initialisations; {len(texts)} documents of {WORDS} words"
    "; neurons of random networks respond to what is in the text too; permuted labels do not "
    "tell them from trained ones, other random networks do",
)
