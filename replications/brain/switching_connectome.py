"""One-hot prior HMM-GLM (system 31): one connectome, used at other strengths asleep and awake.

Spikes of fifteen cells of a mouse, ten minutes asleep and ten awake, are regressed on what all had
done in the second before, in two to four hidden states: with one graph of inhibition and excitation
for all states (one-hot prior) and with weights of each state by themselves (plain HMM-GLM). Both
are judged by a quarter of the recording that was not fitted, four times. No fit knows who sleeps:
states are held against the labels afterwards, and against labels shifted in time. Counts of as many
cells at their rates are drawn from a planted graph whose strengths switch between two states.
"""

import numpy as np
from scipy.stats import spearmanr

import nissl
from nissl.brain import SharedGlm, connectivity
from nissl.statistics import CircularShift, Glm, Past, average_precision, hidden_states
from nissl.statistics.figure import bar, heatmap, panels, save_figure

SEED, BIN, NUMBERS, FOLDS, SHIFTS = 0, 0.2, (2, 3, 4), 4, 999
PAST, STAY, EDGES, GAIN = Past(5, decay=0.5), 10.0, 0.2, (0.2, 1.0)  # STAY: seconds in a state


def planted(rates, n):
    """Return counts of cells at these rates, the state at each time, and the graph."""
    rng = np.random.default_rng(SEED)
    shape = (len(rates), len(rates))
    graph = rng.choice([-1, 0, 1], p=[EDGES / 2, 1 - EDGES, EDGES / 2], size=shape)
    strength = rng.uniform(0.3, 0.6, (2, *shape)) * rng.choice(GAIN, (2, 1, shape[1]))
    weights = graph * strength / np.sqrt(rates)  # of an input's deviations
    state = (np.cumsum(rng.random(n) < BIN / STAY) % 2).astype(int)
    kernel = PAST.decay ** np.arange(PAST.window, 0, -1)
    x = np.zeros((n + PAST.window, len(rates)))
    for t in range(n):
        drive = kernel / kernel.sum() @ x[t : t + PAST.window] - rates
        x[t + PAST.window] = rng.poisson(rates * np.exp(np.clip(weights[state[t]] @ drive, -2, 2)))
    return x[PAST.window :], state, graph


def shares(path, label):
    """Return the share of time in each state, (2, n_states), where the label is 0 and 1."""
    return np.stack(
        [np.bincount(path[label == k], minlength=4) / (label == k).sum() for k in (0, 1)]
    )


def named(path, label):
    """Return the accuracy of the best name for each state, both labels counting alike."""
    return 0.5 * shares(path, label).max(axis=0).sum()


def judged(x, label):
    """Return figures of the model with one graph and of the plain one, and both fits."""
    options = {"inputs": PAST, "n_folds": FOLDS, "n_starts": 1, "seed": SEED, "progress": False}
    sides, fits, order = [], [], CircularShift().draw(label, SHIFTS, seed=SEED)
    for emission in (SharedGlm(), Glm()):
        fit = hidden_states(x, NUMBERS, emission=emission, **options)
        one = hidden_states(x, [1], emission=emission, **options).held_out.to_numpy().mean()
        path, mean = fit.states(), fit.held_out.mean(axis=1)
        awake, shifted = named(path, label), [named(path, label[moved]) for moved in order]
        figures = {"held_out": mean.max(), "held_out_one_state": one, "states": mean.idxmax()}
        figures |= {f"held_out_{n}_states": mean[n] for n in NUMBERS}
        figures |= {"awake": awake, "awake_shifted": np.mean(shifted)}
        figures["awake_p"] = (1 + np.sum(np.array(shifted) >= awake - 1e-9)) / (1 + SHIFTS)
        sides.append(figures)
        fits.append(fit)
    best = [fit.held_out.loc[side["states"]] for fit, side in zip(fits, sides, strict=True)]
    sides[0]["held_out_folds"] = (best[0] > best[1]).mean()
    return sides, fits


def edges(fit):
    """Return how strong each edge is, and which way: cells by inputs, without a cell's own past."""
    w = getattr(fit.emission, "connectome", fit.emission.weights.mean(axis=0)).copy()
    np.fill_diagonal(w, np.nan)
    return w


cells = nissl.read("head-direction", bin=BIN)
awake = (cells["epoch"].values == "wake").astype(int)
(own, plain), fits = judged(cells.values, awake)
x, state, graph = planted(cells.values.mean(axis=0), len(cells))
power, planted_fits = judged(x, state)
correlation, upper = (
    connectivity(cells, test=None, progress=False).mean,
    np.triu_indices(len(graph), 1),
)
for side, fit in zip((own, plain), fits, strict=True):
    side["ensemble_r"] = spearmanr((edges(fit) + edges(fit).T)[upper], correlation[upper])[0]
for side, fit in zip(power, planted_fits, strict=True):
    strength = np.abs(edges(fit))[~np.eye(len(graph), dtype=bool)]
    there = (graph != 0)[~np.eye(len(graph), dtype=bool)]
    side["edges"] = float(average_precision(strength[:, None], there)[0])

figure, axes = panels(3)
heatmap(edges(fits[0]), label="excites, inhibits", axes=axes[0]).set(xlabel="from", ylabel="to")
above = {
    f"{name}, {n} states": side[f"held_out_{n}_states"] - plain["held_out_one_state"]
    for n in NUMBERS
    for name, side in (("one graph", own), ("plain", plain))
}
bar(above, axes=axes[1]).set(ylabel="held-out nats a bin, above one plain state")
heatmap(shares(fits[0].states(), awake), label="share of time", numbers=True, axes=axes[2])
axes[2].set(xlabel="state", yticks=(0, 1), yticklabels=("asleep", "awake"))
save_figure(figure, "out/brain/switching_connectome.png")

nissl.claim(
    "switching_connectome",
    system=31,
    says="A state-switching regression whose states share one learned graph predicts spikes better "
    "than one whose states have weights by themselves.",
    measured=own | {f"planted_{k}": power[0][k] for k in ("edges", "awake")},
    null=plain | {f"planted_{k}": power[1][k] for k in ("edges", "awake")},
    power=power[0] | {f"null.{k}": v for k, v in power[1].items()},
    rule="held_out > null.held_out and held_out > held_out_one_state and held_out_folds >= 0.75",
    data=f"head-direction: 15 cells, {len(cells):,} bins of {BIN} s. held_out: nats a bin at the "
    "best of 2 to 4 states; null: the plain HMM-GLM; folds: the share of quarters where it is "
    "better. awake: balanced accuracy of naming states, p by labels shifted in time. ensemble_r: "
    "edges of two cells against their correlation. planted: a graph in counts of the same rates",
)
