"""Neuron activation coverage (system 172): inputs in states that training covered, or not.

A small convolutional net learns CIFAR-10. How well does the coverage of its units' states tell
photographs that it has not seen from MNIST, Fashion-MNIST, digits and noise, beside the largest
softmax probability and the energy? Steepness, bins and density are chosen on noise made of
validation photographs, which the test has not. The paper's other claim, that coverage ranks
checkpoints, is put to the test in ``coverage_ranking.py``.
"""

import inspect
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

import nissl
from nissl.behaviour import divergence_from_uniform
from nissl.network.gradients import gradient_times_activation
from nissl.selectivity import activation_states, coverage
from nissl.statistics import Coverage, Test, auroc, bootstrap_interval
from nissl.training import Batches, train

SEED, N_VALIDATION, STEPS, BATCH = 0, 5000, 1500, 128
N_TRAIN, N_INSIDE, N_OUTSIDE = 5000, 1500, 1000
SITES = ("layer1", "layer2", "layer3", "layer4")
ALPHAS, BINS, DENSITIES = 10.0 ** np.arange(6), (20, 50, 200), (0.01, 0.05, 0.2, 1.0)
LEAD = 0.034  # the paper's over energy on CIFAR-10: planted, for power


class Net(nn.Module):
    """A small convolutional net that reads photographs as bytes, shape (batch, 32, 32, 3)."""

    def __init__(self):
        super().__init__()
        self.layer1 = self.layer(3, 32, 4, 2)
        self.layer2 = self.layer(32, 64, 3, 1)
        self.layer3 = self.layer(64, 128, 3, 1)
        self.layer4 = self.layer(128, 256, 3, 1)
        self.head = nn.Linear(256, 10)

    @staticmethod
    def layer(n_in, n_out, size, stride):
        """Convolve, normalise, rectify."""
        conv = nn.Conv2d(n_in, n_out, size, stride, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(n_out), nn.ReLU())

    def forward(self, images):
        """Give the logits, shape (batch, 10)."""
        if images.dtype == torch.uint8:
            images = (images.permute(0, 3, 1, 2).float() - 120) / 64
        x = functional.max_pool2d(self.layer2(self.layer1(images)), 2)
        x = self.layer4(functional.max_pool2d(self.layer3(x), 2))
        return self.head(x.mean((2, 3)))


def shifted(x):
    """Flip images and move them by up to three pixels."""
    x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
    down, right = torch.randint(-3, 4, (2,)).tolist()
    return x.roll((down, right), (2, 3))


def loss(model, batch):
    images, labels = batch
    x = (images.permute(0, 3, 1, 2).float() - 120) / 64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(shifted(x))
    return functional.cross_entropy(logits.float(), labels)


def learned(pixels, labels):
    """The net after training; some two minutes the first time."""
    torch.manual_seed(SEED)
    return train(
        Net(),
        Batches(pixels, labels, batch_size=BATCH, seed=SEED),
        loss=loss,
        steps=STEPS,
        warmup=40,
        schedule="linear",
        seed=SEED,
        learning_rate=3e-3,
        weight_decay=0.01,
        key=f"{inspect.getsource(Net)} {inspect.getsource(shifted)}",
    ).model


def made_of_noise(pixels, rng):
    """Photographs whose pixels change places, and patches of colour that blend."""
    half = len(pixels) // 2
    shuffled = rng.permuted(pixels[:half].reshape(half, -1, 3), axis=1)
    patches = torch.from_numpy(rng.uniform(0, 255, (half, 3, 5, 5)))
    blended = functional.interpolate(patches, 32, mode="bilinear").permute(0, 2, 3, 1)
    return np.concatenate([shuffled.reshape(-1, 32, 32, 3), blended.numpy().astype(np.uint8)])


def others(rng):
    """What is not CIFAR-10, as colour images of its size."""
    rows = slice(-N_OUTSIDE, None)
    grey = {name: nissl.read(name).values[rows] for name in ("mnist", "fashion-mnist")}
    grey = {name: np.pad(images, ((0, 0), (2, 2), (2, 2))) for name, images in grey.items()}
    digits = (load_digits().images[:N_OUTSIDE] * (255 / 16)).astype(np.uint8)
    grey["digits"] = digits.repeat(4, axis=1).repeat(4, axis=2)
    found = {name: np.repeat(images[..., None], 3, axis=3) for name, images in grey.items()}
    return {**found, "noise": rng.integers(0, 256, (N_OUTSIDE, 32, 32, 3), dtype=np.uint8)}


def influences(model, images):
    return gradient_times_activation(
        nissl.load(model),
        images,
        sites=SITES,
        metric=divergence_from_uniform,
        progress=False,
    )


def logits(model, images):
    with torch.inference_mode():
        batches = torch.as_tensor(images).split(250)
        return torch.cat([model(batch) for batch in batches]).double().numpy()


def separation(inside, outside):
    """AUROC of a score that should be higher inside."""
    is_inside = np.arange(len(inside) + len(outside)) < len(inside)
    return float(auroc(np.concatenate([inside, outside])[:, None], is_inside)[0])


def settings(train, inside, outside):
    """Steepness of each site by itself, then bins and density for all, as tell noise best."""

    def told(alpha, site, **options):
        states = [activation_states(rec, alpha=alpha)[:, site] for rec in (train, inside, outside)]
        fitted = Coverage(states[0].shape[1], **options)
        fitted.update(states[0])
        layer = states[0]["site"].values
        return separation(*(fitted.score(rec, layer) for rec in states[1:]))

    alpha = {}
    for name in SITES:
        here = train["site"].values == name
        alpha[name] = float(max(ALPHAS, key=lambda a, here=here: told(a, here)))
    grid = [{"bins": b, "full_density": r} for b in BINS for r in DENSITIES]
    return alpha, max(grid, key=lambda options: told(alpha, slice(None), **options))


def redrawn(rec, share, rng):
    """States of which a share is drawn anew, evenly: what training does not cover."""
    values = rec.values.copy()
    anew = rng.random(values.shape) < share
    values[anew] = rng.random(int(anew.sum()), dtype=np.float32)
    return rec.copy(data=values)


rng = np.random.default_rng(SEED)
cifar = nissl.read("cifar10")
pixels, labels = cifar.values[~cifar.test], cifar.labels[~cifar.test]
held, test = pixels[-N_VALIDATION:], cifar.values[cifar.test]
model = learned(pixels[:-N_VALIDATION], labels[:-N_VALIDATION])

# Is it of CIFAR-10? Settings are chosen on held-out photographs and noise made of others of them.
raw = influences(model, pixels[:N_TRAIN])
noise = influences(model, made_of_noise(held[1000:2000], rng))
alpha, options = settings(raw, influences(model, held[:1000]), noise)
covered = activation_states(raw, alpha=alpha)
inside = activation_states(influences(model, test[:N_INSIDE]), alpha=alpha)
fitted = Coverage(covered.sizes["unit"], **options)
fitted.update(covered)
layer = covered["site"].values
kinds = {"inside": test[:N_INSIDE], **others(rng)}
outside = {
    name: activation_states(influences(model, images), alpha=alpha)
    for name, images in kinds.items()
    if name != "inside"
}
scores = {"coverage": {}, "softmax": {}, "energy": {}}
for name, images in kinds.items():
    z = logits(model, images)
    energy = np.logaddexp.reduce(z, axis=1)
    scores["energy"][name], scores["softmax"][name] = energy, z.max(axis=1) - energy
    scores["coverage"][name] = fitted.score(inside if name == "inside" else outside[name], layer)
told = {
    score: {name: separation(by["inside"], by[name]) for name in outside}
    for score, by in scores.items()
}
network = {
    name: coverage(
        covered, inside, rec, by="network", test=Test(seed=SEED), progress=False, **options
    ).table
    for name, rec in outside.items()
}
by_site = {
    name: coverage(
        covered, inside, rec, by="site", test=Test(seed=SEED), progress=False, **options
    ).table
    for name, rec in outside.items()
}
units = {
    name: coverage(
        covered, inside, rec, test=Test(n_permutations=200, seed=SEED), progress=False, **options
    )
    for name, rec in outside.items()
}
mean = {score: float(np.mean(list(by.values()))) for score, by in told.items()}
more = activation_states(influences(model, test[-N_OUTSIDE:]), alpha=alpha)
target = max(mean["softmax"], mean["energy"]) + LEAD
planted = [
    separation(scores["coverage"]["inside"], fitted.score(redrawn(more, share, rng), layer))
    for share in np.linspace(0.02, 1, 50)
]
planted = min((value for value in planted if value >= target), default=max(planted))

colours = {"coverage": "#c8553d", "softmax": "#b8c4d0", "energy": "#2f5d8a"}
figure, axes = plt.subplots(1, 3, figsize=(16, 4.4), layout="constrained")
for k, (score, by) in enumerate(scores.items()):
    ends = [
        bootstrap_interval(
            np.concatenate([by["inside"], by[name]])[:, None],
            np.arange(N_INSIDE + len(by[name])) < N_INSIDE,
            statistic=auroc,
            kind="percentile",
            n_resamples=300,
            seed=SEED,
        )
        for name in outside
    ]
    bars = np.array([[e.estimate[0] - e.low[0], e.high[0] - e.estimate[0]] for e in ends]).T
    axes[0].bar(
        np.arange(4) + 0.27 * (k - 1),
        list(told[score].values()),
        0.25,
        yerr=bars,
        color=colours[score],
        label=score,
        error_kw={"lw": 1},
    )
axes[0].set_xticks(range(4), list(outside))
axes[0].axhline(0.5, color="black", lw=0.8, ls=":")
axes[0].set(ylabel="AUROC against CIFAR-10", ylim=(0, 1.18), title="Which tells them apart")
axes[0].legend(frameon=False, ncols=3, loc="upper center", fontsize=9)
for name, table in by_site.items():
    axes[1].plot(range(4), table["auroc"], "o-", label=name)
axes[1].axhline(0.5, color="black", lw=0.8, ls=":")
axes[1].set_xticks(range(4), SITES)
axes[1].set(ylabel="AUROC of coverage", title="Layer by layer")
axes[1].legend(frameon=False, fontsize=9)
best = units["fashion-mnist"].table.sort_values("auroc").iloc[-1]
edges = np.linspace(0, 1, options["bins"] + 1)
for rec, name, colour in (
    (covered, "CIFAR-10, training", "#b8c4d0"),
    (inside, "CIFAR-10, test", "#2f5d8a"),
    (outside["fashion-mnist"], "Fashion-MNIST", "#c8553d"),
):
    axes[2].hist(
        rec.sel(unit=best["unit"]),
        edges,
        density=True,
        color=colour,
        label=name,
        histtype="stepfilled" if "training" in name else "step",
        lw=1.6,
    )
axes[2].axhline(options["full_density"], color="black", lw=0.8, ls=":", label="wholly covered")
axes[2].set(
    xlabel=f"state of {best['unit']}",
    ylabel="density",
    yscale="log",
    title=f"The unit that tells Fashion-MNIST best: {best['auroc']:.2f}",
)
axes[2].legend(frameon=False, fontsize=8, loc=(0.57, 0.74))
for axis in axes:
    axis.spines[["top", "right"]].set_visible(False)
path = Path("out/selectivity/activation_coverage.png")
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=130)

baselines = {"auroc_softmax": mean["softmax"], "auroc_energy": mean["energy"]}
right = logits(model, test[:N_INSIDE]).argmax(1) == cifar.labels[cifar.test][:N_INSIDE]
measured = {
    "auroc": mean["coverage"],
    **baselines,
    "largest_p": float(max(table["p"].max() for table in network.values())),
    "accuracy": float(right.mean()),
    "bins": options["bins"],
    "full_density": options["full_density"],
    "alpha": [alpha[site] for site in SITES],
}
for name in outside:
    key = name.replace("-", "_")
    measured |= {f"{key}_{score}": told[score][name] for score in scores}
    measured[f"{key}_units"] = len(units[name].significant())
nissl.claim(
    "activation_coverage",
    system=172,
    says="The coverage of neurons' states tells CIFAR-10 from other images better than softmax or "
    "energy.",
    measured=measured,
    null={"auroc": float(np.mean([table["null_mean"].iloc[0] for table in network.values()]))},
    rule="auroc > auroc_softmax and auroc > auroc_energy",
    power={"auroc": planted, **baselines},
    data=f"CIFAR-10: a net of {STEPS} steps, {N_INSIDE} test photographs against {N_OUTSIDE} each "
    "of four other kinds",
)
