"""Neural representation benchmark (system 342): classes along the eigenbasis of a kernel.

AlexNet, ResNet-50 and a ResNet-50 with fresh weights see photographs of ten classes. How much of
the labels is left by the leading dimensions of each layer's kernel? Two planted areas of a brain,
noisy neurons that read an early and a late layer, are put on the same scale. The null: labels of
other photographs.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

import nissl
from nissl.alignment import kernel_analysis
from nissl.recording import aggregate
from nissl.statistics import ReinitialisedNetwork, Test
from nissl.statistics.figure import bar, curve, panels, save_figure

SEED, N_IMAGES, PIXELS, N_NEURONS, NOISE = 0, 200, 128, 100, 1.0
SITES = {"alexnet": ["1", "4", "7", "9", "11"], "resnet50": [f"layer{i}" for i in range(1, 5)]}


def layers(name, net, sites, transform):
    """Return the layers of a network by name, the mean of each map in each image."""
    images = replace(transform, size=PIXELS, crop=1.0)(photographs)
    found = nissl.record(net, images, sites=sites, progress=False)
    return {f"{name} {i + 1}": aggregate(found[site]).values for i, site in enumerate(sites)}


def area(x):
    """Return noisy neurons that each read a random mixture of a layer's units."""
    units = (x - x.mean(0)) / np.maximum(x.std(0), 1e-6)
    neurons = units @ rng.standard_normal((x.shape[1], N_NEURONS))
    return neurons + np.sqrt(NOISE) * neurons.std(0) * rng.standard_normal(neurons.shape)


rng, cifar = np.random.default_rng(SEED), nissl.read("cifar10")
some = rng.permutation(np.flatnonzero(cifar.test))[:N_IMAGES]
photographs, labels = cifar.values[some], cifar.labels[some]
nets = {name: nissl.load(name) for name in SITES}
transform = nets["resnet50"].transform
(fresh,) = ReinitialisedNetwork().draw(nets["resnet50"].model, 1, seed=SEED)
found = {}
for name, net in nets.items():
    found |= layers(name, net, SITES[name], net.transform)
found |= layers("fresh", nissl.load(fresh.eval()), SITES["resnet50"], transform)
found |= {f"planted {i}": area(found[f"resnet50 {i}"]) for i in (1, 4)}

table = kernel_analysis(found, labels, test=Test(seed=SEED)).table.set_index("unit")
areas, loss = table["area"], table.filter(regex="^loss_")
loss.columns = pd.Index([int(name[5:]) for name in loss], name="dimensions")
figure, (left, right) = panels(2)
shown = ["alexnet 5", "resnet50 1", "resnet50 4", "fresh 4", "planted 1", "planted 4"]
curve(loss.loc[shown].T, null=table.filter(regex="^chance_").iloc[0], axes=left)
left.set(xscale="log", ylabel="share of labels' variance left")
bar(areas, null=table["null_mean"], null_sd=table["null_sd"], axes=right)
right.set(ylabel="area under the loss")
save_figure(figure, "out/alignment/neural_representation_benchmark.png")
print(table[["area", "null_mean", "p", "bandwidth"]].round(3).to_string())

nissl.claim(
    "neural_representation_benchmark",
    system=342,
    says="Late layers of trained networks hold classes in fewer leading dimensions than early ones "
    "and than fresh weights do.",
    measured={
        "area": areas["resnet50 4"],
        "area_early": areas["resnet50 1"],
        "area_fresh": areas["fresh 4"],
        "p": table["p"]["resnet50 4"],
        "area_planted_late": areas["planted 4"],
        "area_planted_early": areas["planted 1"],
        "areas_alexnet": areas.filter(like="alexnet").tolist(),
        "areas_resnet50": areas.filter(like="resnet50").tolist(),
    },
    null={"area": table["null_mean"]["resnet50 4"]},
    rule="area < null.area - 0.05 and area < area_early - 0.03 and area < area_fresh - 0.03",
    data=f"{N_IMAGES} photographs of CIFAR-10 at {PIXELS} pixels, maps averaged over places; the "
    f"brain is planted: {N_NEURONS} mixtures of a layer's units, noise of {NOISE:g} times their "
    "variance",
)
