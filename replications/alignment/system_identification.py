"""System identification (system 231): which measure names a network put in the brain's place.

Trained networks, two of them with fresh weights, and three that differ only in size see the same
photographs. Half of the units of each, under noise and by few stimuli, take the brain's place; the
other half are the candidates. How often does each measure name the right network, how often among
networks that are alike, and how often where the target's stimuli are in another order?
"""

from dataclasses import replace

import numpy as np
import pandas as pd

import nissl
from nissl.alignment import Limits, identify
from nissl.cache import cache_dir
from nissl.recording import aggregate
from nissl.statistics import ReinitialisedNetwork
from nissl.statistics.figure import heatmap, panels, save_figure

SEED, N_IMAGES, PIXELS, N_UNITS = 0, 120, 128, 128
SITES = {"resnet50": "layer4", "vgg16": "29", "alexnet": "11"}  # the last maps, after their ReLU
ALIKE = ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
FRESH = ["resnet50", "vgg16"]
MEASURES = ["rsa", "topological_rsa", "cka", "cca", "procrustes", "soft_matching"]
LIMITS = Limits(n_stimuli=(30, N_IMAGES), noise=(0.0, 1.0, 4.0, 16.0), n_draws=8)


def activity(name, net, transform):
    """Return units drawn from a network's last maps, their mean over places in each image."""
    site = SITES.get(name.split(", ")[0], "head")
    store = cache_dir("activity") / f"{name.replace(', ', '-')}-{site}-{N_IMAGES}-images"
    images = replace(transform, size=PIXELS, crop=1.0)(photographs)
    rec = aggregate(nissl.record(net, images, sites=site, store=store, progress=False))
    varies = np.flatnonzero(rec.values.std(0) > 0)
    return rec.values[:, np.random.default_rng(SEED).permutation(varies)[:N_UNITS]]


rng, cifar = np.random.default_rng(SEED), nissl.read("cifar10")
photographs = cifar.values[cifar.test][rng.permutation(10000)[:N_IMAGES]]
layers = {}
for name in [*SITES, *ALIKE]:
    net = nissl.load(name)
    layers[name] = activity(name, net, net.transform)
    if name in FRESH:
        (fresh,) = ReinitialisedNetwork().draw(net.model, 1, seed=SEED)
        layers[f"{name}, fresh"] = activity(
            f"{name}, fresh", nissl.load(fresh.eval()), net.transform
        )

options = {"measures": MEASURES, "limits": LIMITS, "seed": SEED, "progress": False}
found = identify(layers, **options)
moved = {name: rng.permutation(x) for name, x in layers.items()}
by_chance = identify(layers, moved, **options).accuracy.groupby("measure")["accuracy"].mean()
table = found.accuracy
accuracy = table.groupby("measure")["accuracy"].mean()
settings = table.pivot_table(index="measure", columns=["n_stimuli", "noise"], values="accuracy")
confusion = {name: found.confusion(name) for name in MEASURES}
alike = pd.Series({name: np.diag(m.loc[ALIKE, ALIKE]).mean() for name, m in confusion.items()})
best, worst = accuracy.idxmax(), accuracy.idxmin()

figure, axes = panels(3, 2, size=5)
for ax, name in zip(np.ravel(axes), MEASURES, strict=True):
    heatmap(confusion[name].round(2), axes=ax)
    ax.set_title(f"{name}: {accuracy[name]:.0%}")
    ax.tick_params(axis="x", rotation=90)
    print(f"\n{name}, {accuracy[name]:.0%} right:\n{confusion[name].round(2).to_string()}")
save_figure(figure, "out/alignment/system_identification.png")
print("\n", settings.round(2).to_string())

nissl.claim(
    "system_identification",
    system=231,
    says="Whether a comparison names the right network depends on the measure, and it is named "
    "less often among networks that are alike.",
    measured={
        "accuracy": accuracy[best],
        "accuracy_worst": accuracy[worst],
        "accuracy_alike": alike[best],
        "best": best,
        "worst": worst,
    }
    | {f"accuracy_of_{name}": accuracy[name] for name in MEASURES}
    | {f"alike_by_{name}": alike[name] for name in MEASURES}
    | {f"from_{n}_under_noise": settings[n].loc[best].tolist() for n in LIMITS.n_stimuli},
    null={"accuracy": by_chance[best]},
    rule="accuracy > null.accuracy + 0.2 and accuracy > accuracy_worst + 0.1 and "
    "accuracy > accuracy_alike + 0.05",
    data=f"{N_IMAGES} photographs of CIFAR-10 at {PIXELS} pixels, {len(layers)} networks: last "
    f"maps, {N_UNITS} units, halves as target and candidate; 30 or {N_IMAGES} stimuli, noise of "
    "0, 1, 4 and 16 times a unit's variance; alike: EfficientNet-Lite0, 1 and 2",
)
