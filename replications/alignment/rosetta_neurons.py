"""Rosetta neurons (system 220): units that answer to the same places in three networks.

ResNet-50, EfficientNet-Lite0 and VGG-16 see the same photographs; their maps are brought to one
grid. How many units are each other's most correlated ones in all three pairs of networks, with
correlations that photographs in another order never reach? The null is the rotated basis: the same
layers, whose axes are no units.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional

import nissl
from nissl.alignment import match
from nissl.cache import cache_dir
from nissl.statistics.figure import panels, save_figure
from nissl.statistics.rotated import rotation

SEED, N_IMAGES, PIXELS, GRID = 0, 120, 128, 8
SITES = {
    "resnet50": ["layer2", "layer3"],
    "efficientnet-lite0": [*(f"blocks.{i}.depthwise" for i in (4, 7, 10)), "head"],
    "vgg16": ["15", "22", "29"],
}
N_SHOWN, N_PHOTOGRAPHS = 6, 4


def maps(name, site):
    """Return the maps of a site on the common grid, shape (images x places, units)."""
    net = nissl.load(name)
    store = cache_dir("activity") / f"{name}-{site}-maps-of-{N_IMAGES}"
    images = replace(net.transform, size=PIXELS, crop=1.0)(photographs)
    rec = nissl.record(net, images, sites=site, store=store, progress=False)
    shape = (N_IMAGES, *(int(rec[axis].max()) + 1 for axis in ("row", "column")), -1)
    x = torch.from_numpy(rec.values.reshape(shape)).movedim(3, 1)
    x = functional.interpolate(x, (GRID, GRID), mode="bilinear", antialias=True)
    return x.movedim(1, 3).flatten(0, 2).numpy()


def shared(layers):
    """Return units that are each other's best in all pairs, a row each, and their smallest r."""
    names = [*layers, next(iter(layers))]
    tables = [
        match(layers[a], layers[b], test=None, progress=False).table for a, b in pairwise(names)
    ]
    rows = []
    for first in np.flatnonzero(tables[0]["mutual"]):
        units, found = [first], []
        for table in tables:
            one = table.iloc[units[-1]]
            found.append(one["correlation"] * one["sign"] * one["mutual"])
            units.append(int(one["partner"].strip("unit[]") or -1))
        if units[0] == units.pop() and min(found) > 0:
            rows.append((min(found), *units))
    return np.array(sorted(rows, reverse=True)).reshape(-1, 1 + len(layers))


def joined(how):
    """Return the sites of each network side by side, something done to each."""
    return {name: np.concatenate([how(x) for x in found], axis=1) for name, found in sites.items()}


def turn(x):
    """Return a site in another basis."""
    return x @ rotation(x.shape[1], (SEED, int(rng.integers(2**31))))


def moved(x):
    """Return maps of photographs in another order, each in one piece."""
    return rng.permutation(x.reshape(N_IMAGES, GRID**2, -1)).reshape(x.shape)


if __name__ == "__main__":
    rng, cifar = np.random.default_rng(SEED), nissl.read("cifar10")
    photographs = cifar.values[cifar.test][rng.permutation(10000)[:N_IMAGES]]
    sites = {name: [maps(name, site) for site in SITES[name]] for name in SITES}
    layers, turned = joined(lambda x: x), joined(turn)
    units, by_rotation = shared(layers), shared(turned)
    by_order = shared(joined(moved))
    least = by_order[:, 0].max(initial=0)

    figure, (axes,) = panels(1, size=5)
    figure.set_size_inches(10, 5.5)
    rows = []
    for _, *members in units[:N_SHOWN]:
        row = []
        for unit, x in zip(members, layers.values(), strict=True):
            answer = x[:, int(unit)].reshape(N_IMAGES, GRID, GRID)
            for i in np.argsort(-answer.max((1, 2)))[:N_PHOTOGRAPHS]:
                light = np.kron(np.maximum(answer[i], 0) / answer[i].max(), np.ones((4, 4)))
                row.append(photographs[i] * (0.35 + 0.65 * light[..., None]) / 255)
        rows.append(np.concatenate(row, axis=1))
    axes.imshow(np.concatenate(rows))
    axes.set_xticks(32 * N_PHOTOGRAPHS * (np.arange(len(layers)) + 0.5), list(layers))
    axes.set_yticks(32 * (np.arange(len(rows)) + 0.5), [f"{r:.2f}" for r in units[:N_SHOWN, 0]])
    axes.set(title="Photographs that shared units answer most to, lit where", ylabel="smallest r")
    save_figure(figure, "out/alignment/rosetta_neurons.png")

    nissl.claim(
        "rosetta_neurons",
        system=220,
        says="Networks of other architectures share units that answer to the same places.",
        measured={
            "shared": int((units[:, 0] > least).sum()),
            "mutual": len(units),
            "largest_r": units[:10, 0].tolist(),
            "least_r": least,
        },
        null={"shared": int((by_rotation[:, 0] > least).sum()), "mutual": len(by_rotation)},
        rule="shared > 20 and shared > 2 * null.shared",
        data=f"{N_IMAGES} photographs of CIFAR-10 at {PIXELS} pixels, maps of ResNet-50, "
        f"EfficientNet-Lite0 and VGG-16 on a grid of {GRID} x {GRID}; null: each layer in a "
        "rotated basis; least_r: the largest with photographs in another order",
    )
