"""Task-specific encoding (system 107): instructions' embeddings, region by region.

SmolLM2 reads captions of photographs of CIFAR-10 (label, light, colours above and below), each
followed by the beginning of an answer: to what is seen, to its colours, to where it is. It was not
trained on instructions, nor sees pictures. Regions are PLANTED: voxels follow a task's last token,
or noise. How much of the variance does a task's embedding explain beyond those of other tasks?
"""

import numpy as np
import pandas as pd

import nissl
from nissl.brain import encode
from nissl.cache import cache_dir
from nissl.recording import open_store, save, select
from nissl.statistics.figure import heatmap, save_figure

SEED, N, VOXELS, PARTS, NOISE = 0, 200, 15, 15, 0.7
TASKS = {"thing": "This is used for", "colour": "The main colour is", "place": "It was taken in"}
BLOCKS = (3, 15, 26)
SITES = [f"blocks.{i}.resid_post" for i in BLOCKS]


def captions():
    """Return a caption of each photograph, of its label and its pixels."""
    photos = nissl.read("cifar10")
    halves = photos.values[:N].reshape(N, 2, -1, 3).mean(2)
    light = np.where(halves.mean((1, 2)) > np.median(halves), "bright", "dark")
    tint = np.array(["red", "green", "blue"])[(halves / halves.mean(0)).argmax(-1)]
    names = np.asarray(photos.classes)[photos.labels[:N]]
    rows = zip(light, names, *tint.T, strict=True)
    return [f"A {a} photo of a {b}, {c} above, {d} below." for a, b, c, d in rows]


def last_tokens(texts, name):
    """Return what the last token of each text does in each block, kept in the cache."""
    store = cache_dir("activity") / f"smollm2-{name}-{N}-captions"
    if not store.exists():
        net = nissl.load("smollm2", progress=False)
        rec = nissl.record(net, texts, sites=SITES, progress=False)
        save(select(rec, samples=np.diff(rec["document"].values, append=-1) != 0), store)
    return dict(zip(BLOCKS, np.split(open_store(store).load().values, 3, axis=1), strict=True))


def components(x):
    """Return scores of the first principal components, of variance one."""
    return np.linalg.svd(x - x.mean(0), full_matrices=False)[0][:, :PARTS] * np.sqrt(N)


def explained(features, y):
    """Return the share of variance, by region, that is explained in captions left out."""
    predicted = encode(features, y, folds=which % 5, test=None, progress=False).predictions
    r2 = 1 - ((y - predicted) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
    return r2.reshape(-1, VOXELS).mean(1)


def responses(spaces):
    """Return voxels that follow each space, and as many that follow none, one after the other."""
    y = [x @ rng.standard_normal((PARTS, VOXELS)) for x in spaces.values()]
    y = np.hstack([*(z / z.std(0) for z in y), np.zeros((N, VOXELS))])
    return y + NOISE * rng.standard_normal(y.shape)


rng = np.random.default_rng(SEED)
distinct, which = np.unique(captions(), return_inverse=True)
found = {k: last_tokens([f"{c} {says}" for c in distinct], k) for k, says in TASKS.items()}
tasks = {k: components(x[15][which]) for k, x in found.items()}
blocks = {str(i): components(x[which]) for i, x in found["thing"].items()}
y = responses(tasks)
full = explained(tasks, y)
others = {k: {j: x for j, x in tasks.items() if j != k} for k in tasks}
beyond = pd.DataFrame({k: full - explained(x, y) for k, x in others.items()}, [*tasks, "noise"])
y = responses(blocks)
layers = pd.DataFrame({k: explained(x, y) for k, x in blocks.items()})
save_figure(heatmap(beyond.round(2), numbers=True).figure, "out/brain/task_specific.png")
print(beyond.round(3).to_string(), layers.round(3).to_string(), sep="\n")
named = (layers.to_numpy()[:-1].argmax(1) == range(len(BLOCKS))).sum()
own = np.eye(len(beyond), len(tasks), dtype=bool)
nissl.claim(
    "task_specific",
    system=107,
    says="Embeddings under an instruction explain regions that embeddings under others do not.",
    measured={"beyond": beyond.to_numpy()[own].min(), "blocks_named": int(named)},
    null={"beyond": beyond.to_numpy()[~own].max()},
    rule="beyond > 0.05 and beyond > null.beyond + 0.05",
    data=f"PLANTED responses, {VOXELS} voxels a region, to captions of {N} photographs, a third "
    "noise; beyond: R2 in captions left out of all tasks, less that without one: the least of "
    "regions that follow it, the largest of others (null); "
    "blocks_named: of three regions, whose block predicts best",
)
