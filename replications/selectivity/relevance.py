"""Relevance neurons (system 146): which neurons of a cross-encoder know the passage that answers.

A ranker is trained here on MiniLM: it reads the name of a function and the beginning of a
documentation together, and says whether they belong to each other. Neurons are scored by their
conductance on functions of packages that were not trained on, and pruned while it ranks functions
of another package, beside random neurons of the same layers that write as much.
"""

import ast
import re
from importlib.resources import files

import pandas as pd
import torch
from torch import nn

import nissl
from nissl import behaviour
from nissl.selectivity import relevance
from nissl.statistics import Test
from nissl.statistics.figure import save_figure
from nissl.training import Batches, train

SEED, WINDOW, STEPS = 0, 32, 400
TRAINED = ("scipy", "sklearn", "pandas", "matplotlib")  # packages: the ranker's
FOUND, TESTED = ("numpy", "xarray"), ("networkx",)
FINDING, QUERIES, CANDIDATES = 100, 50, 4  # queries to find neurons, and to test them
SHARE, DRAWS, PARTS = 0.05, 19, 4  # of all neurons; groups of matched ones; parts of the path
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
SKIPPED = {"tests", "testing", "_vendor", "externals", "conftest.py"}


class Ranker(nn.Module):
    """Reads query and passage together, and compares what became of the two."""

    base_model_prefix = "bert"

    def __init__(self, bert):
        super().__init__()
        self.bert, self.config = bert.requires_grad_(False), bert.config
        self.bert.encoder.layer[3:].requires_grad_(True)
        self.head = nn.Linear(2 * bert.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, input_ids, attention_mask, token_type_ids):
        """Return one number a pair."""
        hidden = self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state.float()
        masks = (attention_mask * (token_type_ids == part) for part in (0, 1))
        sums = ((hidden * mask.unsqueeze(-1)).sum(1) for mask in masks)
        query, passage = (nn.functional.normalize(one, dim=-1) for one in sums)
        both = torch.cat([query * passage, (query - passage).abs()], -1)
        return 20 * (query * passage).sum(-1) + self.head(both)[:, 0]


def ranking_loss(model, batch):
    """Return the cross entropy of the right passage, the first of a query's candidates."""
    scores = model(*(tensor.flatten(0, 1) for tensor in batch)).view(batch[0].shape[:2])
    return nn.functional.cross_entropy(scores, scores.new_zeros(len(scores), dtype=torch.long))


def functions(packages):
    """Return names of public functions and classes, in words, and what they begin to say."""
    rows = []
    paths = [path for package in packages for path in sorted(files(package).rglob("*.py"))]
    for path in (path for path in paths if not SKIPPED & set(path.parts)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
                said = (ast.get_docstring(node) or "").split("\n\n")[0]
                name = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", node.name).lower()
                rows.append((name, " ".join(said.split())))
    table = pd.DataFrame(rows, columns=["query", "passage"])
    words, said = (table[name].str.split().str.len() for name in table)
    good = said.between(5, 60) & words.between(2, 12) & table["query"].str.fullmatch("[a-z ]+")
    table = table[good].drop_duplicates("query").drop_duplicates("passage")
    return table.reset_index(drop=True)


base = nissl.load("minilm")
taught = behaviour.candidates(functions(TRAINED), n=4, seed=SEED)
texts = {"text": list(taught["query"]), "text_pair": list(taught["passage"])}
options = {"padding": "max_length", "max_length": WINDOW, "truncation": "only_second"}
tokens = base.tokenizer(**texts, **options, return_tensors="pt")
batches = Batches(*(tokens[name].view(-1, 4, WINDOW) for name in INPUTS), batch_size=8, seed=SEED)
how = {"learning_rate": 1e-4, "weight_decay": 0.01, "schedule": "linear", "warmup": 50}
# Some five minutes the first time. The head stays as it is: scores must not tie.
model = train(Ranker(base.model), batches, loss=ranking_loss, steps=STEPS, **how).model
model.requires_grad_(False).bert.to(torch.bfloat16)
net = nissl.load(model, tokenizer=base.tokenizer)

pairs = behaviour.candidates(functions(FOUND), n=2, n_queries=FINDING, seed=SEED)
tested = behaviour.candidates(functions(TESTED), n=CANDIDATES, n_queries=QUERIES, seed=SEED)
tested = tested.assign(of="another package")
made = behaviour.pair_conductance(net, pairs, window=WINDOW, steps=PARTS)
found = relevance(made["conductance"], test=Test(seed=SEED))
units = behaviour.output_magnitude(net, made["size"])
most = found.top(round(SHARE * len(units)), by="relevance")
measure = behaviour.RankingMeasure(window=WINDOW, batch_size=120)
how = {"test": Test(n_permutations=DRAWS, correction=None, seed=SEED), "measure": measure}
what = {"on": tested, "labels": "of", "units": units}
hurt = behaviour.ablation_effect(net, {"another package": most}, **what, **how).table.iloc[0]
save_figure(found.plot().figure, "out/selectivity/relevance.png")

clean = behaviour.reciprocal_ranks(tested, behaviour.pair_scores(net, tested, window=WINDOW))
nissl.claim(
    "relevance",
    system=146,
    says="A few relevance neurons carry a cross-encoder's ranking: pruning those of largest "
    "conductance hurts it more than pruning others.",
    measured={"held_out": hurt["damage"], "held_out_p": hurt["p"], "mrr_held_out": clean.mean()}
    | {"n_pruned": len(most), "n_significant": len(found.significant())},
    null={"held_out": hurt["null_mean"]},
    rule="held_out > null.held_out and held_out_p <= 0.05",
    data=f"MiniLM trained here as a ranker of {', '.join(TRAINED)}; neurons from "
    f"{FINDING} queries of {', '.join(FOUND)}; {QUERIES} queries of {', '.join(TESTED)}"
    f"; figures are falls of the mean reciprocal rank of {CANDIDATES} candidates, without "
    f"{SHARE:.0%} of neurons; the null is neurons of the same layers that write as much",
)
