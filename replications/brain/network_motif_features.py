"""Network motif features (system 13): 3-cycle maps under a mask of regions tell groups apart.

There are no recordings of ADHD here. Windows of a minute of seven subjects at rest are the samples;
in half of each subject's, drawn at random, twelve regions that go together are planted a shared
drive, which raises their correlations, their degrees and their 3-cycles. Which group a window is of
is read from the graph of its correlations by PCA-LDA, subjects left out in turn: from 3-cycle maps
under a mask of regions chosen on training subjects, from the other features, and without the mask.
Where nothing is planted there is nothing to be read. Planted in the graphs themselves, at the same
degrees (cliques against bipartite blocks), a difference is of 3-cycles alone: that has to be found.
Nothing planted (``whose_``): which subject a window is of, quarters of runs left out in turn.
"""

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d

import nissl
from nissl.brain import connectivity, decode, network_features
from nissl.recording import clean
from nissl.statistics import masked_lda
from nissl.statistics.figure import bar, heatmap, panels, save_figure

SEEDS, STRENGTHS, REGIONS, MASK, FLIPPED = range(5), (0.2, 0.4, 0.6), 12, 20, 0.1
WINDOW, TR, SLOW = 60.0, 0.72, 3.0  # seconds; the drive is smoothed over volumes, as BOLD is
QUIET = {"test": None, "progress": False}
FEATURES = ("cycles", "degree", "strength", "clustering")


def graphs_of(rec):
    """Return the correlations of each window of each subject."""
    return connectivity(rec, by="subject", window=WINDOW, step=WINDOW, **QUIET)


def accuracy(graphs, labels, folds, feature, mask=MASK):
    """Return how often labels are read rightly from one feature."""
    found = network_features(graphs, features=[feature])
    return decode(found, labels, folds=folds, model=masked_lda(mask), **QUIET).score


def every(graphs, labels, folds):
    """Return accuracies of 3-cycle maps without a mask, and of all features with one."""
    found = {name: accuracy(graphs, labels, folds, name) for name in FEATURES}
    return found | {"unmasked": accuracy(graphs, labels, folds, "cycles", None)}


def groups_of(windows, rng):
    """Return a group for each window: half of each subject's are in the second."""
    group = windows.groupby("subject").cumcount() % 2
    return group.groupby(windows["subject"]).transform(rng.permutation).to_numpy()


def with_drive(rec, windows, group, regions, strength, rng):
    """Return the recording with a drive shared by some regions in windows of the second group."""
    size = round(WINDOW / TR)
    values = rec.values.copy()
    for subject in np.unique(rec["subject"]):
        rows = np.flatnonzero(rec["subject"].values == subject)
        there = np.repeat(group[windows["subject"] == subject], size)
        drive = gaussian_filter1d(rng.standard_normal(len(there)), SLOW)
        drive *= strength * there / drive.std()
        values[np.ix_(rows[: len(there)], regions)] += drive[:, None]
    return rec.copy(data=values)


def with_cycles(weights, group, regions, rng):
    """Return graphs in which regions have three edges each: in cliques in the second group only."""
    made = weights.copy()
    for w, second in zip(made, group ^ (rng.random(len(group)) < FLIPPED), strict=True):
        order = rng.permutation(REGIONS)
        joined = order[:, None] // 4 == order // 4
        if not second:  # blocks of six, of which the even are joined to the odd: no triangle
            joined = (order[:, None] // 6 == order // 6) & (order[:, None] % 2 != order % 2)
        w[np.ix_(regions, regions)] = np.where(joined, 2.0, -1.0)
    return made


rec = clean(nissl.read("hcp", progress=False), standardise=True, by="subject")
plain = graphs_of(rec)
windows = plain.matrices
subject = windows["subject"].to_numpy()
quarter = (windows.groupby("subject").cumcount() * 4 // 14).to_numpy()
rows = {"planted": [], "none": [], "cycles only": []}
for seed in SEEDS:
    rng = np.random.default_rng(seed)
    regions = np.argsort(-plain.mean[rng.integers(len(plain.units))])[:REGIONS]
    group = groups_of(windows, rng)
    rows["none"].append(every(plain, group, subject))
    only = with_cycles(plain.values, group, regions, rng)
    rows["cycles only"].append(every(only, group, subject))
    for strength in STRENGTHS:
        made = graphs_of(with_drive(rec, windows, group, regions, strength, rng))
        rows["planted"].append({"drive": strength} | every(made, group, subject))
means = {name: pd.DataFrame(found).mean() for name, found in rows.items()}
table = pd.DataFrame(means).drop(index="drive")
whose = every(plain, subject, quarter)

figure, (left, right) = panels(2)
bar(table["planted"], axes=left).set(ylabel="accuracy", title="planted drive; chance 0.5")
by_strength = pd.DataFrame(rows["planted"]).groupby("drive").mean().T
heatmap(by_strength, label="accuracy", numbers=True, axes=right).set(xlabel="drive, sd")
save_figure(figure, "out/brain/network_motif_features.png")

figures = {
    name: {"accuracy": column["cycles"], "unmasked": column["unmasked"], "degree": column["degree"]}
    for name, column in table.items()
}
nissl.claim(
    "network_motif_features",
    system=13,
    says="Maps of 3-cycles under a mask of regions tell groups apart better than degrees do, and "
    "better than without the mask.",
    measured=figures["planted"] | {f"whose_{name}": found for name, found in whose.items()},
    null={"accuracy": figures["none"]["accuracy"]},
    power=figures["cycles only"],
    rule="accuracy > null.accuracy + 0.1 and accuracy > degree + 0.02 "
    "and accuracy > unmasked + 0.02",
    data=f"hcp: {len(windows)} windows of {WINDOW:.0f} s, 7 subjects, 94 regions; PLANTED: a drive "
    f"in {REGIONS} regions, strengths {STRENGTHS} sd, {len(SEEDS)} sets of regions and windows; "
    f"mask of {MASK}. Power: 3-cycles at the same degrees, {FLIPPED} of groups flipped (paper 0.7)",
)
