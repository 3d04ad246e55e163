"""Stochastic shape metrics (system 277): networks told apart by their noise, and by means alone.

Variational autoencoders learn MNIST with eight weights of the prior, from three seeds each. Each
answers the same digits with samples of its latent units. The weight is read from the three nearest
networks, by distances of means and noise, of means alone, and of noise alone. For power, networks
of the same means, whose noise grows with the weight. The null: weights of other networks.
"""

from itertools import combinations

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

import nissl
from nissl.alignment import StochasticShape
from nissl.statistics.figure import heatmap, panels, save_figure
from nissl.training import Batches, train

SEED, WEIGHTS, N_SEEDS, LATENT, WIDTH, STEPS = 0, np.geomspace(0.25, 16, 8), 3, 8, 128, 600
N_SHOWN, N_REPEATS, NEAREST, BATCH = 30, 20, 3, 128
ALPHAS = {"means and noise": 1.0, "means": 2.0, "noise": 0.0}


class Autoencoder(nn.Module):
    """An encoder that gives means and logarithms of variances, and a decoder."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2 * LATENT))
        self.decoder = nn.Sequential(nn.Linear(LATENT, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 784))

    def forward(self, x):
        """Return a sample of the latent units, their means and logarithms of variances."""
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean + (log_variance / 2).exp() * torch.randn_like(mean), mean, log_variance


def learned(weight, seed):
    """Train an autoencoder; seconds the first time."""

    def loss(model, batch):
        z, mean, log_variance = model(batch[0])
        made = cross_entropy(model.decoder(z), batch[0], reduction="sum")
        prior = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2
        return (made + weight * prior) / len(z)

    torch.manual_seed(seed)
    batches = Batches(pixels[~digits.test], batch_size=BATCH, seed=seed)
    return train(Autoencoder(), batches, loss=loss, steps=STEPS, seed=seed, progress=False).model


def distances(responses, alpha):
    """Return distances of every two networks."""
    by, found = StochasticShape(alpha, n_starts=6), np.full((len(responses),) * 2, np.inf)
    sides = [by.normalise(by.prepare(x)) for x in responses]
    for i, j in combinations(range(len(responses)), 2):
        found[i, j] = found[j, i] = by.score(sides[i], sides[j])
    return found


def errors(apart, truth):
    """Return the squared error of each network's weight, read from those that are nearest."""
    nearest = np.argsort(apart, axis=1)[:, :NEAREST]
    return (truth[nearest].mean(1) - truth) ** 2


def read(responses):
    """Return how well the weight is read from each distance, p, the null and the distances."""
    apart = {name: distances(responses, alpha) for name, alpha in ALPHAS.items()}
    missed = {name: errors(d, truth) for name, d in apart.items()}
    figures = {f"r2_{name}": 1 - m.mean() / truth.var() for name, m in missed.items()}
    gain = missed["means"] - missed["means and noise"]
    flipped = (rng.choice([-1, 1], (9999, len(gain))) * gain).mean(1)
    figures["p"] = (1 + (flipped >= gain.mean() - 1e-12).sum()) / 10_000
    null = [errors(apart["means and noise"], rng.permutation(truth)).mean() for _ in range(999)]
    figures["r2"] = figures.pop("r2_means and noise")
    return figures, {"r2": 1 - np.mean(null) / truth.var()}, apart


rng, digits = np.random.default_rng(SEED), nissl.read("mnist")
pixels = torch.from_numpy(digits.values.reshape(-1, 784)).float() / 255
shown = pixels[digits.test][:N_SHOWN, None].expand(-1, N_REPEATS, -1)
truth, responses = np.repeat(np.log2(WEIGHTS), N_SEEDS), []
with torch.random.fork_rng(), torch.no_grad():
    for i, weight in enumerate(truth):
        with torch.enable_grad():
            model = learned(float(2**weight), i % N_SEEDS)
        torch.manual_seed(i)
        responses.append(model(shown)[0].numpy())
figures, null, apart = read(responses)

mean = responses[0].mean(1, keepdims=True)
noise = rng.standard_normal((len(truth), *responses[0].shape))
sizes = responses[0].std() / 4 * 2 ** (truth / 4)
planted = list(mean + sizes[:, None, None, None] * noise)
power, _, _ = read(planted)

figure, axes = panels(2)
names = [f"{2**w:.2g}" for w in truth]
for ax, name in zip(axes, ("means and noise", "means"), strict=True):
    np.fill_diagonal(apart[name], 0)
    heatmap(pd.DataFrame(apart[name], names, names), axes=ax).set_title(f"distance by {name}")
save_figure(figure, "out/alignment/stochastic_shape.png")

nissl.claim(
    "stochastic_shape",
    system=277,
    says="Hyperparameters of a network are predicted better from its place among stochastic shapes "
    "than from that among shapes of its means.",
    measured=figures,
    null=null,
    rule="r2 > r2_means and p < 0.05 and r2 > null.r2 + 0.3",
    power=power,
    data=f"MNIST: {len(truth)} variational autoencoders, weights of the prior from {WEIGHTS[0]:g} "
    f"to {WEIGHTS[-1]:g}; {N_SHOWN} digits, {N_REPEATS} samples of {LATENT} latent units: r2 "
    f"of the weight's log, read from the {NEAREST} nearest networks; p: signs of gains flipped",
)
