"""Relevance neurons (system 146): which neurons of a cross-encoder know the passage that answers.

A ranker is trained here on MiniLM: it reads the name of a function and the beginning of a
documentation together, and says whether they belong to each other. Neurons are scored by their
conductance on functions of packages that were not trained on, and pruned while it ranks functions
of another package, and answers of dialogues, of which it never saw anything.

For power, as many neurons as are pruned are drawn at random, in all layers. In a second network
each of them is told the ranker's score, by a fraction of its own activity, and what they hold
together is read as the score, beside half as much that has nothing to do with relevance: they are
found and pruned by the same code.
"""

import ast
import copy
import importlib.util
import re
import sys
from collections import deque
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import PercentFormatter
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import nn

import nissl
from nissl.behaviour import (
    RankingMeasure,
    ablation_effect,
    output_magnitude,
    pair_conductance,
    pair_scores,
    reciprocal_ranks,
)
from nissl.selectivity import relevance
from nissl.statistics import MatchedUnits, Test
from nissl.training import Batches, train

SEED, WINDOW, STEPS = 0, 32, 400
TRAINED = ("scipy", "sklearn", "pandas", "matplotlib")  # packages: the ranker's
FOUND, TESTED = ("numpy", "xarray"), ("networkx",)
FINDING, QUERIES, CANDIDATES = 100, 50, 4  # queries to find neurons, and of each collection
SHARE = 0.05  # of all neurons, for the test
SHARES = (SHARE, 0.2)  # for the picture
DRAWS, PARTS = 19, 4
TOLD = 0.5  # of its mean absolute activity: what a planted neuron is told of a usual score
COLLECTIONS = ("held out", "unseen")
CHANCE = float(np.mean(1 / np.arange(1, CANDIDATES + 1)))


class Ranker(nn.Module):
    """Reads query and passage together, and compares what became of the two."""

    base_model_prefix = "bert"

    def __init__(self, bert):
        super().__init__()
        self.bert, self.config = bert, bert.config
        self.head = nn.Linear(2 * bert.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        for name, parameter in bert.named_parameters():
            parameter.requires_grad = name.startswith(
                ("encoder.layer.3", "encoder.layer.4", "encoder.layer.5")
            )

    def forward(self, input_ids, attention_mask, token_type_ids):
        """Return one number a pair."""
        hidden = self.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state.float()
        return self.compare(hidden, attention_mask, token_type_ids)

    def compare(self, hidden, attention_mask, token_type_ids):
        """Return one number a pair, from what its tokens became."""
        parts = []
        for part in (0, 1):
            mask = (attention_mask * (token_type_ids == part)).unsqueeze(-1)
            parts.append(nn.functional.normalize((hidden * mask).sum(1), dim=-1))
        query, passage = parts
        both = torch.cat([query * passage, (query - passage).abs()], -1)
        return 20 * (query * passage).sum(-1) + self.head(both)[:, 0]


class Planted(Ranker):
    """The ranker's layers, of which a few neurons alone are told its score and are read."""

    def __init__(self, ranker, units, scores):
        super().__init__(copy.deepcopy(ranker.bert))
        self.guide = [ranker]  # in a list, so that it is no part of this network
        self.usual, self.spread = float(scores.mean()), float(scores.std())
        self.known = {}  # scores of batches, which ablations do not change
        self.odd = 100 * torch.rand(WINDOW, generator=torch.Generator().manual_seed(SEED))
        self.bert.register_forward_pre_hook(self.begin, with_kwargs=True)
        self.bert.encoder.register_forward_pre_hook(self.ask, with_kwargs=True)
        for layer, few in units.groupby("layer"):
            index = torch.tensor(few["index"].to_numpy())
            size = torch.tensor(few["size"].to_numpy(), dtype=torch.float32)
            write = self.bert.encoder.layer[layer].output.dense
            write.register_forward_pre_hook(partial(self.tell, index, size))
            write.register_forward_hook(partial(self.hear, index, size))

    def begin(self, module, args, kwargs):
        """Note what is read."""
        self.pair = kwargs["attention_mask"], kwargs["token_type_ids"]
        self.ids, self.heard = kwargs["input_ids"], []

    def ask(self, module, args, kwargs):
        """Let the ranker score the pair, from its embeddings on, as they are at the moment."""
        (ranker,), key = self.guide, self.ids.numpy().tobytes()
        ranking = torch.is_inference_mode_enabled()  # with the embeddings of the text itself
        if ranking and key in self.known:
            self.told = self.known[key]
            return
        states = ranker.bert.encoder(*args, **kwargs).last_hidden_state.float()
        self.told = (ranker.compare(states, *self.pair) - self.usual) / self.spread
        if ranking:
            self.known[key] = self.told

    def tell(self, index, size, module, args):
        """Add the score to what the planted neurons of a layer hold at every token."""
        told = (TOLD * self.told[:, None, None] * size).to(args[0])
        return (args[0].index_add(-1, index, told.expand(*args[0].shape[:2], -1)),)

    def hear(self, index, size, module, args, output):
        """Note what they hold once it was edited, in parts of their mean absolute activity."""
        self.heard.append(args[0][..., index].float() / size)

    def forward(self, input_ids, attention_mask, token_type_ids):
        """Return the mean of what the planted neurons hold, and half as much that is arbitrary.

        Without the latter the few that are not found would rank as well as all of them.
        """
        self.bert(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        held = torch.cat(self.heard, dim=-1).mean(dim=-1)
        held = (held * attention_mask).sum(1) / attention_mask.sum(1)
        words = (input_ids * attention_mask).float() @ self.odd[: input_ids.shape[1]]
        return held + TOLD / 2 * torch.sin(words)


def ranking_loss(model, batch):
    """Cross entropy of the right passage, which comes first, among a query's candidates."""
    ids, mask, types = (tensor.flatten(0, 1) for tensor in batch)
    scores = model(ids, mask, types).view(batch[0].shape[:2])
    return nn.functional.cross_entropy(scores, scores.new_zeros(len(scores), dtype=torch.long))


def functions(packages):
    """Names of public functions and classes, in words, and the beginning of what they say."""
    rows = []
    for package in packages:
        root = Path(importlib.util.find_spec(package).origin).parent
        for path in sorted(root.rglob("*.py")):
            if {"tests", "testing", "_vendor", "externals", "conftest.py"} & set(path.parts):
                continue
            for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
                    said = (ast.get_docstring(node) or "").split("\n\n")[0]
                    name = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", node.name).lower()
                    rows.append((name, " ".join(said.split())))
    return _usable(rows, least=5, names=True)


def statements(tree):
    """The statements of a file as `ast.walk` has them, without what is inside expressions."""
    todo = deque([tree])
    while todo:
        node = todo.popleft()
        for name in ("cases", "body", "handlers", "orelse", "finalbody"):
            todo.extend(getattr(node, name, ()))
        yield node


def answers():
    """First and second turns of English dialogues."""
    table = nissl.read("dialogues")
    turns = [t.split("\n")[:2] for t in table.loc[table["language"] == "english", "text"]]
    return _usable([turn for turn in turns if len(turn) == 2], least=3, names=False)


def _usable(rows, *, least, names):
    table = pd.DataFrame(rows, columns=["query", "passage"])
    words = table["query"].str.split()
    good = table["passage"].str.split().str.len().between(least, 60) & (words.str.len() >= 2)
    if names:
        good &= table["query"].str.fullmatch("[a-z ]+")
    good &= words.str.len() <= 12
    table = table[good].drop_duplicates("query").drop_duplicates("passage")
    return table.reset_index(drop=True)


def candidates(table, *, n, queries=None):
    """Give each query its passage and others: half the most alike in words, half at random."""
    rng = np.random.default_rng(SEED)
    tfidf = TfidfVectorizer(sublinear_tf=True).fit(table["passage"])
    passages, rows = tfidf.transform(table["passage"]), []
    chosen = np.arange(len(table)) if queries is None else rng.permutation(len(table))[:queries]
    likeness = (tfidf.transform(table["query"].iloc[chosen]) @ passages.T).tocsr()
    for number, row in enumerate(chosen):
        alike = likeness[number].toarray()[0]
        alike[row] = -1
        near = np.argsort(-alike, kind="stable")[: n // 2]
        far = rng.permutation(len(table))
        far = far[~np.isin(far, [row, *near])][: n - 1 - len(near)]
        rows += [(table["query"][row], table["passage"][i], i == row) for i in (row, *near, *far)]
    return pd.DataFrame(rows, columns=["query", "passage", "relevant"])


def trained_here(bert, tokenizer):
    """The ranker; some five minutes the first time."""
    pairs = candidates(functions(TRAINED), n=4)
    made = tokenizer(
        list(pairs["query"]),
        list(pairs["passage"]),
        padding="max_length",
        max_length=WINDOW,
        truncation="only_second",
        return_tensors="pt",
    )
    tensors = [
        made[name].view(-1, 4, WINDOW) for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    return train(
        Ranker(bert),
        Batches(*tensors, batch_size=8, seed=SEED),
        loss=ranking_loss,
        steps=STEPS,
        learning_rate=1e-4,
        weight_decay=0.01,
        schedule="linear",
        warmup=50,
        seed=SEED,
        key="upper three layers",
    )


def mrr(net, units):
    """Mean reciprocal rank in each collection without some units."""
    with net.edit(*([nissl.ablate(list(units))] if len(units) else [])):
        scores = pair_scores(net, tested, window=WINDOW, batch_size=120, progress=False)
    ranks = reciprocal_ranks(tested, scores)
    kind = tested.groupby("query", sort=False)["collection"].first()
    return {name: float(ranks[(kind == name).to_numpy()].mean()) for name in COLLECTIONS}


def relevances(net):
    """All units with their weight, mean absolute activity and relevance; and the finding."""
    made = pair_conductance(net, pairs, window=WINDOW, steps=PARTS, progress=False)
    found = relevance(made["conductance"], test=Test(seed=SEED), progress=False)
    units = output_magnitude(net, made["size"])
    score = found.table.set_index("unit").loc[units["unit"], "relevance"].to_numpy()
    return units.assign(size=made["size"].values.mean(axis=0), relevance=score), found


def first(units, score, share=SHARE):
    """The addresses of the share of units with the highest scores."""
    order = np.argsort(-np.asarray(score), kind="stable")
    return list(units["unit"].iloc[order[: round(share * len(units))]])


def damages(net, units):
    """Fall of the mean reciprocal rank without the most relevant units, and without others."""
    found = ablation_effect(
        net,
        {"held out": first(units, units["relevance"])},
        on=tested,
        labels="collection",
        units=units,
        test=Test(n_permutations=DRAWS, correction=None, seed=SEED),
        progress=False,
        measure=RankingMeasure(window=WINDOW, batch_size=120),
    )
    table = found.table.set_index("label")
    measured, null = {}, {}
    for name in COLLECTIONS:
        key = name.replace(" ", "_")
        measured |= {key: table.loc[name, "damage"], f"{key}_p": table.loc[name, "p"]}
        null[key] = table.loc[name, "null_mean"]
    return measured, null


def planted(net, units):
    """The same with the ranking in as many units drawn at random."""
    rng = np.random.default_rng(SEED)
    chosen = units.iloc[rng.choice(len(units), round(SHARE * len(units)), replace=False)]
    scores = pair_scores(net, pairs, window=WINDOW, progress=False)
    model = Planted(net.model, chosen, scores).requires_grad_(False)
    other = nissl.load(model, tokenizer=tokenizer)
    again, _ = relevances(other)
    measured, null = damages(other, again)
    clean = mrr(other, [])
    measured |= {f"mrr_{name.replace(' ', '_')}": clean[name] for name in COLLECTIONS}
    hit = np.isin(chosen["unit"], first(again, again["relevance"])).mean()
    return {**measured, **{f"null.{name}": x for name, x in null.items()}, "of_planted": hit}


base = nissl.load("minilm")
tokenizer = base.tokenizer
done = trained_here(base.model, tokenizer)
print(
    done, f"from {done.losses[:20].mean():.3f} to {done.losses[-50:].mean():.3f}", file=sys.stderr
)
done.model.bert.to(torch.bfloat16)  # the head stays: scores must not tie
net = nissl.load(done.model.requires_grad_(False), tokenizer=tokenizer)
tested = pd.concat(
    [
        candidates(table, n=CANDIDATES, queries=QUERIES).assign(collection=name)
        for name, table in zip(COLLECTIONS, (functions(TESTED), answers()), strict=True)
    ],
    ignore_index=True,
)
pairs = candidates(functions(FOUND), n=2, queries=FINDING)
units, found = relevances(net)
scores = {
    "most relevant": units["relevance"],
    "largest": units["weight"],
    "least relevant": -units["relevance"].abs(),
}
measured, null = damages(net, units)
clean = mrr(net, [])
drawn = {}
for share in SHARES[1:]:
    (rows,) = MatchedUnits().draw(units, first(units, units["relevance"], share), 1, seed=SEED)
    drawn[share] = mrr(net, units["unit"].iloc[rows])
curves = {}
for kind, score in scores.items():
    curves[kind] = [clean, *(mrr(net, first(units, score, share)) for share in SHARES)]
curves["random, matched to the most relevant"] = [
    clean,
    {name: clean[name] - null[name.replace(" ", "_")] for name in COLLECTIONS},
    *drawn.values(),
]

figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
colours = dict(zip(curves, ("#c8553d", "#2f5d8a", "#8ab17d", "#777777"), strict=True))
for axis, collection, title in zip(
    axes[:2],
    COLLECTIONS,
    ("Functions of another package", "Answers in dialogues, never seen"),
    strict=True,
):
    for name, curve in curves.items():
        axis.plot(
            [0, *SHARES],
            [point[collection] for point in curve],
            "o-",
            ms=4,
            color=colours[name],
            label=name,
        )
    axis.axhline(CHANCE, color="black", lw=0.8, ls=":")
    axis.text(SHARES[-1], CHANCE, "chance", ha="right", va="bottom", fontsize=8)
    axis.set(xlabel="share of neurons pruned", ylim=(0, 1), title=title)
    axis.set_xticks([0, *SHARES])
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
axes[0].set_ylabel(f"mean reciprocal rank of {CANDIDATES} candidates")
axes[0].legend(frameon=False, fontsize=8, loc="lower left")
n_pruned, by_layer = round(SHARE * len(units)), []
for kind in ("most relevant", "largest"):
    layers = units.loc[units["unit"].isin(first(units, scores[kind])), "layer"]
    by_layer.append(np.bincount(layers, minlength=net.n_layers))
place = np.arange(net.n_layers)
for shift, kind, counts in zip((-0.2, 0.2), ("most relevant", "largest"), by_layer, strict=True):
    axes[2].bar(place + shift, counts / n_pruned, 0.38, color=colours[kind], label=kind)
axes[2].set(xlabel="layer", ylabel="share of the group", title=f"Where {SHARE:.0%} of neurons lie")
axes[2].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
axes[2].legend(frameon=False, fontsize=8)
for axis in axes:
    axis.spines[["top", "right"]].set_visible(False)
path = Path("out/selectivity/relevance.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=130)

at = 1 + SHARES.index(SHARE)
for name in ("largest", "least relevant"):
    for collection in COLLECTIONS:
        key = f"{name.split()[0]}_{collection.replace(' ', '_')}"
        measured[key] = clean[collection] - curves[name][at][collection]
measured |= {
    "mrr_held_out": clean["held out"],
    "mrr_unseen": clean["unseen"],
    "mrr_chance": CHANCE,
    "n_pruned": n_pruned,
    "n_significant": len(found.significant().table),
    "above_zero": float((units["relevance"] > 0).mean()),
}
nissl.claim(
    "relevance",
    system=146,
    says="A few relevance neurons carry a cross-encoder's ranking: pruning those of largest "
    "conductance hurts it more than pruning others.",
    measured=measured,
    null=null,
    rule="held_out > null.held_out and held_out_p <= 0.05",
    power=planted(net, units),
    data=f"MiniLM trained here as a ranker of {', '.join(TRAINED)}; neurons from "
    f"{FINDING} queries of {', '.join(FOUND)}; {QUERIES} queries each of "
    f"{', '.join(TESTED)} and of English dialogues"
    f"; figures are falls of the mean reciprocal rank of {CANDIDATES} candidates, without "
    f"{SHARE:.0%} of neurons; the null is neurons of the same layers that write as much",
)
