"""RelP on Gemma (system 32): approximations of exact patching on a second network.

On SmolLM2 (`relp.py`) relevance patching is closer to exact patching than attribution patching is,
but ranks nodes worse. The same of Gemma 3 (270M), which takes norms of queries and keys, and of
what blocks add: it names indirect objects, recalls facts, makes verbs agree and continues with a
greater digit; all positions from the first that differs on. Methods trade places within pairs for
the null.
"""

import numpy as np
import pandas as pd

import nissl
from nissl.behaviour import agreement, fact_recall, greater_than, indirect_object
from nissl.circuits import pair_effects
from nissl.statistics.figure import bar, panels, save_figure

SEED, DRAWS, EVERY = 0, 199, 4
TASKS = {
    "indirect objects": indirect_object,
    "facts": fact_recall,
    "agreement": agreement,
    "greater than": greater_than,
}
KINDS = ["mlp.out", "resid_post", "attn.out"]
MAIN = KINDS[:2]  # where the paper has the largest gain
METHODS = ["exact", "attribution", "relp"]
# Correlations of GPT-2 small in the paper, at MLPs and in the stream.
PAPER = {"attribution": (0.195, 0.753), "relp": (0.992, 0.968)}


def effects_of(net, task):
    """Return a row for each pair, node and position, with a column for each method."""
    pairs = TASKS[task](net, n=8, progress=False).halves[0].behaviour()
    sites = [f"blocks.{i}.{site}" for site in KINDS for i in range(1, net.n_layers, EVERY)]
    columns = {}
    for method in METHODS:
        each, rows = pair_effects(pairs, over=sites, method=method, progress=False)
        index = pd.MultiIndex.from_frame(rows[["unit", "position"]])
        columns[method] = pd.DataFrame(each.T, index=index).stack()
    table = pd.DataFrame(columns).dropna().rename_axis(["unit", "position", "pair"]).reset_index()
    kind = table["unit"].str.extract(r"blocks\.\d+\.([a-z_.]+)")[0]
    return table.assign(task=task, kind=kind)


def correlations(table, how="pearson"):
    """Return the correlation of each method with exact patching by kind, a mean over tasks."""
    every = table.groupby(["kind", "task"])[METHODS].apply(lambda x: x.corr(how)["exact"])
    return every.groupby("kind").mean().reindex(KINDS).dropna().drop(columns="exact")


def gain(table, how="pearson"):
    """By how much RelP is closer to exact patching than attribution, a mean over kinds."""
    found = correlations(table, how)
    return float((found["relp"] - found["attribution"]).mean())


def exchanged(table, rng):
    """Let the two methods trade places within random pairs."""
    swap, new = (rng.random(len(numbers)) < 0.5)[table["number"]], table.copy()
    new.loc[swap, ["attribution", "relp"]] = table.loc[swap, ["relp", "attribution"]].to_numpy()
    return new


def interval(table, how="pearson"):
    """Return the interval of the gain, the pairs of each task drawn again."""
    by_pair, drawn = dict(list(table.groupby("number"))), []
    for _ in range(DRAWS):
        some = numbers.groupby("task")["number"].sample(frac=1, replace=True, random_state=rng)
        drawn.append(gain(pd.concat([by_pair[number] for number in some]), how))
    return [float(end) for end in np.quantile(drawn, [0.025, 0.975])]


def planted(table):
    """Correlate with exact patching as the paper's methods do."""
    groups = table.groupby(["kind", "task"])["exact"]
    exact = groups.transform(lambda x: (x - x.mean()) / x.std())
    noise = rng.standard_normal(len(table))
    r = {m: table["kind"].map(dict(zip(MAIN, each, strict=True))) for m, each in PAPER.items()}
    return table.assign(**{m: r[m] * exact + (1 - r[m] ** 2) ** 0.5 * noise for m in PAPER})


net, rng = nissl.load("gemma3-270m", progress=False), np.random.default_rng(SEED)
table = pd.concat([effects_of(net, task) for task in TASKS], ignore_index=True)
table["number"] = table.groupby(["task", "pair"]).ngroup()
numbers = table[["task", "number"]].drop_duplicates()
main = table[table["kind"].isin(MAIN)]
nothing = np.quantile([gain(exchanged(main, rng)) for _ in range(DRAWS)], 0.95)
measured = {"gain": gain(main), "interval": interval(main)}
measured |= {"gain_by_task": [gain(main[main["task"] == task]) for task in TASKS]}
measured |= {"rank_gain": gain(main, "spearman"), "rank_interval": interval(main, "spearman")}
figure, axes = panels(2)
for how, place in zip(("pearson", "spearman"), axes, strict=True):
    found = correlations(table, how)
    bar(found, axes=place).set(ylabel=f"{how} correlation with exact patching")
    measured |= {f"{how}_{m}": found[m].tolist() for m in found}
save_figure(figure, "out/circuits/relp_gemma.png")
nissl.claim(
    "relp_gemma",
    system=32,
    says="In a second network too, relevance patching approximates activation patching better than "
    "attribution patching, at the outputs of MLPs and in the residual stream.",
    measured=measured,
    null={"gain": float(nothing)},
    rule="gain > null.gain and gain > 0.05",
    power={"gain": gain(planted(main))},
    data=f"gemma3-270m, {', '.join(TASKS)}: four pairs each, every fourth block; gain is in "
    "Pearson's correlation at MLPs and in the stream, its null the 95% point where methods trade "
    f"places within pairs, intervals over pairs; lists: {', '.join(KINDS)}",
)
