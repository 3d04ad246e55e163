"""Topological RSA (system 347): layers named across seeds, under noise and by few units.

Convolutional networks learn Fashion-MNIST from several seeds. The layers of one take the place of
brain areas, seen through a sample of units and noise; those of the next are the candidates. How
often does topological RSA name the layer, beside RSA, and beside RSA of a mere graph of neighbours?
The null: the stimuli of the target in another order. For power, layers of the very same network.
"""

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

import nissl
from nissl.alignment import Limits, TopologicalRSA, identify
from nissl.statistics.figure import curve, save_figure
from nissl.training import Batches, train

SEED, N_NETS, DEPTH, WIDTH, STEPS, BATCH = 0, 6, 8, 24, 500, 64
LIMITS = Limits(n_stimuli=(60,), n_units=(25, 100), noise=(0.0, 1.0, 4.0), n_draws=6)
GRAPH = TopologicalRSA(lower=0.3, upper=0.3)


def network(seed):
    """Make a convolutional network; a layer's activity is that after its ReLU."""
    torch.manual_seed(seed)
    layers, n_in = [], 1
    for i in range(DEPTH):
        conv = nn.Conv2d(n_in, WIDTH, 3, stride=1 + (i in (1, 4)), padding=1)
        layers.append(nn.Sequential(conv, nn.BatchNorm2d(WIDTH), nn.ReLU()))
        n_in = WIDTH
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10))


def loss(model, batch):
    """Return the cross-entropy of labels."""
    return functional.cross_entropy(model(batch[0]), batch[1])


def accuracy(candidates, targets, measures):
    """Return how often each measure is right, in each setting."""
    options = {"measures": measures, "limits": LIMITS, "seed": SEED, "progress": False}
    return identify(candidates, targets, **options).accuracy


clothes = nissl.read("fashion-mnist")
pixels = torch.from_numpy(clothes.values[:, None]).float() / 128 - 1
shown, labels = pixels[clothes.test][:150], clothes.labels
layers, right = [], []
for seed in range(N_NETS):
    batches = Batches(pixels[~clothes.test], labels[~clothes.test], batch_size=BATCH, seed=seed)
    model = train(network(seed), batches, loss=loss, steps=STEPS, schedule="linear").model.eval()
    net = nissl.load(model)
    found = net.run(shown, sites=[str(i) for i in range(DEPTH)])
    layers.append({name: x.detach().flatten(1).numpy() for name, x in found.items()})
    with torch.no_grad():
        guesses = model(pixels[clothes.test][:2000]).argmax(1).numpy()
    right.append((guesses == labels[clothes.test][:2000]).mean())

rng, found, shuffled, planted = np.random.default_rng(SEED), [], [], []
for i, candidates in enumerate(layers):
    targets = layers[(i + 1) % N_NETS]
    found.append(accuracy(candidates, targets, ["rsa", "topological_rsa"]))
    found.append(accuracy(candidates, targets, [GRAPH]).assign(measure="graph"))
    planted.append(accuracy(candidates, candidates, ["rsa", "topological_rsa"]))
    moved = {name: rng.permutation(x) for name, x in targets.items()}
    shuffled.append(accuracy(candidates, moved, ["topological_rsa"]))
table = pd.concat(found)
mean, by_chance = (
    table.groupby("measure")["accuracy"].mean(),
    pd.concat(shuffled)["accuracy"].mean(),
)
same = pd.concat(planted).groupby("measure")["accuracy"].mean()
few = table[table["n_units"] == 25].groupby(["noise", "measure"])["accuracy"].mean().unstack()

axes = curve(few)
axes.set(ylabel="share of layers named rightly")
save_figure(axes.figure, "out/alignment/topological_rsa.png")

nissl.claim(
    "topological_rsa",
    system=347,
    says="Dissimilarities cut off at both ends tell layers apart across seeds, under noise, as "
    "well as dissimilarities do.",
    measured={
        "accuracy": mean["topological_rsa"],
        "accuracy_rsa": mean["rsa"],
        "accuracy_graph": mean["graph"],
        "under_noise": few["topological_rsa"].tolist(),
        "under_noise_rsa": few["rsa"].tolist(),
        "labels_right": np.mean(right),
    },
    null={"accuracy": by_chance},
    rule="accuracy > null.accuracy + 0.3 and accuracy >= accuracy_rsa - 0.02",
    power={"accuracy": same["topological_rsa"], "accuracy_rsa": same["rsa"]},
    data=f"Fashion-MNIST: {N_NETS} networks of {DEPTH} layers trained from other seeds, each held "
    f"against the next; 60 pictures, 25 or 100 units, noise of 0, 1 and 4 times a unit's variance; "
    "thresholds at quantiles 0.2 and 0.8 of ranks; graph: the nearest 30% of pairs",
)
