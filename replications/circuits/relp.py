"""RelP (system 32): relevance patching against exact patching, beside attribution patching.

The paper puts activity of one prompt into another, position by position, at the outputs of MLPs
and attention and in the residual stream, and correlates what approximations say with what it does:
relevance coefficients in place of gradients raise the correlation, at MLPs and in the stream most.
Here SmolLM2 names indirect objects, recalls facts, makes verbs agree and continues with a greater
digit; all positions from the first that differs on. Methods trade places within pairs for the null.
"""

from functools import partial

import numpy as np
import pandas as pd

import nissl
from nissl.behaviour import agreement, fact_recall, greater_than, indirect_object
from nissl.circuits import pair_effects, relp
from nissl.statistics.figure import bar, save_figure

SEED, DRAWS, EVERY = 0, 499, 2
TASKS = {
    "indirect objects": indirect_object,
    "facts": fact_recall,
    "agreement": agreement,
    "greater than": greater_than,
}
KINDS = {"mlp.out": "MLP", "attn.out": "attention", "resid_post": "residual"}
METHODS = {
    "exact": "exact",
    "attribution": "attribution",
    "relp": "relp",
    "held": partial(relp, hold_patterns=True),
}
# Correlations of GPT-2 small in the paper.
PAPER = {
    "attribution": {"MLP": 0.195, "attention": 0.979, "residual": 0.753},
    "relp": {"MLP": 0.992, "attention": 0.962, "residual": 0.968},
}


def effects_of(net, task):
    """Return a row for each pair, node and position, with a column for each method."""
    pairs = TASKS[task](net, n=8, progress=False).halves[0].behaviour()
    sites = [f"blocks.{i}.{site}" for site in KINDS for i in range(1, net.n_layers, EVERY)]
    columns = {}
    for name, method in METHODS.items():
        each, rows = pair_effects(pairs, over=sites, method=method, progress=False)
        index = pd.MultiIndex.from_frame(rows[["unit", "position"]])
        columns[name] = pd.DataFrame(each.T, index=index).stack()
    table = pd.DataFrame(columns).dropna().rename_axis(["unit", "position", "pair"]).reset_index()
    kind = table["unit"].str.replace(r"blocks\.\d+\.", "", regex=True).map(KINDS)
    return table.assign(task=task, kind=kind)


def correlations(table, how="pearson"):
    """Return the correlation of each method with exact patching by kind, a mean over tasks."""
    groups = table.groupby(["kind", "task"])[list(METHODS)]
    every = groups.apply(lambda x: x.corr(how)["exact"])
    return every.groupby("kind").mean().loc[list(KINDS.values())]


def gain(table):
    """By how much RelP is closer to exact patching, at MLPs and in the stream."""
    found = correlations(table).loc[["MLP", "residual"]]
    return float((found["relp"] - found["attribution"]).mean())


def exchanged(table, rng):
    """Let the two methods trade places within random pairs."""
    swap = rng.random(len(numbers)) < 0.5
    swap, new = swap[table["number"]], table.copy()
    new.loc[swap, ["attribution", "relp"]] = table.loc[swap, ["relp", "attribution"]].to_numpy()
    return new


def drawn(table, rng):
    """Draw the pairs of each task again."""
    chosen = numbers.groupby("task")["number"].sample(frac=1, replace=True, random_state=rng)
    return pd.concat([by_pair[number] for number in chosen])


def planted(table, rng):
    """Correlate with exact patching as the paper's methods do."""
    groups = table.groupby(["kind", "task"])["exact"]
    exact = groups.transform(lambda x: (x - x.mean()) / x.std())
    noise = rng.standard_normal(len(table))
    r = {name: table["kind"].map(each) for name, each in PAPER.items()}
    return table.assign(**{m: r[m] * exact + (1 - r[m] ** 2) ** 0.5 * noise for m in PAPER})


net, rng = nissl.load("smollm2"), np.random.default_rng(SEED)
table = pd.concat([effects_of(net, task) for task in TASKS], ignore_index=True)
table["number"] = table.groupby(["task", "pair"]).ngroup()
numbers = table[["task", "number"]].drop_duplicates()
by_pair = dict(list(table.groupby("number")))
nothing = np.quantile([gain(exchanged(table, rng)) for _ in range(DRAWS)], 0.95)
interval = np.quantile([gain(drawn(table, rng)) for _ in range(DRAWS)], [0.025, 0.975])
shown = {how: correlations(table, how) for how in ("pearson", "spearman")}
axes = bar(
    pd.concat([x.drop(columns="exact").add_suffix(f", {h}") for h, x in shown.items()], axis=1)
)
axes.set(ylabel="correlation with exact patching")
save_figure(axes.figure, "out/circuits/relp.png")
measured = {"gain": gain(table), "interval": [float(end) for end in interval]}
for how, found in shown.items():
    measured |= {f"{how}_{m}": [float(x) for x in found[m]] for m in METHODS if m != "exact"}
nissl.claim(
    "relp",
    system=32,
    says="Relevance patching approximates activation patching better than attribution patching, at "
    "the outputs of MLPs and in the residual stream above all.",
    measured=measured,
    null={"gain": float(nothing)},
    rule="gain > null.gain and gain > 0.05",
    power={"gain": gain(planted(table, rng))},
    data=f"smollm2, {len(TASKS)} tasks of four pairs, every second block, positions from the first "
    "that differs on; gain is in Pearson's correlation at MLPs and in the stream, its null the 95% "
    "point where methods trade places within pairs, its interval over pairs; lists: MLP, "
    "attention, residual",
)
