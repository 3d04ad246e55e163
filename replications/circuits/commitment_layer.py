"""Distributional semantics tracing (system 27): a weak pathway from the context, and commitment.

The paper (Bhatia et al. 2025) finds hallucinations where the contextual pathway is incoherent: its
score, made of a graph of concepts that are decoded and traced, correlates with their rate by
-0.863. Here the score is one number of the network itself: how much of the probability of the next
token moves (total variation) when no head lets the last token attend to the subject. Wrong is a
fact whose answer is not the likeliest token; ranks are taken within each relation, and scores trade
places within it under the null. Beside this stands from which block on a wrong answer stays, in
prompts that state a false fact first, of which the network answers the true version rightly.
"""

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

import nissl
from nissl.behaviour import PromptScorer, make_task, token_ids
from nissl.circuits import commitment_layer
from nissl.statistics.figure import bar, curve, panels, save_figure

SEED, FACTS, PAIRS, BATCH, DRAWS = 0, 80, 24, 40, 1999
FORMS = {
    "capital": "The capital of {} is{}. The capital of {} is",
    "language": "The official language of {} is{}. The official language of {} is",
    "continent": "{} is a country in{}. {} is a country in",
}


def pathway(net, ids, begins):
    """Return how much of the next token's probability comes by attention to the subject.

    The subject is all tokens from where it begins to the last but one.
    """
    scores = []
    for start in range(0, len(ids), BATCH):
        prompts = ids[start : start + BATCH]
        rows, ends = torch.arange(len(prompts)), [len(prompt) - 1 for prompt in prompts]
        found = net.run(prompts, sites=["blocks.*.attn.pattern", "logits"])
        logits = found.pop("logits")
        for pattern in found.values():  # shape (batch, query, head, key)
            for row, end in enumerate(ends):
                pattern[row, end, :, begins[start + row] : end] = 0
        with net.edit(nissl.patch(found)):
            without = net.run(prompts, sites="logits")["logits"]
        both = [x[rows, ends].float().softmax(-1) for x in (logits, without)]
        scores += (0.5 * (both[0] - both[1]).abs().sum(-1)).tolist()
    return np.array(scores)


def correlation(score, wrong, kind):
    """Return Spearman's correlation, of ranks within each kind."""
    ranks = np.zeros((2, len(score)))
    for own in (kind == name for name in np.unique(kind)):
        for rank, x in zip(ranks, (score, wrong), strict=True):
            rank[own] = rankdata(x[own]) / own.sum() - (own.sum() + 1) / own.sum() / 2
    return float(np.corrcoef(ranks)[0, 1])


def tested(score, wrong, kind, draws):
    """Return the correlation, and p of one as far below zero when scores trade places."""
    rng, observed, below = np.random.default_rng(SEED), correlation(score, wrong, kind), 0
    for _ in range(draws):
        drawn = score.copy()
        for own in (kind == name for name in np.unique(kind)):
            drawn[own] = rng.permutation(score[own])
        below += correlation(drawn, wrong, kind) <= observed
    return observed, (1 + below) / (1 + draws)


def misleading(facts, rng):
    """Return prompts that first state a fact: of its own subject, or of the one that is asked."""
    rows = []
    for kind, form in FORMS.items():
        own = facts[facts["relation"] == kind].to_dict("records")
        for one, other in zip(own, rng.permutation(own), strict=True):
            if one["answer"] != other["answer"]:
                stated = other["subject"], one["subject"]
                texts = [form.format(s, other["answer"], one["subject"]) for s in stated]
                rows.append((*texts, one["answer"], other["answer"], kind))
    table = pd.DataFrame(rows, columns=["text", "corrupted", "answer", "wrong", "relation"])
    table = table.sample(frac=1, random_state=SEED, ignore_index=True)
    return table.assign(half=np.where(table.index % 2, "second", "first"))


if __name__ == "__main__":
    net, rng, every = nissl.load("smollm2"), np.random.default_rng(SEED), nissl.read("relations")
    every = every[every["relation"].isin(FORMS)]
    facts = every.groupby("relation").sample(FACTS, random_state=SEED)
    text, subject, kind = (facts[name].to_numpy() for name in ("text", "subject", "relation"))
    wrong = ~PromptScorer(net, list(text), list(facts["answer"])).answers(progress=False)[1]
    before = [t.rpartition(s)[0].rstrip() or " " for t, s in zip(text, subject, strict=True)]
    begins = [len(ids) for ids in token_ids(net, before)]
    score = pathway(net, [ids.tolist() for ids in token_ids(net, list(text))], begins)
    rho, p = tested(score, wrong, kind, DRAWS)
    planted = tested(rng.standard_normal(len(wrong)) - 4 * wrong, wrong, kind, DRAWS)
    task = make_task(net, misleading(every, rng), name="misleading", n=PAIRS, progress=False)
    found = commitment_layer(task, progress=False)

    figure, axes = panels(2)
    table = pd.DataFrame({"relation": kind, "answer": np.where(wrong, "wrong", "right")})
    table = table.assign(score=score).pivot_table(index="relation", columns="answer")["score"]
    bar(table, axes=axes[0]).set(ylabel="probability moved by attention to the subject")
    share = {name: [(found[name] <= i).mean() for i in range(net.n_layers)] for name in found}
    curve(share, axes=axes[1]).set(xlabel="block", ylabel="share of wrong answers")
    save_figure(figure, "out/circuits/commitment_layer.png")
    layers = {name: float(found[name].median()) for name in found}
    nissl.claim(
        "commitment_layer",
        system=27,
        says="The weaker the contextual pathway, the more often the answer is wrong.",
        measured={"rho": rho, "p": p, "share_wrong": float(wrong.mean()), **layers},
        null={"rho": 0.0},
        rule="rho < -0.3 and p < 0.01",
        power={"rho": planted[0], "p": planted[1]},
        data=f"smollm2; {len(facts)} facts of {len(FORMS)} relations; commitment, carried, lens: "
        f"medians over {len(task)} pairs that first state a fact, in blocks of {net.n_layers}",
    )
