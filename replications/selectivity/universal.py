"""Universal neurons (system 131): those that networks from other initialisations have too.

Ten transformers learned from ten initialisations to find where translation of a transcript begins,
and read transcripts simulated from human codon usage. Partners are found on half and counted on the
other half; also of networks that never learned, and of SmolLM2 against Gemma.
"""

import numpy as np
import pandas as pd

import nissl
from nissl.network import with_places
from nissl.recording import align
from nissl.selectivity import correlation_with_partners, universal
from nissl.specimens.tis import transcript_tokens
from nissl.statistics import ReinitialisedNetwork, Test
from nissl.statistics.figure import curve, save_figure

SEED, N_TRANSCRIPTS, LETTERS = 0, 24, 250  # and letters of each that are kept
DOCUMENTS, WORDS, EVERY = 52, 45, 20  # of the reader; one in twenty of SmolLM2's neurons
PLANTED, LIKENESS = 0.03, 0.85  # the paper's share and correlation: an excess of some 0.6
NEURONS = [f"blocks.{layer}.mlp.activation" for layer in range(8)]
# Human codons, per thousand: T, C, A, G in the first, second and third place.
USAGE = """17.6 20.3 7.7 12.9 15.2 17.7 12.2 4.4 12.2 15.3 0 0 10.6 12.6 0 13.2
13.2 19.6 7.2 39.6 17.5 19.8 16.9 6.9 10.9 15.1 12.3 34.2 4.5 10.4 6.2 11.4
16.0 20.8 7.5 22.0 13.1 18.9 15.1 6.1 17.0 19.1 24.4 31.9 12.1 19.5 12.2 12.0
11.0 14.5 7.1 28.1 18.4 27.7 15.8 7.4 21.8 25.1 29.0 39.6 10.8 22.2 16.5 16.5"""


def transcript(rng):
    """Draw a leader, a start in good context, codons, a stop and a tail."""
    codons = [a + b + c for a in "TCAG" for b in "TCAG" for c in "TCAG"]
    usage = np.fromstring(USAGE, sep=" ")
    leader = "".join(rng.choice(list("ACGT"), rng.integers(60, 200), p=[0.2, 0.3, 0.3, 0.2]))
    body = "".join(rng.choice(codons, rng.integers(80, 160), p=usage / usage.sum()))
    tail = "".join(rng.choice(list("ACGT"), rng.integers(100, 250), p=[0.3, 0.2, 0.2, 0.3]))
    return leader + "GCCGCCACC" + "ATG" + body + "TAA" + tail


def read(module):
    """Record every neuron at the letters that are kept; a token stands before the first letter."""
    net = nissl.load(module, progress=False)
    ids = [transcript_tokens(sequence)[0].numpy() for sequence in sequences]
    rec = nissl.record(net, ids, sites=NEURONS, batch_size=1, window=1024, progress=False)
    return rec[np.concatenate([np.flatnonzero(rec["document"] == d)[p + 1] for d, p in kept])]


def partners(rec, others, test=Test(n_permutations=3, seed=SEED), dtype="float32"):
    """Find partners on the even documents; say by how much they exceed on the odd ones."""
    a, b = (rec[rec["document"] % 2 == half] for half in (0, 1))
    here, there = ({n: o[o["document"] % 2 == half] for n, o in others.items()} for half in (0, 1))
    found = universal(a, here, test=test, dtype=dtype, progress=False)
    excess = correlation_with_partners(found, b, there) - found.table["null_mean"]
    return pd.DataFrame({"excess": excess, "stands": found.table["universal"] & (excess > 0.5)})


def against_each_other(recs):
    each = [(rec, {n: o for n, o in recs.items() if n != name}) for name, rec in recs.items()]
    return pd.concat([partners(rec, others) for rec, others in each])


def planted(rec, *others):
    """Rotate the others' layers, so that no neuron is shared, and put shared neurons into all."""
    rng, n_units, made = np.random.default_rng(SEED), rec.sizes["unit"], []
    shared = rng.standard_normal((rec.sizes["sample"], round(PLANTED * n_units)))
    for own in (*others, rec):
        values, put = own.values.copy(), shared
        if own is not rec:
            for columns in np.split(np.arange(n_units), len(NEURONS)):
                turn = np.linalg.qr(rng.standard_normal((len(columns), len(columns))))[0]
                values[:, columns] = values[:, columns] @ turn
            noise = rng.standard_normal(shared.shape) * np.sqrt(LIKENESS**-2 - 1)
            put = LIKENESS * (shared + noise)
        places = rng.choice(n_units, shared.shape[1], replace=False)
        values[:, places] = put * values[:, places].std(axis=0)
        made.append(own.copy(data=values))
    return partners(made.pop(), {str(i): other for i, other in enumerate(made)})


def language_models():
    """Record both on English and programs; of other scripts SmolLM2 makes many tokens a letter."""
    texts = nissl.read("reader").query("language == 'english' or kind == 'program'")["text"]
    texts = [" ".join(text.split()[:WORDS]) for text in texts.iloc[::4][:DOCUMENTS]]
    for name, every in (("smollm2", EVERY), ("gemma3-270m", 1)):
        net = nissl.load(name, dtype="bfloat16")
        rec = nissl.record(net, texts, sites="mlp.neurons", batch_size=16, progress=False)
        yield with_places(rec[:, ::every], texts, net.tokenizer)


rng = np.random.default_rng(SEED)
sequences = [transcript(rng) for _ in range(N_TRANSCRIPTS)]
kept = [(i, np.sort(rng.choice(len(s), LETTERS, replace=False))) for i, s in enumerate(sequences)]
folds = nissl.read("tis-folds")
human, mouse = ({n: read(folds[n]) for n in names} for names in (list(folds)[:5], list(folds)[-2:]))
smollm2, gemma = align(*language_models(), on="place", missing="drop")
pair = partners(smollm2, {"": gemma}, Test(n_permutations=2, seed=SEED), "bfloat16")
compared = {"share": against_each_other(human), "share_smollm2_in_gemma": pair}
compared["share_in_mouse"] = partners(human["human-0"], mouse)
fresh = enumerate(ReinitialisedNetwork().draw(folds["human-0"], 2, seed=SEED))
tables = compared | {"never trained": against_each_other({str(i): read(m) for i, m in fresh})}

beyond = pd.Index(np.linspace(0, 0.8, 41), name="excess correlation on the other half")
lines = pd.DataFrame({n: [(t["excess"] > x).mean() for x in beyond] for n, t in tables.items()})
axes = curve(lines.set_index(beyond).rename(columns=lambda name: name.replace("_", " ")))
axes.set(yscale="log", ylabel="share of neurons beyond it")
save_figure(axes.figure, "out/selectivity/universal.png")

nissl.claim(
    "universal",
    system=131,
    says="1-5% of neurons are universal: they have a partner in networks from other seeds, "
    "by 0.5 more correlated than the best of a rotated basis.",
    measured={name: float(table["stands"].mean()) for name, table in compared.items()},
    null={"share": float(tables["never trained"]["stands"].mean())},
    rule="share >= 0.01 and share <= 0.05 and null.share < 0.5 * share",
    power={"share": float(planted(*human.values())["stands"].mean())},
    data=f"tis-folds (five human, two mouse) on {N_TRANSCRIPTS} transcripts simulated from codon "
    f"usage; smollm2 (one neuron in {EVERY}) and gemma3-270m on {smollm2.sizes['sample']} places "
    f"of {DOCUMENTS} texts; partners found on half, counted on the rest; null: never trained",
)
