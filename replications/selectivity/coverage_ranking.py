"""Checkpoints ranked by how much of neurons' states training covers (system 172).

Seven nets learn CIFAR-10 for a short time in different ways. Does the share of their units' states
that training covers tell which checkpoints are right on corrupted photographs, beside validation
accuracy? For power, the larger a checkpoint's accuracy on other photographs, the more of one net's
states are drawn anew.
"""

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch.nn import functional

import nissl
from nissl.behaviour import divergence_from_uniform
from nissl.network.gradients import gradient_times_activation
from nissl.selectivity import activation_states
from nissl.statistics import Coverage
from nissl.statistics.figure import curve, save_figure
from nissl.training import Batches, small_image_model, standardised, train

SEED, N_VALIDATION, N_RANKED, N_SHARE = 0, 5000, 400, 1000
STEPS, BATCH, CHECKPOINTS = 400, 128, (100, 200, 300, 400)
# As activation_coverage.py chose them, on another net; so too bins and density.
ALPHA, SOFTER = {"layer1": 1e2, "layer2": 1e3, "layer3": 1e3, "layer4": 1e4}, 10.0
VARIANTS = ("plain", "decay", "wrong labels", "shifts", "noise", "contrast", "slow")


def learned(variant, batches):
    """Train a net in one of several ways, with checkpoints; a minute the first time."""

    def loss(model, batch):
        images, labels, wrong = batch
        x = standardised(images)
        if variant == "shifts":
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
            x = x.roll(torch.randint(-3, 4, (2,)).tolist(), (2, 3))
        elif variant == "noise":
            x = x + torch.rand(len(x), 1, 1, 1) * 0.6 * torch.randn_like(x)
        elif variant == "contrast":
            x = x.mean((1, 2, 3), keepdim=True).lerp(x, 0.2 + torch.rand(len(x), 1, 1, 1))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(x)
        return functional.cross_entropy(logits.float(), wrong if "wrong" in variant else labels)

    options = {"learning_rate": 3e-4 if variant == "slow" else 3e-3, "schedule": "linear"}
    options |= {"weight_decay": 1.0 if variant == "decay" else 0.01, "warmup": 40, "steps": STEPS}
    return train(small_image_model(), batches, loss=loss, checkpoints=CHECKPOINTS, **options)


def corrupted(images):
    """Return images under noise, under blur, and of weak contrast, one kind after another."""
    x = standardised(torch.from_numpy(images))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(SEED))
    blurred = functional.avg_pool2d(functional.pad(x, (2, 2, 2, 2), mode="reflect"), 5, 1)
    return torch.cat([x + 0.6 * noise, blurred, x.mean((1, 2, 3), keepdim=True).lerp(x, 0.3)])


def accuracy(model, images, labels):
    """Return the share of images that a net is right about."""
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        guesses = torch.cat([model(some).argmax(1) for some in torch.as_tensor(images).split(250)])
    return float((guesses.numpy() == np.resize(labels, len(guesses))).mean())


def covered_share(states):
    """Return the share of states that training covers."""
    fitted = Coverage(states.sizes["unit"], bins=20, full_density=0.2)
    fitted.update(states)
    return fitted.criterion(states["site"].values)


def agreement(score):
    """Return Spearman's rho with what is right, p and the null: steps of a run trade places."""
    orders = [np.reshape(score, right.shape)]
    orders += [rng.permuted(orders[0], axis=1) for _ in range(4999)]
    rho = np.array([spearmanr(order.ravel(), right.ravel()).statistic for order in orders])
    return {"rho": rho[0], "p": (rho >= rho[0] - 1e-9).mean()}, {"rho": rho[1:].mean()}


rng, cifar = np.random.default_rng(SEED), nissl.read("cifar10")
pixels, labels = cifar.values[~cifar.test], cifar.labels[~cifar.test]
wrong = np.where(rng.random(len(labels)) < 0.4, rng.integers(0, 10, len(labels)), labels)
seen, held = slice(-N_VALIDATION), slice(-N_VALIDATION, 1000 - N_VALIDATION)
batches = Batches(pixels[seen], labels[seen], wrong[seen], batch_size=BATCH, seed=SEED)
test = cifar.values[cifar.test], cifar.labels[cifar.test]
first, second = ([part[n : n + N_RANKED] for part in test] for n in (0, N_RANKED))
tested = (pixels[held], labels[held]), *((corrupted(x), y) for x, y in (first, second))
area, softer, valid, right, again = np.zeros((5, len(VARIANTS), len(CHECKPOINTS)))
for i, variant in enumerate(VARIANTS):
    run = learned(variant, batches)
    for j, step in enumerate(CHECKPOINTS):
        net, options = run.at(step), {"sites": list(ALPHA), "metric": divergence_from_uniform}
        valid[i, j], right[i, j], again[i, j] = (accuracy(net, *part) for part in tested)
        rec = gradient_times_activation(nissl.load(net), pixels[:N_SHARE], **options)
        area[i, j] = covered_share(activation_states(rec, alpha=ALPHA))
        softer[i, j] = covered_share(activation_states(rec, alpha=SOFTER))
(ranked, null), (by_valid, _), (by_softer, _) = map(agreement, (area, valid, softer))
one, shape = activation_states(rec, alpha=1000.0), rec.shape
kept = (rng.random(shape) >= 0.2 * share for share in again.ravel())
planted = [covered_share(one.where(mask, rng.random(shape))) for mask in kept]

over = {"covered": area.ravel(), "validation": valid.ravel(), "corrupted": right.ravel()}
axes = curve(pd.DataFrame(over).sort_values("corrupted", ignore_index=True))
save_figure(axes.figure, "out/selectivity/coverage_ranking.png")

nissl.claim(
    "coverage_ranking",
    system=172,
    says="The share of neurons' states that training covers ranks checkpoints by accuracy on "
    "shifted images better than validation accuracy does.",
    measured=ranked | {"rho_validation": by_valid["rho"], "rho_of_softer": by_softer["rho"]},
    null=null,
    rule="rho > rho_validation and p < 0.05",
    power=agreement(planted)[0],
    data=f"CIFAR-10: {len(VARIANTS)} nets of {STEPS} steps, {len(CHECKPOINTS)} checkpoints each, "
    f"on {N_RANKED} test photographs under noise, blur and weak contrast"
    "; the steeper, the more states saturate as nets grow surer, and less is covered (softer: 10)",
)
