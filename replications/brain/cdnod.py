"""CD-NOD (system 30): causal graphs from data whose mechanisms change, against PC.

Random graphs are planted; level, weights and noise of two units differ between twenty domains.
CD-NOD is given the domain, PC is not. Scores are F1 of edges, directed edges, units that change. In
resting BOLD: which regions are driven otherwise in other subjects; null: subjects' labels permuted.
"""

import numpy as np
import pandas as pd
from causallearn.search.ConstraintBased.PC import pc
from scipy.stats import wilcoxon

import nissl
from nissl.brain import cdnod
from nissl.statistics.figure import curve, save_figure

SEED, GRAPHS, UNITS, CHANGING, DOMAINS, SIZES, MAIN = 0, 20, 5, 2, 20, (400, 800, 1600), 800
REGIONS = ("Precentral", "Postcentral", "Frontal_Mid_2", "Calcarine", "Hippocampus", "Thalamus")
ORDER, DRAWS = 2, 39


def planted(seed, n):
    """Return activity, the domain of each sample, true edges and units that change."""
    rng, domain = np.random.default_rng([SEED, seed]), np.arange(n) * DOMAINS // n
    edges, order = np.zeros((UNITS, UNITS), bool), rng.permutation(UNITS)
    while not 3 <= edges.sum() <= 6:
        edges = np.triu(rng.random((UNITS, UNITS)) < 0.5, 1)
    edges = edges[np.argsort(order)][:, np.argsort(order)]
    weight = np.where(edges, rng.choice([-1, 1], edges.shape) * rng.uniform(0.5, 1, edges.shape), 0)
    changing = rng.choice(UNITS, CHANGING, replace=False)
    x = np.zeros((n, UNITS))
    for u in order:
        w, level, spread = np.tile(weight[:, u], (DOMAINS, 1)), np.zeros(DOMAINS), np.ones(DOMAINS)
        if u in changing:
            w = w * rng.uniform(0, 2, w.shape)
            level, spread = rng.normal(0, 1, DOMAINS), rng.uniform(0.5, 2, DOMAINS)
        x[:, u] = (x * w[domain]).sum(axis=1) + level[domain]
        x[:, u] += spread[domain] * rng.standard_normal(n)
    return x, domain, set(zip(*map(np.ndarray.tolist, np.nonzero(edges)), strict=True)), changing


def f1(found, truth):
    """Return the harmonic mean of precision and recall."""
    found, truth = set(found), set(truth)
    return 2 * len(found & truth) / max(len(found) + len(truth), 1)


def scores(every, directed, truth):
    """Return F1 of edges and of directed edges."""
    return f1(map(frozenset, every), map(frozenset, truth)), f1(directed, truth)


def with_index(x, domain, truth, changing):
    """Return the scores of CD-NOD, and of units that change."""
    found = cdnod(x, over=domain, seed=SEED)
    at = list(found.units["unit"]).index
    every = [(at(a), at(b)) for a, b in found.edges[["source", "target"]].to_numpy()]
    directed = [e for e, how in zip(every, found.edges["oriented"], strict=True) if how]
    return *scores(every, directed, truth), f1(np.flatnonzero(found.units["changes"]), changing)


def without_index(x, truth):
    """Return the scores of PC."""
    graph = pc(x, 0.05, "fisherz", show_progress=False).G.graph
    every = np.argwhere(np.triu(graph != 0)).tolist()
    return scores(every, map(tuple, np.argwhere((graph == -1) & (graph.T == 1)).tolist()), truth)


def innovations(x):
    """Return what the past of each unit does not predict of it."""
    for u in range(x.shape[1]):
        past = np.stack([x[ORDER - k : len(x) - k, u] for k in range(ORDER + 1)], axis=1)
        past = past - past.mean(axis=0)
        x[ORDER:, u] = past[:, 0] - past[:, 1:] @ np.linalg.lstsq(past[:, 1:], past[:, 0])[0]
    return x[ORDER:]


rows = []
for n in SIZES:
    for seed in range(GRAPHS):
        x, domain, truth, changing = planted(seed, n)
        rows.append((n, *with_index(x, domain, truth, changing), *without_index(x, truth)))
names = ["edges", "directions", "changing", "edges by PC", "directions by PC"]
table = pd.DataFrame(rows, columns=["samples", *names])
main = table[table["samples"] == MAIN]

bold = nissl.read("hcp")
bold = bold[:, np.isin(bold["region"].values, [f"{name}_L" for name in REGIONS])]
label, rng = bold["subject"].values, np.random.default_rng(SEED)
parts = [innovations(bold.values[label == s].astype(float)) for s in np.unique(label)]
x, subject = np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(p) for p in parts])
real = cdnod(x, over=subject, seed=SEED)
none = [cdnod(x, over=rng.permutation(subject)).units["changes"].mean() for _ in range(DRAWS)]

axes = curve(table.groupby("samples").mean()).set(ylabel="F1")
save_figure(axes[0].figure, "out/brain/cdnod.png")

nissl.claim(
    "cdnod",
    system=30,
    says="With the domain among the variables, the skeleton, directions and changing mechanisms of "
    "a planted system are recovered.",
    measured={
        "directions": main["directions"].mean(),
        "p": wilcoxon(main["directions"], main["directions by PC"], alternative="greater").pvalue,
        "edges": main["edges"].mean(),
        "changing": main["changing"].mean(),
        "regions_that_change_over_subjects": real.units["changes"].mean(),
    },
    null={
        "directions": main["directions by PC"].mean(),
        "edges": main["edges by PC"].mean(),
        "regions_that_change_over_subjects": np.mean(none),
    },
    rule="directions >= 0.75 and directions > null.directions + 0.2 and p < 0.01",
    data=f"planted: {GRAPHS} random graphs of {UNITS} units, {CHANGING} of which change over "
    f"{DOMAINS} domains, {MAIN} samples; F1, null: PC without the domain. hcp: {len(REGIONS)} "
    f"regions of the left hemisphere, what {ORDER} samples of each one's past do not predict, "
    f"{len(parts)} subjects as domains; null: subjects' labels permuted",
)
