"""Neuron activation coverage (system 172): inputs in states that training covered, or not.

A small convolutional net learns CIFAR-10. How well does the coverage of its units' states tell
photographs that it has not seen from MNIST, Fashion-MNIST, digits and noise, beside the largest
softmax probability and the energy? Steepness, bins and density are chosen on other noise.
"""

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

import nissl
from nissl.behaviour import divergence_from_uniform
from nissl.network.gradients import gradient_times_activation
from nissl.selectivity import activation_states, coverage
from nissl.statistics import Test, auroc
from nissl.statistics.figure import bar, save_figure
from nissl.training import Batches, small_image_model, standardised, train

SEED, N_VALIDATION, STEPS, BATCH = 0, 5000, 1500, 128
N_TRAIN, N_INSIDE, N_OUTSIDE = 5000, 1500, 1000
SITES = ("layer1", "layer2", "layer3", "layer4")
ALPHAS, BINS, DENSITIES = 10.0 ** np.arange(6), (20, 50, 200), (0.01, 0.05, 0.2, 1.0)


def loss(model, batch):
    """Return the cross entropy of images, some flipped, moved by up to three pixels."""
    images, labels = batch
    x = standardised(images)
    x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
    down, right = torch.randint(-3, 4, (2,)).tolist()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(x.roll((down, right), (2, 3)))
    return functional.cross_entropy(logits.float(), labels)


def made_of_noise(pixels, rng):
    """Return photographs whose pixels change places, and patches of colour that blend."""
    half = len(pixels) // 2
    shuffled = rng.permuted(pixels[:half].reshape(half, -1, 3), axis=1)
    patches = torch.from_numpy(rng.uniform(0, 255, (half, 3, 5, 5)))
    blended = functional.interpolate(patches, 32, mode="bilinear").permute(0, 2, 3, 1)
    return np.concatenate([shuffled.reshape(-1, 32, 32, 3), blended.numpy().astype(np.uint8)])


def others(rng):
    """Return what is not CIFAR-10, as colour images of its size."""
    grey = {name: nissl.read(name).values[-N_OUTSIDE:] for name in ("mnist", "fashion-mnist")}
    grey = {name: np.pad(images, ((0, 0), (2, 2), (2, 2))) for name, images in grey.items()}
    digits = (load_digits().images[:N_OUTSIDE] * (255 / 16)).astype(np.uint8)
    grey["digits"] = np.kron(digits, np.ones((1, 4, 4), np.uint8))
    found = {name: np.repeat(images[..., None], 3, axis=3) for name, images in grey.items()}
    return {**found, "noise": rng.integers(0, 256, (N_OUTSIDE, 32, 32, 3), dtype=np.uint8)}


def influence(images):
    """Return what units contribute to how sure the net is."""
    return gradient_times_activation(net, images, sites=SITES, metric=divergence_from_uniform)


def baselines(images):
    """Return the logarithm of the largest softmax probability of each image, and its energy."""
    logits = nissl.record(net, images, sites="head", progress=False).values.astype(float)
    energy = np.logaddexp.reduce(logits, axis=1)
    return np.stack([logits.max(axis=1) - energy, energy], axis=1)


def settings(*recs):
    """Choose the steepness of each site by itself, then bins and density, as tell noise best."""

    def told(alpha, by, **options):
        states = [activation_states(rec, alpha=alpha) for rec in recs]
        found = coverage(*states, by=by, test=Test(n_permutations=2), progress=False, **options)
        return found.table.set_index("unit")["auroc"]

    alpha = pd.DataFrame({a: told(a, "site") for a in ALPHAS}).idxmax(axis=1).to_dict()
    grid = [{"bins": b, "full_density": r} for b in BINS for r in DENSITIES]
    return alpha, max(grid, key=lambda options: told(alpha, "network", **options).item())


rng, cifar = np.random.default_rng(SEED), nissl.read("cifar10")
pixels, labels = cifar.values[~cifar.test], cifar.labels[~cifar.test]
held, test = pixels[-N_VALIDATION:], cifar.values[cifar.test][:N_INSIDE]
batches = Batches(pixels[:-N_VALIDATION], labels[:-N_VALIDATION], batch_size=BATCH, seed=SEED)
how = {"schedule": "linear", "warmup": 40, "learning_rate": 3e-3, "weight_decay": 0.01}
net = nissl.load(train(small_image_model(), batches, loss=loss, steps=STEPS, **how).model)
seen, noise = influence(pixels[:N_TRAIN]), influence(made_of_noise(held[1000:2000], rng))
alpha, options = settings(seen, influence(held[:1000]), noise)
covered, inside = (activation_states(rec, alpha=alpha) for rec in (seen, influence(test)))

own, rows = baselines(test), {}
for name, images in others(rng).items():
    states = activation_states(influence(images), alpha=alpha)
    found = coverage(covered, inside, states, by="network", test=Test(seed=SEED), **options)
    scores = np.concatenate([own, baselines(images)])
    two = auroc(scores, np.arange(len(scores)) < N_INSIDE)
    found = found.table[["auroc", "null_mean", "p"]].iloc[0]
    rows[name] = dict(found, softmax=two[0], energy=two[1])
table = pd.DataFrame(rows).T
mean = table.mean()
axes = bar(table[["auroc", "softmax", "energy"]].rename(columns={"auroc": "coverage"}))
axes.set(ylabel="AUROC against CIFAR-10", ylim=(0.3, 1))
save_figure(axes.figure, "out/selectivity/activation_coverage.png")

nissl.claim(
    "activation_coverage",
    system=172,
    says="The coverage of neurons' states tells CIFAR-10 from other images better than softmax or "
    "energy.",
    measured={"auroc": mean["auroc"], "largest_p": table["p"].max()}
    | {f"auroc_{score}": mean[score] for score in ("softmax", "energy")}
    | {f"auroc_of_{name.replace('-', '_')}": value for name, value in table["auroc"].items()}
    | {"alpha": list(alpha.values()), **options},
    null={"auroc": mean["null_mean"]},
    rule="auroc > auroc_softmax and auroc > auroc_energy",
    data=f"CIFAR-10: a net of {STEPS} steps, {N_INSIDE} test photographs against {N_OUTSIDE} each "
    "of four other kinds",
)
