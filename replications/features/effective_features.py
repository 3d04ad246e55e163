"""Effective features (system 44): the entropy of SAE activations counts what a toy represents.

Toy models of superposition represent the more features, the rarer these are: of each, the sum of
squared weights says how many. A sparse autoencoder sees their few hidden units alone. Does the
entropy of its activations follow? And does dropout lower the count in a network that reads digits?
"""

import numpy as np
import torch
from scipy.stats import spearmanr

import nissl
from nissl.features import Schedule, effective_features, sae
from nissl.recording import as_recording
from nissl.training import Batches, train

SEEDS, FEATURES, DIMENSIONS, BATCH, K = (2, 3), 40, 10, 512, 4
DENSITIES = np.geomspace(0.5, 0.02, 8)
HOW = {"n_features": 80, "progress": False, "schedule": Schedule(samples=150_000, batch_size=512)}


class Toy(torch.nn.Module):
    """Models of all densities at once: x' = ReLU(W'Wx + b)."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        first = torch.randn(len(DENSITIES), DIMENSIONS, FEATURES, generator=generator)
        self.w = torch.nn.Parameter(first / FEATURES**0.5)
        self.b = torch.nn.Parameter(torch.zeros(len(DENSITIES), 1, FEATURES))

    def forward(self, x):
        """Return what is read again."""
        return (x @ self.w.mT @ self.w + self.b).relu()


def batch(step, seed, size=BATCH):
    """Return features of each model, each active with its density."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    x = torch.rand(len(DENSITIES), size, FEATURES, generator=generator)
    on = torch.rand(x.shape, generator=generator) < torch.as_tensor(DENSITIES)[:, None, None]
    return (x * on).float()


def counted(activity, k):
    """Return the effective features of activity, by a dictionary of it."""
    rec = as_recording(np.ascontiguousarray(activity, dtype=np.float32))
    found = sae(rec, k=k, **HOW)
    return effective_features(found.encode(torch.from_numpy(rec.values)).detach().numpy())


def digits(dropout, seed):
    """Return hidden activity on test images of a network trained with dropout."""
    mnist = nissl.read("mnist")
    x = torch.as_tensor(mnist.values, dtype=torch.float32).flatten(1) / 255
    y = torch.as_tensor(mnist.labels).long()
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 64),
        torch.nn.ReLU(),
        torch.nn.Dropout(dropout),
        torch.nn.Linear(64, 10),
    )
    done = train(
        model,
        Batches(x[:20000], y[:20000], batch_size=128, seed=seed),
        loss=lambda m, b: torch.nn.functional.cross_entropy(m(b[0]), b[1]),
        steps=1500,
        seed=seed,
        progress=False,
    )
    with torch.no_grad():
        return done.model[:2](x[20000:40000]).numpy()


if __name__ == "__main__":
    represented, found, chance = [], [], []
    for seed in SEEDS:
        first = Toy(seed).w.detach()
        done = train(
            Toy(seed),
            lambda step, seed=seed: batch(step, seed),
            loss=lambda model, x: (model(x) - x).square().sum(-1).mean(1).sum(),
            steps=3000,
            learning_rate=3e-3,
            clip=None,
            key=f"toy {FEATURES} {DIMENSIONS} {seed} {DENSITIES.tolist()}",
            progress=False,
        )
        w = done.model.w.detach()
        represented += w.square().sum((1, 2)).tolist()
        x = batch(10_000, seed, 20_000)
        for weights, before, features in zip(w, first, x, strict=True):
            # One k for all: a first run, of other seeds, gave each its density, and counted that.
            found.append(counted((features @ weights.T).numpy(), K))
            chance.append(counted((features @ before.T).numpy(), K))
    plain, dropped = (np.array([counted(digits(p, s), 8) for s in SEEDS]) for p in (0.0, 0.5))
    test = spearmanr(represented, found)
    nissl.claim(
        "effective_features",
        system=44,
        says="The entropy of SAE activations follows the number of features that toy models "
        "represent; dropout lowers it.",
        measured={"spearman": test.statistic, "p": test.pvalue, "with_dropout": dropped.mean()},
        null={
            "spearman": spearmanr(represented, chance).statistic,
            "without_dropout": plain.mean(),
        },
        rule="spearman > 0.7 and spearman > null.spearman + 0.2 and p < 0.01",
        data=f"{len(found)} toy models of {FEATURES} features in {DIMENSIONS} dimensions, the sum "
        "of squared weights against effective features; null: before training; "
        f"MNIST, 64 hidden units, dropout 0.5 against none, {len(SEEDS)} seeds",
    )
