"""Spiking motifs (system 240): a weight for every cell and delay, against firing rates.

The paper plants motifs in synthetic rasters and learns to detect them. Here they are planted in
real spikes: 15 cells of a mouse that is awake, in bins of 10 ms. At every onset of a motif each
cell spikes once more, with a probability of 0.7, at a delay that is its own; all motifs add equally
many spikes, so that counts cannot tell one from another. Detectors learn from onsets in four fifths
of the time and read the rest. The same is done in a synthetic raster of the paper's kind.
"""

import numpy as np

import nissl
from nissl.brain import motifs, planted_motifs
from nissl.statistics import Test
from nissl.statistics.figure import bar, heatmap, panels, save_figure

SEED, SAMPLES, MOTIFS, DELAYS, ONSETS, KEPT, LEVEL = 0, 30_000, 3, 25, 0.004, 0.7, 0.001
TEST = Test(39, seed=SEED)


def planted_in(spikes):
    """Return spikes with motifs added, onsets, and where each cell spikes in each motif."""
    rng = np.random.default_rng(SEED)
    n_samples, n_cells = spikes.shape
    delay = rng.integers(0, DELAYS, (MOTIFS, n_cells))
    onsets = rng.random((n_samples, MOTIFS)) < ONSETS
    onsets[-DELAYS:] = False
    spikes, truth = spikes.copy(), np.zeros((MOTIFS, n_cells, DELAYS))
    for at, k in np.argwhere(onsets):
        cells = np.flatnonzero(rng.random(n_cells) < KEPT)
        spikes[at + delay[k, cells], cells] += 1
    truth[np.arange(MOTIFS)[:, None], np.arange(n_cells), delay] = 1
    return spikes, onsets, truth


def likeness(kernels, truth):
    """Return the least correlation of a learned kernel with the motif that was planted."""
    return min(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(kernels, truth, strict=True))


mouse = nissl.read("head-direction", bin=0.01)
awake = mouse.values[mouse["epoch"].values == "wake"][:SAMPLES].astype(int)
real, onsets, truth = planted_in(awake)
found = motifs(real, onsets, n_delays=DELAYS, level=LEVEL, test=TEST, progress=False)
none = motifs(awake, onsets, n_delays=DELAYS, level=LEVEL, test=TEST, progress=False)
drawn, there, planted = planted_motifs(10_000, (MOTIFS, 20, DELAYS), seed=SEED)
synthetic = motifs(drawn, there, n_delays=DELAYS, level=LEVEL, test=TEST, progress=False)
table, paper = found.finding.table, synthetic.finding.table

figure, axes = panels(3)
heatmap(found.kernels[0], label="log-odds", axes=axes[0]).set(title="learned", xlabel="delay")
heatmap(truth[0], label="spike", axes=axes[1]).set(title="planted", xlabel="delay")
bar(table.set_index("unit")[["average_precision", "by_rate"]], axes=axes[2])
save_figure(figure, "out/brain/motif_detection.png")

nissl.claim(
    "motif_detection",
    system=240,
    says="Learned delays detect spiking motifs that firing rates do not tell apart.",
    measured={
        "precision": table["average_precision"].min(),
        "false_alarms": table["false_alarms"].max(),
        "p": table["p"].max(),
        "hits": table["hits"].min(),
        "kernel_correlation": likeness(found.kernels, truth),
        "synthetic_precision": paper["average_precision"].min(),
        "synthetic_false_alarms": paper["false_alarms"].max(),
        "synthetic_kernel_correlation": likeness(synthetic.kernels, planted),
    },
    null={
        "precision": table["by_rate"].max(),
        "false_alarms": LEVEL,
        "p": none.finding.table["p"].min(),
        "hits": none.finding.table["hits"].max(),
        "synthetic_precision": paper["by_rate"].max(),
    },
    rule="precision > null.precision + 0.3 and p < 0.05",
    data=f"head-direction: {awake.shape[1]} cells awake, {SAMPLES} bins of 10 ms, {MOTIFS} motifs "
    f"of {DELAYS} delays planted (each cell's spike with probability {KEPT}), about "
    f"{int(onsets.sum() / MOTIFS)} onsets each. Precision: the least average precision of a motif "
    "in time left out; its null the best by the same detector on counts in the window. False "
    "alarms: share of samples of jittered spikes (windows of 250 ms) above the threshold, which is "
    "set on others; null of hits and p: nothing planted, the same onsets",
)
