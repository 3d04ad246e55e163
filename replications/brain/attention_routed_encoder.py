"""Transformer brain encoders (system 43): units that read an object wherever it is. Planted units.

EfficientNet sees canvases of nine photographs of CIFAR-10, of which one each is of four categories.
A planted unit is a sum of channels of a late layer at the photograph that is most like its category
by these channels: routed. Others read a place that stays: fixed. Which readout of the maps predicts
them on canvases left out? (Where the place was that of the label, all readouts were below 0.12.)
"""

import numpy as np
import torch
from torch.nn import functional

import nissl
from nissl.brain import encode
from nissl.cache import cache_dir
from nissl.statistics.figure import bar, save_figure

SEED, N, UNITS, SITE, SIZE, PARTS, NOISE = 0, 800, 12, "blocks.10", 192, 10, 0.7
CATEGORIES = ("horse", "ship", "frog", "automobile")
READOUTS = ("linear", "factorised", "attention")


def canvases(rng):
    """Return canvases of 3 x 3 photographs, and the place of each category in them."""
    photos = nissl.read("cifar10")
    labels = np.asarray(photos.classes)[photos.labels]
    of = {name: np.flatnonzero(labels == name) for name in CATEGORIES}
    rest = np.flatnonzero(~np.isin(labels, CATEGORIES))
    chosen = np.empty((N, 9), np.int64)
    places = np.stack([rng.permutation(9) for _ in range(N)])
    for i, place in enumerate(places):
        drawn = [rng.choice(of[name]) for name in CATEGORIES]
        chosen[i, place] = [*drawn, *rng.choice(rest, 5, replace=False)]
    tiles = photos.values[chosen].reshape(N, 3, 3, 32, 32, 3)
    return tiles.transpose(0, 1, 3, 2, 4, 5).reshape(N, 96, 96, 3), places[:, : len(CATEGORIES)]


def maps_of(images):
    """Return maps of the network, shape (N, 36, n_channels), of squares of 32 pixels."""
    net = nissl.load("efficientnet-lite0", progress=False)
    x = functional.interpolate(torch.from_numpy(images).permute(0, 3, 1, 2).float(), SIZE)
    x = (x - 120) / 58
    store = cache_dir("activity", f"{SITE}-canvases-{N}")
    rec = nissl.record(net, x, sites=SITE, store=store, progress=False)
    maps = rec.values.reshape(N, 6, 2, 6, 2, -1).mean((2, 4))
    return maps.reshape(N, 36, -1)


def planted(maps, places, rng):
    """Return responses of routed units, then of fixed ones."""
    x = maps.reshape(N, 3, 2, 3, 2, -1).mean((2, 4)).reshape(N, 9, -1)
    x = (x - x.mean((0, 1))) / x.std((0, 1))
    x = x @ np.linalg.svd(x.reshape(9 * N, -1), full_matrices=False)[2][:PARTS].T
    x /= x.std((0, 1))  # principal components of what a photograph does to the channels
    like = [x[range(N), at].mean(0) - x.mean((0, 1)) for at in places.T]
    where = [(x @ like[u % len(like)]).argmax(1) for u in range(UNITS)]
    where += [np.full(N, rng.integers(9)) for _ in range(UNITS)]
    y = np.stack([x[range(N), at] @ rng.standard_normal(PARTS) for at in where], axis=1)
    return y / y.std(0) + NOISE * rng.standard_normal(y.shape)


rng = np.random.default_rng(SEED)
images, places = canvases(rng)
maps = maps_of(images)
y = planted(maps, places, rng)
r = {
    name: encode(maps, y, readout=name, folds=2, test=None, progress=False)
    .table["correlation"]
    .to_numpy()
    for name in READOUTS
}
routed, fixed = (
    {k: v[part].mean() for k, v in r.items()} for part in np.split(np.arange(2 * UNITS), 2)
)
gains = [x["attention"] - max(x["linear"], x["factorised"]) for x in (routed, fixed)]

kinds = {"routed": routed, "fixed": fixed}
figures = {f"{k} {kind}": v for kind, x in kinds.items() for k, v in x.items()}
save_figure(bar(figures).figure, "out/brain/attention_routed_encoder.png")

nissl.claim(
    "attention_routed_encoder",
    system=43,
    says="Attention-routed readouts predict units that read an object wherever it is better than "
    "linear and factorised readouts do.",
    measured={"gain": gains[0], **routed},
    null={"gain": gains[1], **fixed},
    rule="gain > 0.05 and gain > null.gain + 0.05",
    data=f"PLANTED responses of {UNITS} units to {N} canvases of nine photographs (CIFAR-10), from "
    f"{SITE} of efficientnet-lite0, at the photograph most like a category (measured) or at a "
    "place that stays (null); correlations on canvases left out; gain: over the best other readout",
)
