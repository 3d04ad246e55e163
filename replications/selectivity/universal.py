"""Universal neurons (system 131): those that networks from other initialisations have too.

Ten transformers of one architecture learned from ten initialisations to find where translation of a
transcript begins. They read transcripts that are simulated from human codon usage. Partners are
found on half of the transcripts, and what is counted is what they keep on the other half. The same
is asked of two networks that never learned, and of SmolLM2 against Gemma, which share neither
architecture, data nor tokenizer and are aligned where tokens end at the same character.
"""

from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import nissl
from nissl.network import Architecture, Matrices, with_places
from nissl.network.sites.hook_points import Input
from nissl.recording import align
from nissl.selectivity import correlation_with_partners, families, universal, weight_signature
from nissl.specimens.tis import transcript_tokens
from nissl.statistics import Moments, ReinitialisedNetwork, Test

SEED, N_ROTATIONS = 0, 3
N_TRANSCRIPTS, LETTERS = 24, 250  # and letters of each that are kept
DOCUMENTS, WORDS, EVERY = 52, 45, 20  # of the reader; one in twenty of SmolLM2's neurons
PLANTED, LIKENESS = 0.03, 0.85  # the paper's share and correlation: an excess of some 0.6
LABELS = ("letter", "letter before", "codon position", "region", "place in transcript")
# Human codons, per thousand: T, C, A, G in the first, second and third place.
USAGE = """17.6 20.3 7.7 12.9 15.2 17.7 12.2 4.4 12.2 15.3 0 0 10.6 12.6 0 13.2
13.2 19.6 7.2 39.6 17.5 19.8 16.9 6.9 10.9 15.1 12.3 34.2 4.5 10.4 6.2 11.4
16.0 20.8 7.5 22.0 13.1 18.9 15.1 6.1 17.0 19.1 24.4 31.9 12.1 19.5 12.2 12.0
11.0 14.5 7.1 28.1 18.4 27.7 15.8 7.4 21.8 25.1 29.0 39.6 10.8 22.2 16.5 16.5"""
TIS = Architecture(
    "TIS Transformer",
    (),
    blocks="blocks",
    embed="embed",
    final_norm="head.fc1",
    block=lambda path, config: {"mlp.neurons": Input(f"{path}.mlp.fc2")},
    matrices=Matrices("mlp.fc1", "mlp.fc2", activation="mlp.activation", norm="norm2"),
)


def transcript(rng):
    """A leader, a start in good context, codons, a stop and a tail; and what each letter is."""
    codons = [a + b + c for a in "TCAG" for b in "TCAG" for c in "TCAG"]
    usage = np.asarray(USAGE.split(), float)
    leader = "".join(rng.choice(list("ACGT"), rng.integers(60, 200), p=[0.2, 0.3, 0.3, 0.2]))
    body = "".join(rng.choice(codons, rng.integers(80, 160), p=usage / usage.sum()))
    tail = "".join(rng.choice(list("ACGT"), rng.integers(100, 250), p=[0.3, 0.2, 0.2, 0.3]))
    parts = [leader + "GCCGCCACC", "ATG" + body + "TAA", tail]
    region = np.repeat([0, 1, 2], [len(part) for part in parts])
    codon = np.where(region == 1, (np.arange(len(region)) - len(parts[0])) % 3, -1)
    return "".join(parts), region, codon


def network(module):
    module.config = SimpleNamespace(hidden_size=48, intermediate_size=192, num_attention_heads=8)
    return nissl.load(module, architecture=TIS)


def read(module, sequences, kept):
    """Activity of every neuron at the letters that are kept, with what they are."""
    net = network(module)
    ids = [transcript_tokens(sequence)[0].numpy() for sequence, _, _ in sequences]
    rec = nissl.record(
        net, ids, sites="mlp.neurons", batch_size=1, window=1024, bos="never", progress=False
    )
    rows, labels = [], []
    for document, ((_, region, codon), places) in enumerate(zip(sequences, kept, strict=True)):
        rows.append(np.flatnonzero(rec["document"].values == document)[places + 1])
        letters = ids[document]
        labels.append(
            np.stack(
                [
                    letters[places + 1],
                    letters[places],
                    codon[places],
                    region[places],
                    10 * places // len(region),
                ]
            )
        )
    rec = rec[np.concatenate(rows)]
    return rec.assign_coords(
        {name: ("sample", row) for name, row in zip(LABELS, np.concatenate(labels, 1), strict=True)}
    )


def starts_found(module, sequences):
    """Share of transcripts in which the network's best guess is where translation begins."""
    scores = [module(transcript_tokens(s))[0, 1:-1, 1].detach() for s, _, _ in sequences]
    starts = [int(np.argmax(codon == 0)) for _, _, codon in sequences]
    return float(np.mean([int(x.argmax()) == i for x, i in zip(scores, starts, strict=True)]))


def halves(rec):
    even = rec["document"].values % 2 == 0
    return rec[even], rec[~even]


def put_to_the_test(rec, others, *, n_rotations=N_ROTATIONS, dtype="float32"):
    """Find partners on one half of the documents; count those that stand on the other half."""
    first, second = halves(rec)
    split = {name: halves(other) for name, other in others.items()}
    here, there = ({name: parts[i] for name, parts in split.items()} for i in (0, 1))
    found = universal(
        first, here, test=Test(n_permutations=n_rotations, seed=SEED), dtype=dtype, progress=False
    )
    again = correlation_with_partners(found, second, there)
    excess = again - found.table["null_mean"]
    table = found.table.assign(again=again, excess=excess)
    return table.assign(stands=table["universal"] & (table["excess"] > 0.5))


def against_each_other(recs):
    return [
        put_to_the_test(recs[name], {n: rec for n, rec in recs.items() if n != name})
        for name in recs
    ]


def planted(recs, name):
    """The others' layers rotated, so that no neuron is shared, but for those put into all.

    Each is as large as the neuron whose place it takes.
    """
    rng = np.random.default_rng(SEED)
    rec, others = recs[name], {}
    n_units, n_planted = rec.sizes["unit"], round(PLANTED * rec.sizes["unit"])
    shared = rng.standard_normal((rec.sizes["sample"], n_planted))
    for other in (n for n in recs if n != name):
        values = recs[other].values.copy()
        layer = recs[other]["layer"].values
        for number in np.unique(layer):
            columns = np.flatnonzero(layer == number)
            turn = np.linalg.qr(rng.standard_normal((len(columns), len(columns))))[0]
            values[:, columns] = values[:, columns] @ turn
        noise = rng.standard_normal(shared.shape) * np.sqrt(LIKENESS**-2 - 1)
        places = rng.choice(n_units, n_planted, replace=False)
        values[:, places] = LIKENESS * (shared + noise) * values[:, places].std(axis=0)
        others[other] = recs[other].copy(data=values)
    values = rec.values.copy()
    places = rng.choice(n_units, n_planted, replace=False)
    values[:, places] = shared * values[:, places].std(axis=0)
    return put_to_the_test(rec.copy(data=values), others)


def language_models():
    """A twentieth of SmolLM2's neurons and all of Gemma's, where tokens end at the same character.

    On English and programs: of other scripts SmolLM2's tokenizer makes many tokens a letter, which
    end where none of Gemma's does.
    """
    texts = nissl.read("reader").query("language == 'english' or kind == 'program'")["text"]
    texts = [" ".join(text.split()[:WORDS]) for text in texts.iloc[::4][:DOCUMENTS]]
    recs = []
    for name, every in (("smollm2", EVERY), ("gemma3-270m", 1)):
        net = nissl.load(name, dtype="bfloat16")
        rec = nissl.record(net, texts, sites="mlp.neurons", batch_size=16, progress=False)
        recs.append(with_places(rec[:, ::every], texts, net.tokenizer))
    return align(*recs, on="place", missing="drop")


rng = np.random.default_rng(SEED)
sequences = [transcript(rng) for _ in range(N_TRANSCRIPTS)]
kept = [np.sort(rng.choice(len(s[0]), LETTERS, replace=False)) for s in sequences]
folds = nissl.read("tis-folds")
human = {name: read(folds[name], sequences, kept) for name in folds if "human" in name}
mouse = {name: read(folds[name], sequences, kept) for name in list(folds)[-2:]}
fresh = {
    f"fresh-{i}": read(module, sequences, kept)
    for i, module in enumerate(ReinitialisedNetwork().draw(folds["human-0"], 2, seed=SEED))
}
trained, random = against_each_other(human), against_each_other(fresh)
found = trained[0].set_index("unit")
across = put_to_the_test(human["human-0"], mouse)
power = planted(human, "human-0")
smollm2, gemma = language_models()
pair = put_to_the_test(smollm2, {"gemma3-270m": gemma}, n_rotations=2, dtype="bfloat16")


def share(tables):
    return float(np.mean([table["stands"].mean() for table in tables]))


# Of what kind are they, and what do their weights say?
kinds = families(human["human-0"], labels=list(LABELS)).set_index("unit")["family"]
moments = Moments(human["human-0"].sizes["unit"])
moments.update(human["human-0"].values)
signature = weight_signature(network(folds["human-0"])).set_index("unit")
activity = moments.result()
signature = signature.assign(
    activity_skew=activity["skew"], activity_kurtosis=activity["kurtosis"]
).rank(pct=True)

figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
bins = np.linspace(-0.2, 0.8, 51)
shown = {
    "other human folds": (pd.concat(trained)["excess"], "#2f5d8a"),
    "mouse folds": (across["excess"], "#57a773"),
    "never trained": (pd.concat(random)["excess"], "#b0b0b0"),
    "SmolLM2 in Gemma": (pair["excess"], "#c8553d"),
}
for name, (values, colour) in shown.items():
    weights = np.full(len(values), 100 / len(values))
    axes[0, 0].hist(
        values, bins, weights=weights, histtype="step", lw=1.8, label=name, color=colour
    )
axes[0, 0].axvline(0.5, color="black", lw=0.8, ls=":")
axes[0, 0].set(
    xlabel="excess correlation on the other half",
    ylabel="neurons (%)",
    yscale="log",
    title="Best partners, in excess of rotated bases",
)
axes[0, 0].legend(fontsize=9, edgecolor="none", framealpha=1)
stands = found["stands"].to_numpy()
for chosen, colour, name in ((~stands, "#b8c4d0", "others"), (stands, "#c8553d", "universal")):
    axes[0, 1].scatter(
        found["null_mean"][chosen],
        found["again"][chosen],
        s=8,
        color=colour,
        label=f"{name} ({chosen.sum()})",
    )
axes[0, 1].plot([0, 1], [0, 1], color="black", lw=0.8)
axes[0, 1].set(
    xlabel="best of a rotated basis",
    ylabel="partner on the other half",
    xlim=(0, 1),
    ylim=(-0.2, 1),
    title="Neurons of one human fold",
)
axes[0, 1].legend(frameon=False, fontsize=9, loc="lower right")
counts = pd.crosstab(kinds, np.where(stands, "universal", "others"), normalize="columns")
counts = counts.reindex(columns=["others", "universal"], fill_value=0.0)
(100 * counts).plot.barh(ax=axes[1, 0], color=["#b8c4d0", "#c8553d"], legend=False)
axes[1, 0].set(xlabel="neurons (%)", ylabel="", title="Families: what explains their variance")
chosen = signature.loc[found.index[stands]].median() if stands.any() else signature.median()
axes[1, 1].barh(chosen.index.str.replace("_", " "), 100 * chosen - 50, left=50, color="#c8553d")
axes[1, 1].axvline(50, color="black", lw=0.8)
axes[1, 1].set(
    xlim=(0, 100),
    xlabel="median percentile of universal neurons",
    title="Signature in weights and activity",
)
for axis in axes.flat:
    axis.spines[["top", "right"]].set_visible(False)
path = Path("out/selectivity/universal.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=130)

nissl.claim(
    "universal",
    system=131,
    says="1-5% of neurons are universal: they have a partner in networks from other seeds, "
    "by 0.5 more correlated than the best of a rotated basis.",
    measured={
        "share": share(trained),
        "starts_found": starts_found(folds["human-0"], sequences),
        "share_of_folds": [float(table["stands"].mean()) for table in trained],
        "excess": float(pd.concat(trained)["excess"].mean()),
        "share_in_mouse": share([across]),
        "share_smollm2_in_gemma": share([pair]),
        "excess_smollm2_in_gemma": float(pair["excess"].mean()),
    },
    null={"share": share(random), "excess": float(pd.concat(random)["excess"].mean())},
    rule="share >= 0.01 and share <= 0.05 and null.share < 0.5 * share",
    power={"share": share([power])},
    data=f"tis-folds (five human, two mouse) on {N_TRANSCRIPTS} transcripts simulated from human "
    f"codon usage; smollm2 (one neuron in {EVERY}) and gemma3-270m on {smollm2.sizes['sample']} "
    f"places of {DOCUMENTS} texts"
    "; partners are found on half of the transcripts (or texts) and counted on the other half; "
    "the null is networks that never learned",
)
