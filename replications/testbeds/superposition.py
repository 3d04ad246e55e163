"""Toy models of superposition (system 148): sparsity lets features share dimensions, as polytopes.

Sparse features of equal importance are written into fewer dimensions and read again through a
ReLU: x' = ReLU(W'Wx + b). There are ten a dimension (of three, in a first run, all were kept). Are
the dimensions that each is given those of uniform polytopes (pairs 1/2, triangles 2/3, tetrahedra
3/4, pentagons 2/5, square antiprisms 3/8)? Beside them: random directions of the same norms.
"""

import numpy as np
import torch
from scipy.stats import mannwhitneyu

import nissl
from nissl.statistics.figure import panels, save_figure
from nissl.training import train

SEED, FEATURES, DIMENSIONS, COPIES, STEPS, BATCH = 1, 200, 20, 1, 4000, 512
DENSITIES = np.geomspace(1.0, 0.01, 12)
POLYTOPES, NEAR = np.array([1.0, 1 / 2, 2 / 3, 3 / 4, 2 / 5, 3 / 8]), 0.015


class Toy(torch.nn.Module):
    """Models of all densities at once."""

    def __init__(self, n, features, dimensions, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        first = torch.randn(n, dimensions, features, generator=generator)
        self.w = torch.nn.Parameter(first / features**0.5)
        self.b = torch.nn.Parameter(torch.zeros(n, 1, features))

    def forward(self, x):
        """Return what is read again, shape (n_models, batch, n_features)."""
        return (x @ self.w.mT @ self.w + self.b).relu()


def batches(densities, features, seed, size=BATCH):
    """Return a function of the step: features, each active with the density of its model."""

    def batch(step):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        x = torch.rand(len(densities), size, features, generator=generator)
        on = torch.rand(x.shape, generator=generator) < torch.as_tensor(densities)[:, None, None]
        return (x * on).float()

    return batch


def trained(densities, *, features=FEATURES, dimensions=DIMENSIONS, steps=STEPS, seed=SEED):
    """Return weights, shape (n_models, n_dimensions, n_features)."""
    done = train(
        Toy(len(densities), features, dimensions, seed),
        batches(densities, features, seed),
        loss=lambda model, x: (model(x) - x).square().sum(-1).mean(1).sum(),
        steps=steps,
        learning_rate=3e-3,
        schedule="cosine",
        clip=None,
        seed=seed,
        key=f"toy {list(densities)} {features} {dimensions} {seed} {BATCH}",
        progress=False,
    )
    return done.model.w.detach().numpy()


def dimensions_of(w):
    """Return the dimensions that each kept feature has: |W_i|^2 / sum_j (W_i/|W_i| . W_j)^2."""
    norm = np.linalg.norm(w, axis=0)
    kept = norm > 0.5
    unit = w[:, kept] / norm[kept]
    return norm[kept] ** 2 / ((unit.T @ w) ** 2).sum(1)


def near(values):
    """Return which are near the value of a polytope with more than one vertex."""
    return np.abs(values[:, None] - POLYTOPES[1:]).min(1) < NEAR


if __name__ == "__main__":
    densities = np.repeat(DENSITIES, COPIES)
    w = trained(densities)
    kept = (np.linalg.norm(w, axis=1) > 0.5).sum(1)
    sparse = [dimensions_of(x) for x, d in zip(w, densities, strict=True) if d < 0.3]
    rng, random = np.random.default_rng(SEED), []
    for x in w[densities < 0.3]:
        drawn = rng.standard_normal(x.shape)
        drawn *= np.linalg.norm(x, axis=0) / np.linalg.norm(drawn, axis=0)
        random.append(dimensions_of(drawn))
    pairs = np.concatenate([np.eye(DIMENSIONS), -np.eye(DIMENSIONS)], 1)
    planted = [dimensions_of(pairs + 0.01 * rng.standard_normal(pairs.shape)) for _ in random]
    share, chance, power = ([near(x).mean() for x in part] for part in (sparse, random, planted))
    p = [mannwhitneyu(x, chance, alternative="greater").pvalue for x in (share, power)]

    figure, axes = panels(2)
    axes[0].plot(1 / densities, kept, "o")
    axes[0].axhline(DIMENSIONS, color="#999999")
    axes[0].set(xscale="log", xlabel="1 / density", ylabel="features kept")
    axes[1].hist([np.concatenate(sparse), np.concatenate(random)], 60, label=["trained", "random"])
    axes[1].set(xlabel="dimensions of a feature", ylabel="features")
    axes[1].legend()
    save_figure(figure, "out/testbeds/superposition.png")
    nissl.claim(
        "superposition",
        system=148,
        says="Sparse features are kept in superposition, which begins with sparsity, and lie as "
        "uniform polytopes.",
        measured={
            "at_polytopes": np.mean(share),
            "p": p[0],
            "kept_sparse": kept[densities < 0.05].mean(),
            "kept_dense": kept[densities > 0.99].mean(),
        },
        null={"at_polytopes": np.mean(chance), "dimensions": DIMENSIONS},
        power={"at_polytopes": np.mean(power), "p": p[1]},
        rule="at_polytopes > null.at_polytopes + 0.3 and p < 0.01",
        data=f"{FEATURES} features in {DIMENSIONS} dimensions, {len(densities)} models of "
        f"densities 1 to 0.01; kept: norm above 0.5; at polytopes: within {NEAR} of 1/2, 2/3, 3/4, "
        "2/5, 3/8, where density is below 0.3; power: pairs of opposites, with noise",
    )
