"""Mouse visual cortex (system 333): depth of planted areas, by few stimuli and few neurons.

VGG-16 sees as many photographs as mice of the Allen Brain Observatory did. Areas are PLANTED: noisy
samples of the units of a layer; the layers, less those units, are the candidates. How well does the
similarity of similarity matrices recover the depth of an area, and with how few stimuli and
neurons? AlexNet's layers, too, are put on VGG-16's scale. The null: stimuli in another order.
"""

from dataclasses import replace

import numpy as np
from scipy.stats import spearmanr

import nissl
from nissl.alignment import RSA, Limits, compare, identify
from nissl.statistics.figure import heatmap, panels, save_figure

SEED, N_IMAGES, PIXELS, N_UNITS = 0, 118, 96, 1000
SITES = {
    "vgg16": ["4", "9", "13", "16", "20", "23", "27", "30"],
    "alexnet": ["1", "4", "7", "9", "11"],
}
MOUSE = (N_IMAGES, 500)  # stimuli and neurons of a survey, of which fewer are drawn
LIMITS = Limits(n_stimuli=(15, 30, 60, N_IMAGES), n_units=(10, 50, 200, 500), noise=(2.0,))


def layers(name):
    """Return units of each layer of a network, drawn of all channels in all places."""
    net, made = nissl.load(name), {}
    images = replace(net.transform, size=PIXELS, crop=1.0)(photographs)
    found = nissl.record(net, images, sites=SITES[name], progress=False)
    for site in SITES[name]:
        x = found[site].values.reshape(N_IMAGES, -1)
        varies = np.flatnonzero(x.std(0) > 0)
        made[f"{name}, {site}"] = x[:, rng.permutation(varies)[:N_UNITS]].astype(float)
    return made


def depths(table, names):
    """Return the correlation of areas' depths with those of the layers named, by setting."""
    at = {name: depth for depth, name in enumerate(names)}
    table = table.assign(depth=table["target"].map(at), found=table["named"].map(at))
    by_setting = table.groupby(["n_stimuli", "n_units"])[["depth", "found"]]
    return by_setting.apply(lambda some: spearmanr(some["depth"], some["found"])[0])


rng, cifar = np.random.default_rng(SEED), nissl.read("cifar10")
photographs = cifar.values[cifar.test][rng.permutation(10000)[:N_IMAGES]]
vgg, alexnet = layers("vgg16"), layers("alexnet")
options = {"limits": LIMITS, "measures": [RSA(by="pearson")], "seed": SEED, "progress": False}
found = identify(vgg, **options)
moved = {name: rng.permutation(x) for name, x in vgg.items()}
rho, by_chance = (depths(made.table, vgg) for made in (found, identify(vgg, moved, **options)))
right = found.accuracy.set_index(["n_stimuli", "n_units"])["accuracy"]

across = compare(vgg, alexnet, measure=RSA(by="pearson"), test=None, progress=False).matrix
nearest = across.to_numpy().argmax(0)
figure, (left, middle, last) = panels(3)
heatmap(rho.unstack().round(2), numbers=True, axes=left)
left.set(title="correlation of depths")
heatmap(right.unstack().round(2), numbers=True, axes=middle)
middle.set(title="layers named rightly")
heatmap(across.round(2), numbers=True, axes=last)
last.set(title="AlexNet on VGG-16's scale")
save_figure(figure, "out/alignment/mouse_visual_cortex.png")
print(rho.unstack().round(3).to_string(), right.unstack().round(3).to_string(), sep="\n")

nissl.claim(
    "mouse_visual_cortex",
    system=333,
    says="Similarity of similarity matrices recovers the depth of areas from the stimuli and "
    "neurons of a survey, and less well from few.",
    measured={
        "depth": rho[MOUSE],
        "depth_few": rho[15, 10],
        "depth_half_of_stimuli": rho[60, 500],
        "depth_by_units": rho[N_IMAGES].tolist(),
        "depth_by_stimuli": rho.xs(500, level="n_units").tolist(),
        "layers_right": right[MOUSE],
        "depth_across_networks": spearmanr(np.arange(len(nearest)), nearest)[0],
        "nearest_of_alexnet": nearest.tolist(),
    },
    null={"depth": by_chance[MOUSE]},
    rule="depth > null.depth + 0.5 and depth > depth_few + 0.1 and "
    "depth < depth_half_of_stimuli + 0.1",
    data=f"{N_IMAGES} photographs of CIFAR-10 at {PIXELS} pixels; areas PLANTED: samples of half "
    f"of {N_UNITS} units of a layer, noise of twice a unit's variance; candidates: the other half; "
    "depth: rank correlation of an area's layer with the layer named",
)
