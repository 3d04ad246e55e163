"""H-neurons (system 167): which few neurons tell wrong answers from right ones.

SmolLM2 is asked about countries and words, each question in the same frame, ten answers to each.
Kept are the questions it answers rightly each time or wrongly each time. Half of the subjects find
H-neurons (Gao et al. 2025); the others test whether their contributions to an answer tell that it
is wrong, compared inside each kind of question, against the words of the question and as many
random neurons.
"""

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer

import nissl
from nissl.behaviour import answer_contributions, consistent, halves
from nissl.selectivity import hallucination_neurons
from nissl.statistics import Test, probe_scores, stratified_auroc
from nissl.statistics.figure import bar, save_figure

SEED, N_RANDOM = 0, 50
TEMPERATURE = 0.5  # at 1 so small a model answers too few hard questions alike ten times
FRAME = (
    "The capital of Japan is Tokyo. The opposite of dry is wet. Peru is on the continent of South "
    "America. The official language of Greece is Greek. Sofia is the capital of Bulgaria. "
)
IN_FRAME = ("Japan", "dry", "wet", "Peru", "Greece", "Bulgaria")
RELATIONS = ("capital", "language", "opposite", "comparative", "superlative")
NO_ANSWER = ("the", "a", "an", "not", "one")  # an answer may yet follow: its first token is no sign
LEAST, MOST = 8, 40  # questions of a kind answered rightly, and wrongly: fewer, and it is left out


def questions():
    """Return facts of seven relations, each in the frame."""
    table = nissl.read("relations")[["text", "answer", "relation", "subject"]]
    capital, continent = (table[table["relation"] == kind] for kind in ("capital", "continent"))
    reverse = capital.assign(
        text=capital["answer"].str.strip() + " is the capital of",
        answer=" " + capital["subject"],
        relation="country",
    )
    continent = continent.assign(text=continent["subject"] + " is on the continent of")
    table = pd.concat([table[table["relation"].isin(RELATIONS)], reverse, continent])
    # Of a language of two words the second alone may be the answer: "Austro-Bavarian German".
    two = (table["relation"] == "language") & table["answer"].str.strip().str.contains(" ")
    table = table[~two & ~table["subject"].isin(IN_FRAME)].reset_index(drop=True)
    return table.assign(plain=table["text"], text=FRAME + table["text"])


def enough(table):
    """Return right and wrong answers of each relation that has enough of both."""
    table, kept = table[~table["said"].str.strip().isin(NO_ANSWER)], []
    for _, group in table.groupby("relation"):
        sides = [side for _, side in group.groupby("wrong")]
        if len(sides) == 2 and min(map(len, sides)) >= LEAST:
            kept += [side.sample(min(MOST, len(side)), random_state=SEED) for side in sides]
    return pd.concat(kept).reset_index(drop=True)


def contributions(net, table):
    """Record what neurons contribute to the answers that were given, and to other tokens."""
    given = table[["text", "said", "wrong", "subject", "relation"]]
    return answer_contributions(net, given, progress=False)


def probed(fit, held):
    """Return the AUROC of a plain probe on some columns, inside kinds of tested questions."""
    scores = probe_scores(fit, train["wrong"], held, kind=train["relation"])
    return float(stratified_auroc(scores[:, None], tested["wrong"], tested["relation"])[0])


net = nissl.load("smollm2", dtype="bfloat16", progress=False)  # statistics are in float32
kept = enough(consistent(net, questions(), temperature=TEMPERATURE, seed=SEED))
train, tested = halves(kept, labels="relation", by="subject", seed=SEED)
recs = [contributions(net, table) for table in (train, tested)]
found = hallucination_neurons(recs[0], tested=recs[1], kind="relation", test=Test(seed=SEED))

fit, held = (rec.values[: len(rec) // 2] for rec in recs)  # contributions to the answers
chosen, rng = np.flatnonzero(found.table["h_neuron"]), np.random.default_rng(SEED)
drawn = [rng.choice(fit.shape[1], len(chosen), replace=False) for _ in range(N_RANDOM)]
random = [probed(fit[:, some], held[:, some]) for some in drawn]
words = CountVectorizer().fit(train["plain"])
of_words = probed(*(words.transform(table["plain"]).toarray() for table in (train, tested)))

auroc = found.provenance["probe_auroc"]
shown = {"H-neurons": auroc, "as many random neurons": np.mean(random), "words": of_words}
axes = bar(shown)
axes.set(ylabel="AUROC on other subjects", ylim=(0.4, 1))
save_figure(axes.figure, "out/selectivity/hallucination_neurons.png")

nissl.claim(
    "hallucination_neurons",
    system=167,
    says="Less than 0.1% of neurons tell wrong answers from right ones, better than as many random "
    "neurons (AUROC 0.86 in base models).",
    measured={
        "auroc": auroc,
        "auroc_p": found.provenance["probe_p"],
        "auroc_of_h_neurons": probed(fit[:, chosen], held[:, chosen]),
        "h_neurons": len(chosen),
        "h_neurons_confirmed": len(found.significant()),
        "share_of_neurons": len(chosen) / fit.shape[1],
        "questions": len(kept),
    },
    null={"auroc": float(np.mean(random)), "auroc_of_words": of_words},
    rule="auroc > null.auroc + 0.05 and auroc > null.auroc_of_words + 0.05 and auroc_p < 0.01",
    data=f"smollm2 (bfloat16) on {len(kept)} facts of {kept['relation'].nunique()} relations, half "
    "of the subjects held out; auroc_of_h_neurons: of a plain probe, as those of the null",
)
