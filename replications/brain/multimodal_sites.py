"""Multimodal integration (system 123): sites that a network of both predicts beyond their sum.

A small network is trained to say whether a caption is of a photograph, from features of
EfficientNet and of MiniLM. Sites are PLANTED: of pictures, of captions, of their sum, of the
trained network's hidden units (integration), or noise. At which sites does the network predict
better than pictures, captions, and both side by side, and do networks with fresh weights, too?
"""

import numpy as np
import pandas as pd
import torch
from torch import nn

import nissl
from nissl.brain import encode
from nissl.cache import cache_dir
from nissl.recording import aggregate, open_store, save
from nissl.statistics import ReinitialisedNetwork
from nissl.statistics.figure import bar, save_figure

SEED, N, SITES, PARTS, HIDDEN, STEPS, NOISE, DRAWS = 0, 400, 15, 10, 64, 1500, 0.7, 3


def pictures(photos):
    """Return channels of a late stage on each photograph, kept in the cache."""
    store = cache_dir("activity") / f"efficientnet-lite0-blocks.15-{N}-photographs"
    if not store.exists():
        net = nissl.load("efficientnet-lite0", progress=False)
        rec = nissl.record(net, photos.values[:N], sites="blocks.15", progress=False)
        save(aggregate(rec, by="stimulus"), store)
    return open_store(store).load().values


def components(x):
    """Return scores of principal components, of variance one."""
    return np.linalg.svd(x - x.mean(0), full_matrices=False)[0][:, :PARTS] * np.sqrt(len(x))


def explained(features, y):
    """Return the share of each site's variance that is explained in pairs left out."""
    predicted = encode(features, y, test=None, progress=False).predictions
    return 1 - ((y - predicted) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)


rng = np.random.default_rng(SEED)
torch.manual_seed(SEED)
photos = nissl.read("cifar10")
net, texts = nissl.load("minilm", progress=False), [f"a photo of a {k}" for k in photos.classes]
read = nissl.record(net, texts, sites="blocks.5.resid_post", progress=False)
words = aggregate(read, by="document").values[photos.labels[:N]]
image, text = components(pictures(photos)), components(words)[:, :9]  # of ten captions

first, second = nn.Linear(PARTS + 9, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
both = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(HIDDEN, 1))
adam = torch.optim.Adam(both.parameters(), 3e-3, weight_decay=1e-4)
for step in range(STEPS + 1):  # the last pairs are those that are shown
    own = rng.random(N) < 0.5
    other = np.where(own, np.arange(N), rng.permutation(N))
    x, same = np.hstack([image, text[other]]), photos.labels[:N] == photos.labels[other]
    said, same = both(torch.tensor(x).float())[:, 0], torch.tensor(same).float()
    if step < STEPS:
        adam.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(said, same).backward()
        adam.step()
networks = (both, *ReinitialisedNetwork().draw(both, DRAWS, seed=SEED))
hidden = [net[:4](torch.tensor(x).float()).detach().numpy() for net in networks]
spaces = {"image": x[:, :PARTS], "text": x[:, PARTS:]}
planted = {**spaces, "sum": x, "integration": components(hidden[0])}
y = [z @ rng.standard_normal((z.shape[1], SITES)) for z in planted.values()]
y = np.hstack([*(z / z.std(0) for z in y), np.zeros((N, SITES))])
y += NOISE * rng.standard_normal(y.shape)
best = np.max([explained(z, y) for z in (*spaces.values(), spaces)], axis=0)
gains = [explained(z, y) - best for z in hidden]
of = {"trained": gains[0], "fresh": np.max(gains[1:], axis=0)}
of = {name: z.reshape(-1, SITES).mean(1) for name, z in of.items()}
of = pd.DataFrame(of, [*planted, "noise"])
print(of.round(3).to_string())
save_figure(bar(of).figure, "out/brain/multimodal_sites.png")
rest = of.drop("integration").max()
nissl.claim(
    "multimodal_sites",
    system=123,
    says="A network of pictures and text predicts some sites beyond either and their linear sum.",
    measured={"gain": of["trained"]["integration"], "gain_elsewhere": rest["trained"]},
    null={"gain": of["fresh"]["integration"], "gain_elsewhere": rest["fresh"]},
    rule="gain > 0.05 and gain > null.gain + 0.05 and gain > gain_elsewhere + 0.05",
    data=f"PLANTED responses, {SITES} sites a kind, to {N} pairs of a photograph and a caption, a "
    "third noise, of the network's own hidden units (gain) or without it (elsewhere): R2 in pairs "
    f"left out, less the best of pictures, captions, both; null: best of {DRAWS} fresh networks",
)
