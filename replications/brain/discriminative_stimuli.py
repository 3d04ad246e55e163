"""Most discriminative stimuli (system 155): types of cells from the stimuli that tell them.

The paper clusters models of cells of retina and V4. Its recordings are not here, so the retina is
planted: 80 cells of four types (on and off, sustained and transient), of linear filters in space
and time and a softplus. Cells of a type differ in position, size, surround, speed, gain, threshold,
and half of each filter's power is noise of its own. Stimuli are made for two thirds of the cells;
the rest are assigned by the four stimuli alone. That is held against k-means on responses to as
many stimuli drawn at random, and against cells whose filters are shuffled. Then channels of a real
vision network are clustered, beside networks of fresh weights.
"""

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import nn

import nissl
from nissl.brain import discriminative_stimuli
from nissl.network.gradients import Ascent
from nissl.statistics import ReinitialisedNetwork
from nissl.statistics.figure import save_figure

SEED, CELLS, TYPES, FRAMES, SIZE, INPUTS, DRAWS = 0, 80, 4, 12, 9, 64, 20
SITE, IMAGE, CLUSTERS, FRESH = "blocks.3.expand.conv", 48, 4, 4


def retina(seed, *, shuffled=False):
    """Return a network of cells, and the type of each."""
    rng = np.random.default_rng([seed, 155])
    kind = rng.permutation(np.arange(CELLS) % TYPES)
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    frames, filters = np.arange(FRAMES)[::-1], []
    for one in kind:
        dy, dx = rng.uniform(-1, 1, 2)
        far = (y - dy) ** 2 + (x - dx) ** 2
        wide, surround, slow = rng.uniform(1, 1.5), rng.uniform(0.3, 0.7), rng.uniform(1.5, 2)
        space = np.exp(-far / 2 / wide**2) - surround * np.exp(-far / 8 / wide**2) / 4
        course = frames / slow * np.exp(1 - frames / slow)
        if one >= 2:  # transient: less of the same, later
            course = course - frames / slow / 2 * np.exp(1 - frames / slow / 2)
        filters.append((1 - 2 * (one % 2)) * course[:, None, None] * space)
    weights = np.reshape(filters, (CELLS, -1))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    weights += rng.standard_normal(weights.shape) / weights.shape[1] ** 0.5
    if shuffled:
        weights = rng.permuted(weights, axis=1)
    gain, threshold = np.exp(0.5 * rng.standard_normal((CELLS, 1))), rng.random(CELLS)
    model = nn.Sequential(nn.Flatten(), nn.Linear(weights.shape[1], CELLS), nn.Softplus())
    model[1].weight.data = torch.tensor(gain * weights, dtype=torch.float32)
    model[1].bias.data = -torch.tensor(threshold, dtype=torch.float32)
    return nissl.load(model), kind


def by_random_stimuli(net, kind, held, seed):
    """Return how well k-means finds the types of held-out cells from random stimuli."""
    shown = np.random.default_rng(seed).standard_normal((TYPES, FRAMES, SIZE, SIZE))
    seen = [net.run(torch.tensor(x, dtype=torch.float32), sites="2")["2"] for x in (movies, shown)]
    scaled = ((seen[1] - seen[0].mean(0)) / seen[0].std(0)).T.numpy()
    label = KMeans(TYPES, n_init=10, random_state=seed).fit_predict(scaled)
    return adjusted_rand_score(kind[held], label[held])


movies = np.random.default_rng(SEED).standard_normal((INPUTS, FRAMES, SIZE, SIZE))
how = {"seed": SEED, "progress": False}
net, kind = retina(SEED)
types = discriminative_stimuli(net, "2", movies, TYPES, **how)
held = types.table["held_out"].to_numpy()
label = types.table["cluster"].to_numpy()
kmeans = [by_random_stimuli(net, kind, held, seed) for seed in range(DRAWS)]
nets = [retina(seed, shuffled=True)[0] for seed in range(5)]
shuffled = [discriminative_stimuli(one, "2", movies, TYPES, **how).score for one in nets]
save_figure(types.plot(), "out/brain/discriminative_stimuli.png")

vision = nissl.load("efficientnet-lite0", progress=False)
noise = torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(SEED))
images = nn.functional.interpolate(noise, IMAGE, mode="bilinear").clamp(-0.9, 0.9).numpy()
fresh = [nissl.load(one) for one in ReinitialisedNetwork().draw(vision.model, FRESH, seed=SEED)]
how["ascent"] = Ascent(steps=15, limit=(-1.0, 1.0))
channels, *others = [
    discriminative_stimuli(one, SITE, images, CLUSTERS, **how) for one in (vision, *fresh)
]
save_figure(channels.plot(), "out/brain/discriminative_stimuli_vision.png")

nissl.claim(
    "discriminative_stimuli",
    system=155,
    says="Stimuli made to drive one cluster of cells alone find the functional types, and assign "
    "new cells by few stimuli.",
    measured={
        "ari": adjusted_rand_score(kind[held], label[held]),
        "score": types.score,
        "ari_of_all": adjusted_rand_score(kind, label),
        "vision_score": channels.score,
        "vision_clusters": len(channels.responses),
    },
    null={
        "ari": np.mean(kmeans),
        "score": max(shuffled),
        "vision_score": max(one.score for one in others),
        "vision_clusters": np.mean([len(one.responses) for one in others]),
    },
    rule="ari > 0.8 and ari > null.ari + 0.2",
    data=f"planted: {CELLS} cells of {TYPES} types, movies of {FRAMES} x {SIZE} x {SIZE}; score: "
    f"mean margin, in deviations over {INPUTS} movies of noise, of {held.sum()} cells for which no "
    f"stimulus was made. Null of ari: k-means on responses to {TYPES} random movies, mean of "
    f"{DRAWS} draws; of score: the best of 5 retinas with shuffled filters. efficientnet-lite0, "
    f"{SITE}, against the best of {FRESH} networks of fresh weights",
)
