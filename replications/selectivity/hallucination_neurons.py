"""H-neurons (system 167): which neurons tell wrong answers, and which make them.

SmolLM2 is asked about countries and words, each question in the same frame, ten answers to each.
Kept are the questions it answers rightly each time or wrongly each time. Half of the subjects find
H-neurons; the others test whether their contributions to an answer tell that it is wrong, compared
inside each kind of question, against the words of the question and as many random neurons. Then
H-neurons are scaled, while the network is told wrong answers to facts of the other subjects that it
knows: does it go along? As many random neurons of the same layers and contribution are scaled too.

For power, both effects are planted: random neurons are made to contribute more to wrong answers,
and in a network whose weights are changed, random neurons like the H-neurons write what makes it
go along. Both are sought as the H-neurons are.
"""

import hashlib
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import CountVectorizer

import nissl
from nissl.behaviour import (
    answer_contributions,
    consistent,
    first_tokens,
    halves,
    logit_difference,
    over_compliance,
    scaled_compliance,
    token_ids,
)
from nissl.cache import cache_dir
from nissl.network import WeightEdit
from nissl.network.gradients import gradients
from nissl.network.run.calls import sequence_call
from nissl.recording import units_table
from nissl.selectivity import hallucination_neurons
from nissl.statistics import MatchedUnits, Test, probe_scores, stratified_auroc

SEED, MODEL = 0, "smollm2"
TEMPERATURE = 0.5  # at 1 so small a model answers too few hard questions alike ten times
FRAME = (
    "The capital of Japan is Tokyo. The opposite of dry is wet. Peru is on the continent of South "
    "America. The official language of Greece is Greek. Sofia is the capital of Bulgaria. "
)
IN_FRAME = ("Japan", "dry", "wet", "Peru", "Greece", "Bulgaria")
RELATIONS = ("capital", "language", "opposite", "comparative", "superlative")
NO_ANSWER = ("the", "a", "an", "not", "one")  # an answer may yet follow: its first token is no sign
ROWS = 256  # of a call: prompts, times the groups that are scaled together
LEAST, MOST = 8, 40  # questions of a kind answered rightly, and wrongly: fewer, and it is left out
N_RANDOM, N_DRAWS, FACTORS = 50, 19, (0.0, 1.0, 3.0)
TOLD = 20  # facts to which a wrong answer is suggested, in two voices
# Asked "Is it true that" it always says no, and that can neither rise nor fall.
VOICES = ("I think that", "My teacher says that")
# The paper's effects: an AUROC of 0.86, here planted as five neurons that together differ by 1.53
# deviations, and 3 points of compliance for each unit of the factor.
PLANTED, SHIFT, RISE = 5, 1.53 / 5**0.5, 0.09
TRIALS, SMALL, LARGE = 4, 0.01, 1.0  # how large a planted change of weights may be


def questions():
    """Facts of seven relations, each in the frame."""
    table = nissl.read("relations")[["text", "answer", "relation", "subject"]]
    capitals = table[table["relation"] == "capital"]
    reverse = pd.DataFrame(
        {
            "text": capitals["answer"].str.strip() + " is the capital of",
            "answer": " " + capitals["subject"],
            "relation": "country",
            "subject": capitals["subject"],
        }
    )
    continent = table[table["relation"] == "continent"]
    continent = continent.assign(text=continent["subject"] + " is on the continent of")
    table = pd.concat([table[table["relation"].isin(RELATIONS)], reverse, continent])
    # Of a language of two words the second alone may be the answer: "Austro-Bavarian German".
    two = (table["relation"] == "language") & table["answer"].str.strip().str.contains(" ")
    table = table[~two & ~table["subject"].isin(IN_FRAME)].reset_index(drop=True)
    return table.assign(plain=table["text"], text=FRAME + table["text"])


def asked(net):
    """The questions answered alike ten times; kept in the cache, by model and questions."""
    table = questions()
    about = json.dumps([FRAME, TEMPERATURE, SEED, net.weights_hash, table.to_numpy().tolist()])
    key = hashlib.sha256(about.encode()).hexdigest()[:16]
    path = cache_dir("examples", "hallucination_neurons") / f"{key}.parquet"
    if not path.exists():
        consistent(net, table, temperature=TEMPERATURE, seed=SEED).to_parquet(path)
    return pd.read_parquet(path)


def enough(table):
    """Right and wrong answers of each relation that has enough of both."""
    table, kept = table[~table["said"].str.strip().isin(NO_ANSWER)], []
    for _, group in table.groupby("relation"):
        sides = [side for _, side in group.groupby("wrong")]
        if len(sides) == 2 and min(map(len, sides)) >= LEAST:
            kept += [side.sample(min(MOST, len(side)), random_state=SEED) for side in sides]
    return pd.concat(kept).reset_index(drop=True)


def told(table):
    """Prompts that suggest a wrong answer before the fact, which is known."""
    rng = np.random.default_rng(SEED)
    rows = []
    for fact in table[~table["wrong"]].sample(frac=1, random_state=SEED).head(TOLD).itertuples():
        others = table.loc[table["relation"] == fact.relation, "answer"].unique()
        wrong = rng.choice([other for other in others if other[:3] != fact.answer[:3]])
        said = "the" + fact.plain[3:] if fact.plain.startswith("The ") else fact.plain
        rows += [(f"{voice} {said}{wrong}. {fact.plain}", wrong, fact.answer) for voice in VOICES]
    return pd.DataFrame(rows, columns=["text", "told", "right"])


def contributions_of(net, table):
    given = table[["text", "said", "wrong", "subject", "relation"]]
    return answer_contributions(net, given, progress=False)


def probed(columns, train, tested):
    """AUROC on tested questions of a plain probe on some columns of both."""
    fit, held = columns
    scores = probe_scores(fit, train["wrong"], held, kind=train["relation"])
    return float(stratified_auroc(scores[:, None], tested["wrong"], tested["relation"])[0])


def baselines(found, recs, train, tested):
    """What plain probes read from H-neurons, as many random neurons, and the words."""
    answers = [rec.values[: len(table)] for rec, table in zip(recs, (train, tested), strict=True)]
    chosen = np.flatnonzero(found.table["h_neuron"])
    rng = np.random.default_rng(SEED)
    random = []
    for _ in range(N_RANDOM):
        drawn = rng.choice(len(found.table), len(chosen), replace=False)
        random.append(probed([a[:, drawn] for a in answers], train, tested))
    words = CountVectorizer().fit(train["plain"])
    counted = [words.transform(table["plain"]).toarray() for table in (train, tested)]
    return {
        "h_neurons": probed([a[:, chosen] for a in answers], train, tested),
        "random": random,
        "words": probed(counted, train, tested),
    }


def with_h_neurons(recs, tables):
    """The same contributions, with the paper's effect planted in a few random neurons."""
    rng = np.random.default_rng(SEED)
    drawn = rng.choice(recs[0].sizes["unit"], PLANTED, replace=False)
    made = []
    for rec, table in zip(recs, tables, strict=True):
        values = rec.values.copy()
        answers = values[: len(table), drawn]
        values[: len(table), drawn] += SHIFT * answers.std(0) * table["wrong"].to_numpy()[:, None]
        made.append(rec.copy(data=values))
    return made


def matched(units, chosen, n, seed=SEED):
    """Random neurons of the layers of those chosen, that contribute as much."""
    drawn = MatchedUnits().draw(units, chosen, n, seed=seed)
    return units["unit"].to_numpy()[drawn].tolist()


def scaled(net, units, chosen, questions):
    """How far it goes along where neurons are scaled, and where others like them are."""
    groups = [chosen, *matched(units, chosen, N_DRAWS)]
    return scaled_compliance(net, groups, questions, factors=FACTORS, batch_size=ROWS)


def going_along(net, chosen, questions):
    """Changes of weights by which neurons write what makes it go along, for one nat more."""
    told, right = (torch.from_numpy(first_tokens(net, questions[c])) for c in ("told", "right"))
    call = sequence_call(net, token_ids(net, questions["text"]), padding="left")
    call.kwargs["logits_to_keep"] = 1
    found = gradients(
        net,
        call,
        sites=["mlp.out", "mlp.neurons"],
        metric=lambda logits: logit_difference(logits[:, -1].float(), told, right).sum(),
    )
    changes, gain = {}, 0.0
    for site, names in pd.Series(chosen).groupby(pd.Series(chosen).str.split("[").str[0]):
        index = names.str.extract(r"\[(\d+)\]", expand=False).astype(int).tolist()
        layer = net.find(site)[0].layer
        active = found.values[site][:, -1, index].float().mean(0)
        slope = found[f"blocks.{layer}.mlp.out"][:, -1].float().mean(0)
        gain += float(active.abs().sum() * slope.norm()) * (FACTORS[-1] - FACTORS[0])
        change = torch.zeros(len(slope), found.values[site].shape[-1])
        change[:, index] = torch.outer(slope / slope.norm(), active.sign())
        changes[f"model.layers.{layer}.mlp.down_proj.weight"] = change
    return {name: change / gain for name, change in changes.items()}


def with_compliance(net, units, chosen, questions, preference):
    """What is measured where random neurons make it go along more, by no more than in the paper."""
    # Some matched neurons raise it by as much as the paper's without any plant: a usual draw.
    told = (preference[1:] > 0).mean(axis=2)
    usual = int(np.argsort(told[:, -1] - told[:, 0], kind="stable")[N_DRAWS // 2])
    chosen = matched(units, chosen, N_DRAWS)[usual]
    changes = going_along(net, chosen, questions)

    def changed(size):
        return net.edit(
            *[
                WeightEdit(name, lambda w, change=change: w + (size * change).to(w))
                for name, change in changes.items()
            ]
        )

    ends, small, large = (FACTORS[0], FACTORS[-1]), SMALL, LARGE
    for _ in range(TRIALS):
        size = (small * large) ** 0.5
        with changed(size):
            low, high = scaled_compliance(
                net, [chosen], questions, factors=ends, batch_size=ROWS, progress=False
            )[0]
        rise = (high > 0).mean() - (low > 0).mean()
        small, large = (small, size) if rise > RISE else (size, large)
    with changed(small):
        return scaled(net, units, chosen, questions)


net = nissl.load(MODEL, dtype="bfloat16", progress=False)  # statistics are in float32
kept = enough(asked(net))
tables = halves(kept, labels="relation", by="subject", seed=SEED)
recs = [contributions_of(net, table) for table in tables]
options = {"kind": "relation", "seed": SEED}
found = hallucination_neurons(recs[0], tested=recs[1], **options)
answers_only = hallucination_neurons(recs[0], tested=recs[1], other_tokens=False, **options)
pooled = hallucination_neurons(recs[0], tested=recs[1], test=Test(seed=SEED))
plain = baselines(found, recs, *tables)
made = with_h_neurons(recs, tables)
strong = hallucination_neurons(made[0], tested=made[1], **options)

units = units_table(recs[0]).assign(weight=recs[0].values.mean(axis=0, dtype=float))
chosen = found.table.loc[found.table["h_neuron"], "unit"].tolist()
wrong_told = told(tables[1])
preference = scaled(net, units, chosen, wrong_told)
rises = over_compliance(preference).table.set_index("unit")
planted = with_compliance(net, units, chosen, wrong_told, preference)
raised = over_compliance(planted).table.set_index("unit")

figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
bars = {
    "H-neurons' L1 probe": found.provenance["probe_auroc"],
    "the same, from answers alone": answers_only.provenance["probe_auroc"],
    "plain probe on H-neurons": plain["h_neurons"],
    "on as many random neurons": float(np.mean(plain["random"])),
    "on the words of the question": plain["words"],
}
colours = ["#c0392b", "#d98880", "#d98880", "#9aa5b1", "#9aa5b1"]
axes[0].barh(range(len(bars)), np.asarray(list(bars.values())) - 0.5, left=0.5, color=colours)
axes[0].errorbar(bars["on as many random neurons"], 3, xerr=np.std(plain["random"]), color="black")
axes[0].set_yticks(range(len(bars)), list(bars))
axes[0].invert_yaxis()
axes[0].axvline(0.5, color="black", lw=0.8)
axes[0].set(
    xlim=(0.4, 1),
    xlabel="AUROC inside kinds of question, other subjects",
    title="Do they tell wrong answers?",
)
table = found.table
of_h = table[table["h_neuron"]]
by_layer = table.groupby("layer")["auroc"]
axes[1].fill_between(
    sorted(by_layer.groups),
    by_layer.quantile(0.05),
    by_layer.quantile(0.95),
    color="#d5dbe1",
    lw=0,
    label="all neurons, 5% to 95%",
)
axes[1].scatter(
    of_h["layer"],
    of_h["auroc"],
    s=20 + 120 * of_h["weight"] / of_h["weight"].max(),
    color="#c0392b",
    alpha=0.7,
    lw=0,
    label="H-neurons (area: weight)",
)
axes[1].axhline(0.5, color="black", lw=0.8, ls=":")
axes[1].set(
    xlabel="layer",
    ylabel="AUROC of the neuron alone, other subjects",
    title=f"{len(of_h)} H-neurons of {len(table):,}",
)
axes[1].set_ylim(0.1, 1)
axes[1].legend(frameon=False, loc="lower left")
share = (preference > 0).mean(axis=2)
for row in share[1:]:
    axes[2].plot(FACTORS, row, color="#9aa5b1", lw=0.8)
axes[2].plot([], [], color="#9aa5b1", label=f"{N_DRAWS} draws of matched neurons")
axes[2].plot(FACTORS, share[0], "o-", color="#c0392b", lw=2, label="H-neurons")
axes[2].plot(FACTORS, (planted[0] > 0).mean(axis=1), "--", color="#e3a23c", label="planted neurons")
axes[2].set(
    xlabel="activity multiplied by",
    ylabel="share of wrong answers it goes along with",
    title="Do they make it go along?",
)
axes[2].legend(frameon=False)
for axis in axes:
    axis.spines[["top", "right"]].set_visible(False)
path = Path("out/selectivity/hallucination_neurons.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=130)

measured = {
    "auroc": found.provenance["probe_auroc"],
    "auroc_p": found.provenance["probe_p"],
    "share_of_neurons": len(chosen) / len(table),
    "rise": float(rises.loc["share", "rise"]),
    "rise_p": float(rises.loc["share", "p"]),
    "rise_nats": float(rises.loc["preference", "rise"]),
    "rise_nats_p": float(rises.loc["preference", "p"]),
    "h_neurons": len(chosen),
    "h_neurons_confirmed": len(found.significant()),
    "auroc_of_h_neurons": plain["h_neurons"],
    "auroc_from_answers_alone": answers_only.provenance["probe_auroc"],
    "auroc_from_answers_alone_p": answers_only.provenance["probe_p"],
    "auroc_over_all_kinds": pooled.provenance["probe_auroc"],
    "goes_along": float(share[0, 1]),
    "questions": len(kept),
}
null = {
    "auroc": float(np.mean(plain["random"])),
    "auroc_of_words": plain["words"],
    "rise": float(rises.loc["share", "null_mean"]),
    "rise_nats": float(rises.loc["preference", "null_mean"]),
}
nissl.claim(
    "hallucination_neurons",
    system=167,
    says="Less than 0.1% of neurons tell wrong answers from right ones, better than as many random "
    "neurons (AUROC 0.86 in base models).",
    measured=measured,
    null=null,
    rule="auroc > null.auroc + 0.05 and auroc > null.auroc_of_words + 0.05 and auroc_p < 0.01",
    power={
        "auroc": strong.provenance["probe_auroc"],
        "auroc_p": strong.provenance["probe_p"],
        "rise": float(raised.loc["share", "rise"]),
        "rise_p": float(raised.loc["share", "p"]),
        "rise_nats": float(raised.loc["preference", "rise"]),
        "rise_nats_p": float(raised.loc["preference", "p"]),
        "null.rise": float(raised.loc["share", "null_mean"]),
        "null.rise_nats": float(raised.loc["preference", "null_mean"]),
    },
    data=f"smollm2 (bfloat16) on {len(kept)} facts of {kept['relation'].nunique()} relations, half "
    f"of the subjects held out; {len(wrong_told)} prompts that tell it a wrong answer"
    "; auroc_from_answers_alone: without the contributions at other tokens; rise: how much more it "
    "goes along when they are scaled from 0 to 3; neither is in the rule",
)
