"""Image triplets (system 337): stimuli of which low- and high-level similarity do not go together.

Of a root and two images, which is more like the root? Low-level similarity is that of an early
layer of VGG-16, high-level that of the last of ResNet-50. Of many triplets as many are kept in each
cell of a grid of both differences. Do they stay uncorrelated in two other networks, and do they
tell two planted observers apart, who choose by low or by high level? The null: triplets at random.
"""

from dataclasses import replace

import numpy as np

import nissl
from nissl.recording import aggregate
from nissl.statistics import dissimilarities
from nissl.statistics.figure import panels, save_figure

SEED, N_IMAGES, PIXELS, N_DRAWN, N_CELLS, N_KEPT, N_NULLS = 0, 200, 96, 100_000, 6, 12, 200
LOW, HIGH = ("vgg16", "9"), ("resnet50", "layer4")
OTHERS = ("alexnet", "1"), ("efficientnet-lite0", "head")


def similarity(name, site):
    """Return how alike every two images are in a layer, maps averaged over places."""
    net = nissl.load(name)
    images = replace(net.transform, size=PIXELS, crop=1.0)(photographs)
    rec = aggregate(nissl.record(net, images, sites=site, progress=False))
    x = (rec.values - rec.values.mean(0)) / np.maximum(rec.values.std(0), 1e-9)
    return 1 - dissimilarities(x, measure="correlation", progress=False)


def differences(of, triplets):
    """Return by how much the first image is more like the root than the second, standardised."""
    root, first, second = triplets.T
    found = of[root, first] - of[root, second]
    return found / found.std()


def correlation(pair, triplets):
    """Return the correlation of low- and high-level differences."""
    return np.corrcoef(*(differences(of, triplets) for of in pair))[0, 1]


def balanced(pair, triplets):
    """Return as many triplets of each cell of low- and high-level differences."""
    edges = np.linspace(-2, 2, N_CELLS + 1)
    cells = np.array([np.digitize(differences(of, triplets), edges) - 1 for of in pair])
    kept = [
        np.flatnonzero((cells == np.reshape(cell, (2, 1))).all(0))[:N_KEPT]
        for cell in np.ndindex(N_CELLS, N_CELLS)
    ]
    return triplets[np.concatenate(kept)], min(len(some) for some in kept)


def agreement(pair, triplets):
    """Return how often observers who choose by low and by high level choose alike."""
    low, high = (differences(of, triplets) > 0 for of in pair)
    return (low == high).mean()


if __name__ == "__main__":
    rng, cifar = np.random.default_rng(SEED), nissl.read("cifar10")
    photographs = cifar.values[cifar.test][rng.permutation(10000)[:N_IMAGES]]
    design, others = ([similarity(*layer) for layer in pair] for pair in ((LOW, HIGH), OTHERS))
    drawn = rng.integers(0, N_IMAGES, (N_DRAWN, 3))
    drawn = drawn[[len(set(row)) == 3 for row in drawn.tolist()]]
    chosen, fewest = balanced(design, drawn)
    random = [drawn[rng.permutation(len(drawn))[: len(chosen)]] for _ in range(N_NULLS)]
    by_chance = np.array([correlation(others, some) for some in random])

    figure, axes = panels(2, 2)
    for row, pair, where in zip(axes, (design, others), ("design", "other networks"), strict=True):
        for ax, some, name in zip(row, (random[0], chosen), ("random", "chosen"), strict=True):
            ax.scatter(*(differences(of, some) for of in pair), s=5)
            title = f"{name}, {where}: r {correlation(pair, some):.2f}"
            ax.set(title=title, xlabel="low-level difference", ylabel="high-level difference")
    save_figure(figure, "out/alignment/image_triplets.png")

    nissl.claim(
        "image_triplets",
        system=337,
        says="Triplets can be chosen in which low- and high-level similarity do not go together.",
        measured={
            "correlation": correlation(others, chosen),
            "correlation_in_design": correlation(design, chosen),
            "random_in_design": np.mean([correlation(design, some) for some in random]),
            "observers_agree": agreement(others, chosen),
            "observers_agree_at_random": np.mean([agreement(others, some) for some in random]),
            "p": (1 + (by_chance <= correlation(others, chosen)).sum()) / (1 + N_NULLS),
            "n_triplets": len(chosen),
            "fewest_in_cell": fewest,
        },
        null={"correlation": by_chance.mean()},
        rule="abs(correlation) < abs(null.correlation) - 0.05",
        data=f"{N_IMAGES} photographs of CIFAR-10 at {PIXELS} pixels; designed on VGG-16 and "
        "ResNet-50, measured on AlexNet and EfficientNet-Lite0; observers are planted",
    )
