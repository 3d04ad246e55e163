"""Retinal correlations (system 225): what adaptation does to pairwise correlations. Planted cells.

No retinal recording is to be had: cells are planted, some with the paper's finding (surround grows,
kernel gets faster, gain falls as stimuli are more correlated), others as they are in white noise.
"""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter
from scipy.stats import wilcoxon
from sklearn.datasets import load_sample_images

import nissl
from nissl.brain import connectivity, tuning
from nissl.statistics import delayed, ridge
from nissl.statistics.figure import bar, save_figure

SIZE, FRAMES, BIN, LAGS, POPULATIONS, SEED, CENTRE, AROUND = 32, 3000, 1 / 30, 10, 8, 1, 1.0, 3.0
BLUR, MEMORY, TOP, PAIRS = 3.0, 0.9, 90.0, np.triu_indices(16, 1)  # pixels; a frame; Hz


def movies():
    """Return each stimulus, (FRAMES, SIZE, SIZE), of mean 0 and deviation 1."""
    rng, parts = np.random.default_rng(SEED), []
    white = rng.standard_normal((FRAMES, SIZE, SIZE))
    spatial = gaussian_filter(white, (0, BLUR, BLUR), mode="wrap")
    for photo in load_sample_images().images:
        grey = np.log1p(photo[::4, ::4].mean(axis=2))
        room, step = np.array(grey.shape) - SIZE, rng.standard_normal((FRAMES // 2, 2))
        walk = 4 * gaussian_filter(step, (8, 0)).cumsum(0) + rng.uniform(0, room)
        at = np.abs(walk % (2 * room) - room).astype(int)
        parts += [grey[y : y + SIZE, x : x + SIZE] for y, x in at]
    both = lfilter([1], [1, -MEMORY], spatial, axis=0)
    each = {"white": white, "space": spatial, "space, time": both, "natural": np.stack(parts)}
    return {name: (m - m.mean()) / m.std() for name, m in each.items()}


def light(movie, places):
    """Return light in centre and surround of each cell, (FRAMES, n_cells, 2)."""
    y, x = np.mgrid[:SIZE, :SIZE]
    apart = (y - places[:, 0, None, None]) ** 2 + (x - places[:, 1, None, None]) ** 2
    w = np.stack([np.exp(-apart / (2 * sd**2)) / sd**2 for sd in (CENTRE, AROUND)], axis=1)
    return np.tensordot(movie, w / (2 * np.pi), ((1, 2), (2, 3)))


def drive(seen, space, time):
    """Return what drives cells that are adapted to correlations in space and in time."""
    t, slow = np.arange(LAGS), 1.2 - 0.5 * time
    first, second = (t**2 * np.exp(-t / tau) / (2 * tau**3) for tau in (slow, 1.7 * slow))
    kernel = first - (0.4 + 0.4 * time) * second
    return lfilter(kernel, 1, seen[..., 0] - (0.5 + 0.3 * space) * seen[..., 1], axis=0)


def spikes(seen, given, rng, *, adapt):
    """Return counts of spikes to each stimulus."""
    counts, usual = {}, drive(seen["white"], 0, 0).std()
    for name, m in given.items():
        near, next_ = np.mean(m[:, :, 3:] * m[:, :, :-3]), np.mean(m[1:] * m[:-1])
        driven = drive(seen[name], adapt * near, adapt * next_)
        z = driven / (driven.std() if adapt else usual)
        counts[name] = rng.poisson(TOP * BIN / (1 + np.exp(2 - 1.5 * z)))
    return counts


def spread(values):
    """Return how much a pair's correlation varies over stimuli: the deviation, mean over pairs."""
    return np.std([connectivity(x, test=None).mean[PAIRS] for x in values.values()], 0).mean()


def cell(seen, counts):
    """Return a cell's surround by its centre, mean delay in frames, gain: log rate by drive."""
    x, half, scale = delayed(seen / seen.std(0), range(LAGS)), FRAMES // 2, seen.std(0)
    weights = ridge(x[:half], counts[:half, None], progress=False).coefficients()[:, 0]
    centre, around = weights.reshape(LAGS, 2).T / scale[:, None]
    size = np.linalg.norm(centre)
    about = {"attrs": {"bin": BIN}, "samples": {"drive": x[half:] @ weights / size}}
    rec = nissl.recording.as_recording(counts[half:, None], quantity="spikes", **about)
    found = tuning(rec, "drive", n_bins=20, min_occupancy=1.0, test=None, progress=False)
    low = (found.curves[0] > 0) & (found.curves[0] < TOP / 3)  # where it is an exponential
    gain = np.polyfit(found.bins[0][low], np.log(found.curves[0][low]), 1)[0]
    return -around @ centre / size**2, centre**2 @ np.arange(LAGS) / size**2, gain


def changes(seen, counts, noise=("white", "space", "space, time")):
    """Return surround, delay and gain of the median cell where they change, by in white noise."""
    each = [[cell(seen[n][:, u], counts[n][:, u]) for u in range(16)] for n in noise]
    by_white = np.median(each, axis=1) / np.median(each[0], axis=0)
    return {"surround": by_white[1, 0], "delay": by_white[2, 1], "gain": by_white[1, 2]}


if __name__ == "__main__":
    given, spreads = movies(), []
    for k in range(POPULATIONS):
        rng = np.random.default_rng([SEED, k])
        places = np.mgrid[8:21:4, 8:21:4].reshape(2, 16).T + rng.uniform(-1, 1, (16, 2))
        seen = {n: light(m, places) for n, m in given.items()}
        both = [spikes(seen, given, rng, adapt=adapt) for adapt in (True, False)]
        spreads.append([spread(x) for x in (*both, {n: x[..., 0] for n, x in seen.items()})])
    adapted, fixed, inputs = np.array(spreads).T
    layer = nissl.load("alexnet", progress=False).model[0].requires_grad_(False)
    grey = {n: torch.tensor(m[::3, None]).float().expand(-1, 3, -1, -1) for n, m in given.items()}
    out = {n: layer(x)[..., ::2, ::2].flatten(2).numpy() for n, x in grey.items()}
    channels = [spread({n: x[:, c] for n, x in out.items()}) for c in range(64)]
    pixels = spread({n: m[::3, 3::8, 3::8].reshape(-1, 16) for n, m in given.items()})
    figures = {"spread": adapted.mean(), "fixed": fixed.mean(), "network": np.median(channels)}
    null = {"spread": inputs.mean(), "fixed": inputs.mean(), "network": pixels}
    axes = bar(figures, null=null).set(ylabel="deviation of correlations over stimuli")
    save_figure(axes[0].figure, "out/brain/retinal_correlations.png")
    figures["p"] = wilcoxon(adapted, fixed, alternative="less").pvalue
    nissl.claim(
        "retinal_correlations",
        system=225,
        says="Ganglion cells' correlations stay alike across stimuli, by gain, kernels, surrounds.",
        measured=figures | changes(seen, both[0]),
        null=null | changes(seen, both[1]),
        rule="spread < null.spread and spread < 0.8 * fixed and p < 0.01",
        data=f"planted, {POPULATIONS} x 16 cells; spread: of pairs' correlation by stimulus, null:"
        " light; surround, gain (space), delay (time) by white, null: fixed; network: null: pixels",
    )
