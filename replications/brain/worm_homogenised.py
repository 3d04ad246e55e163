"""Homogenised worm data (system 232): connectomes and signal propagation in one order of neurons.

Two packages hold connectomes of different animals and annotators; a third study holds how signals
propagate. Read into one order of neurons, a connectome should be like another (more than one of the
same degrees, or the same one under other names), and should predict which neuron answers when
another is stimulated: better than where the names of the stimulated neurons are shuffled, which
leaves every neuron as many synapses and as strong answers as it has.
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

import nissl
from nissl.statistics.figure import bar, heatmap, panels, save_figure

SEED, DRAWS, REWIRED, PLANTED = 0, 999, 20, 0.1
ADULTS = ["white-1986", "varshney-2011", "cook-2019", "witvliet-2021-7", "witvliet-2021-8"]
A, B = "cook-2019", "witvliet-2021-8"  # of cect and of wormneuroatlas: other animals and readers


def alike(a, b):
    """Return the correlation of logarithms of counts over pairs of neurons that both have."""
    both = np.isfinite(a) & np.isfinite(b) & ~np.eye(len(a), dtype=bool)
    return np.corrcoef(np.log1p(a[both]), np.log1p(b[both]))[0, 1]


def rewired(counts, rng):
    """Return a connectome in which every neuron has as many edges in and out, with their counts."""
    source, target = np.nonzero(np.nan_to_num(counts))
    there = set(zip(source, target, strict=True))
    for i, j in rng.integers(len(source), size=(10 * len(source), 2)):
        new = [(source[i], target[j]), (source[j], target[i])]
        if there & {*new} or any(a == b for a, b in new):  # nothing twice, nothing to itself
            continue
        there -= {(source[i], target[i]), (source[j], target[j])}
        there |= set(new)
        target[[i, j]] = target[[j, i]]
    made = np.where(np.isnan(counts), np.nan, 0)
    made[source, target] = counts[np.nonzero(np.nan_to_num(counts))]
    return made


def predicted(wiring, answer, draws=DRAWS):
    """Return the rank correlation of wiring and answers, and with stimulated names shuffled."""
    measured = np.isfinite(answer) & np.isfinite(wiring)
    stimulated = np.flatnonzero(measured.any(axis=1))
    ranks = rankdata(wiring, nan_policy="omit").reshape(wiring.shape)
    rng, found = np.random.default_rng(SEED), []
    for draw in range(draws + 1):
        moved = ranks.copy()
        if draw:
            moved[stimulated] = ranks[rng.permutation(stimulated)]
        pairs = measured & np.isfinite(moved)
        found.append(np.corrcoef(moved[pairs], rankdata(answer[pairs]))[0, 1])
    return found[0], np.array(found[1:])


data = nissl.read("worm-connectomes", progress=False)
off = ~np.eye(data.sizes["source"], dtype=bool)
answer = np.abs(data["propagation"].sel(strain="wt").values)
wiring = np.log1p(data["chemical"]) + np.log1p(data["gap"])
joined = wiring.sel(dataset=ADULTS).mean("dataset").values  # of the datasets that have the neuron
joined[~off] = np.nan
real, shuffled = predicted(joined, answer)
by_dataset = {
    name: predicted(np.where(off, wiring.sel(dataset=name).values, np.nan), answer, 0)[0]
    for name in data["dataset"].values
}
rng = np.random.default_rng(SEED)
nothing = answer[np.ix_(*[rng.permutation(len(answer))] * 2)]
both = np.isfinite(nothing) & np.isfinite(joined)
score = np.full(answer.shape, np.nan)
score[both] = rankdata(nothing[both]) / both.sum() - 0.5
drive = (joined - joined[both].mean()) / joined[both].std()
planted, apart = predicted(joined, score + PLANTED * np.nanstd(score) * drive)

chemical = {name: data["chemical"].sel(dataset=name).values for name in data["dataset"].values}
agreement = [[alike(a, b) for b in chemical.values()] for a in chemical.values()]
there = np.flatnonzero(np.isfinite(chemical[B]).any(axis=1))
inner = chemical[B][np.ix_(there, there)]
mixed = [rng.permutation(len(there)) for _ in range(DRAWS)]
renamed = [alike(chemical[A][np.ix_(there, there)], inner[np.ix_(m, m)]) for m in mixed]
same_degrees = [alike(chemical[A], rewired(chemical[B], rng)) for _ in range(REWIRED)]

figure, (left, right) = panels(2)
table = pd.DataFrame(agreement, list(chemical), list(chemical))
heatmap(table, label="correlation of chemical synapses", axes=left)
bar(by_dataset, axes=right).set(ylabel="rank correlation with propagation")
save_figure(figure, "out/brain/worm_homogenised.png")

nissl.claim(
    "worm_homogenised",
    system=232,
    says="In one order of neurons, connectomes of several sources and the atlas of signal "
    "propagation can be compared: structure predicts function.",
    measured={
        "prediction": real,
        "p": (1 + (shuffled >= real).sum()) / (1 + DRAWS),
        "least_of_13_datasets": min(by_dataset.values()),
        "agreement": alike(chemical[A], chemical[B]),
    },
    null={
        "prediction": shuffled.mean(),
        "agreement": max(renamed),
        "agreement_same_degrees": max(same_degrees),
    },
    power={
        "prediction": planted,
        "p": (1 + (apart >= planted).sum()) / (1 + DRAWS),
        "null.prediction": apart.mean(),
    },
    rule="prediction > null.prediction + 0.05 and p < 0.01",
    data=f"worm-connectomes; wild type, {int((np.isfinite(answer) & np.isfinite(joined)).sum())} "
    f"pairs; wiring: log chemical + log gap, mean over {', '.join(ADULTS)}. prediction: rank "
    "correlation with |dF/F|; null: names of stimulated neurons shuffled. agreement: chemical "
    f"synapses of {A} and {B}; null: the largest of {DRAWS} with shuffled names, of {REWIRED} "
    f"rewired at the same degrees. Planted: answers of other neurons and {PLANTED} sd of wiring. "
    "The packages hold no traces of whole worms: activity at one rate is tested on planted ones",
)
