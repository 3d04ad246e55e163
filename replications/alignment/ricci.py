"""Ricci geometry (system 219): layers named across seeds by curvature and by communities.

Convolutional networks learn Fashion-MNIST from several seeds. Layers are graphs of neighbouring
pictures; that of one network is held against all layers of another, by the curvature of pictures
and by the communities that Ricci flow cuts the graph into, beside RSA. The null: names of layers
permuted. For power, the same network again, under little noise.
"""

from itertools import permutations

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

import nissl
from nissl.alignment import Limits, RicciCommunities, RicciCurvature, identify
from nissl.statistics.figure import heatmap, panels, save_figure
from nissl.training import Batches, train

SEED, N_NETS, DEPTH, WIDTH, STEPS, BATCH, N_SHOWN = 0, 6, 8, 24, 500, 64, 60
MEASURES = [RicciCurvature(n_neighbours=4), RicciCommunities(n_neighbours=4, n_steps=5), "rsa"]


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


def named(pairs, noise=0.0):
    """Return the layers that each measure names for each layer of each pair of networks."""
    found, limits = [], Limits(noise=(noise,), n_draws=1)
    for i, j in pairs:
        one = identify(layers[i], layers[j], measures=MEASURES, limits=limits, progress=False)
        found.append(one.table.assign(pair=f"{i} {j}"))
    return pd.concat(found)


def figures(table):
    """Return how often each measure is right, p of curvature, and the null."""
    right = (table["named"] == table["target"]).groupby(table["measure"]).mean()
    some = table[table["measure"] == "ricci_curvature"]
    guess, truth = (some[name].to_numpy().reshape(-1, DEPTH) for name in ("named", "target"))
    null = np.array([(rng.permuted(guess, axis=1) == truth).mean() for _ in range(9999)])
    made = {
        "accuracy": right["ricci_curvature"],
        "accuracy_communities": right["ricci_communities"],
        "accuracy_rsa": right["rsa"],
        "p": (1 + (null >= right["ricci_curvature"] - 1e-9).sum()) / 10_000,
    }
    return made, {"accuracy": null.mean()}


rng, clothes = np.random.default_rng(SEED), nissl.read("fashion-mnist")
pixels = torch.from_numpy(clothes.values[:, None]).float() / 128 - 1
shown, labels, layers = pixels[clothes.test][:N_SHOWN], clothes.labels, []
for seed in range(N_NETS):
    batches = Batches(pixels[~clothes.test], labels[~clothes.test], batch_size=BATCH, seed=seed)
    model = train(network(seed), batches, loss=loss, steps=STEPS, schedule="linear").model.eval()
    found = nissl.load(model).run(shown, sites=[str(i) for i in range(DEPTH)])
    layers.append({name: x.detach().flatten(1).numpy() for name, x in found.items()})

table = named(permutations(range(N_NETS), 2))
measured, null = figures(table)
power, _ = figures(named([(i, i) for i in range(N_NETS)], noise=0.1))

figure, axes = panels(2)
for ax, name in zip(axes, ("ricci_curvature", "rsa"), strict=True):
    some = table[table["measure"] == name]
    values = some.groupby("target")[[str(i) for i in range(DEPTH)]].mean()
    heatmap(values, axes=ax).set(title=name, xlabel="layer of another network", ylabel="layer")
save_figure(figure, "out/alignment/ricci.png")

nissl.claim(
    "ricci",
    system=219,
    says="The curvature of representations' graphs shows what is alike between networks, and what "
    "is not.",
    measured=measured,
    null=null,
    rule="accuracy > null.accuracy + 0.1 and p < 0.01",
    power=power,
    data=f"Fashion-MNIST: all pairs of {N_NETS} networks of {DEPTH} layers trained from other "
    f"seeds, {N_SHOWN} pictures, 4 neighbours; accuracy: how often a layer's curvatures are most "
    "like those of the same layer; not faces and human judgements, as in the paper",
)
