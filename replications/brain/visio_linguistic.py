"""Visio-linguistic encoding (system 100): pictures and text beside either alone.

EfficientNet sees photographs of CIFAR-10; MiniLM reads captions that are made of a photograph's
label, light and tint. Responses are PLANTED: regions of voxels follow the picture, the caption,
both, or neither. How much variance, of captions left out, do both spaces explain, each beyond the
other? A network that was trained on both together, as the paper's best, is not among them.
"""

import numpy as np
import pandas as pd

import nissl
from nissl.brain import encode
from nissl.cache import cache_dir
from nissl.recording import aggregate, open_store, save
from nissl.statistics.figure import bar, save_figure

SEED, N, VOXELS, PARTS, NOISE = 0, 400, 15, 10, 1.0


def captions(photos):
    """Return a caption of each photograph, of its label and its pixels."""
    colour = photos.values[:N].reshape(N, -1, 3).mean(1)
    light = np.where(colour.mean(1) > np.median(colour.mean(1)), "bright", "dark")
    tint = np.array(["red", "green", "blue"])[(colour / colour.mean(0)).argmax(1)]
    names = np.asarray(photos.classes)[photos.labels[:N]]
    return [f"a {a} photo of a {b}, {c}" for a, b, c in zip(light, names, tint, strict=True)]


def pictures(photos):
    """Return channels of a late stage on each photograph, kept in the cache."""
    store = cache_dir("activity") / f"efficientnet-lite0-blocks.15-{N}-photographs"
    if not store.exists():
        net = nissl.load("efficientnet-lite0", progress=False)
        rec = nissl.record(net, photos.values[:N], sites="blocks.15", progress=False)
        save(aggregate(rec, by="stimulus"), store)
    return open_store(store).load().values


def components(x):
    """Return scores of the first principal components, of variance one."""
    return np.linalg.svd(x - x.mean(0), full_matrices=False)[0][:, :PARTS] * np.sqrt(len(x))


def explained(features, y):
    """Return the share of each voxel's variance that is explained in captions left out."""
    predicted = encode(features, y, folds=fold, test=None, progress=False).predictions
    return 1 - ((y - predicted) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)


rng = np.random.default_rng(SEED)
photos = nissl.read("cifar10")
distinct, which = np.unique(captions(photos), return_inverse=True)
fold = which % 5  # photographs of one caption are left out together
net = nissl.load("minilm", progress=False)
read = nissl.record(net, list(distinct), sites="blocks.5.resid_post", progress=False)
text = aggregate(read, by="document").values[which]
spaces = {"image": components(pictures(photos)), "text": components(text)}

drawn = {name: x @ rng.standard_normal((PARTS, 2 * VOXELS)) for name, x in spaces.items()}
drawn = {name: x / x.std(0) for name, x in drawn.items()}
regions = {name: x[:, :VOXELS] for name, x in drawn.items()}
regions["both"] = (drawn["image"] + drawn["text"])[:, VOXELS:]
regions["both"] = regions["both"] / regions["both"].std(0)
regions["neither"] = np.zeros((N, VOXELS))
y = np.hstack([*regions.values()]) + NOISE * rng.standard_normal((N, 4 * VOXELS))
r2 = {"both": explained(spaces, y)} | {name: explained(x, y) for name, x in spaces.items()}
of = pd.DataFrame({k: v.reshape(4, VOXELS).mean(1) for k, v in r2.items()}, index=list(regions))
parts = pd.DataFrame(
    {
        "image": of["both"] - of["text"],
        "shared": of["image"] + of["text"] - of["both"],
        "text": of["both"] - of["image"],
    }
)
gain = of["both"] - of[["image", "text"]].max(axis=1)
save_figure(bar(parts).figure, "out/brain/visio_linguistic.png")
print(parts.round(3).to_string())
nissl.claim(
    "visio_linguistic",
    system=100,
    says="Features of pictures and text together predict responses better than either alone.",
    measured={"gain": gain["both"]} | {k: list(v) for k, v in parts.items()},
    null={"gain": gain.drop("both").max()},
    rule="gain > 0.05 and gain > null.gain + 0.05",
    data=f"PLANTED responses of {VOXELS} voxels a region to {N} photographs of CIFAR-10, half the "
    "variance noise: of both spaces (measured); of one or of neither, the largest (null); gain: R2 "
    "in captions left out, of both less the better one; lists: regions image, text, both, neither",
)
