"""Augmented covariance (system 12): the past of channels tells more than their covariance.

Slow potentials and the half second before a key is pressed (EEG), directions of the hand (MEG).
Trials are centred, averaged over neighbouring samples and put into a random order (the files come
sorted by class). Covariances with and without delayed copies go through the same shrinkage, tangent
space, logistic regression and folds; order and lag are chosen in the trials that are fitted. Null:
labels moved inside folds, for both. Power: labels at random, and a source that one channel follows
and another goes before, or the other way around.
"""

import numpy as np

import nissl
from nissl.brain import AugmentedCovariance, decode
from nissl.recording import as_recording
from nissl.statistics import Test
from nissl.statistics.figure import bar, save_figure

SEED, FOLDS, DRAWS, LATE, SIZE = 0, 4, 5, 4, 0.3
HAND = ["FC3", "FC4", "C5", "C3", "C1", "C2", "C4", "C6", "CP3", "CP4"]
SETS = {  # the label, the channels, how many samples are averaged
    "scp1": ("polarity", None, 4),
    "finger-movements": ("hand", HAND, 1),
    "hand-direction": ("direction", None, 4),
}
ARMS = {"augmented": AugmentedCovariance((1, 2, 3), (1, LATE)), "plain": AugmentedCovariance(1)}


def trials(name):
    """Return trials (n_trials, n_times, n_channels), each centred, and their labels."""
    label, channels, step = SETS[name]
    rec = nissl.read(name)
    n = len(np.unique(rec["trial"]))
    if channels:
        rec = rec[:, np.isin(rec["channel"].values, channels)]
    x = rec.values.reshape(n, -1, step, rec.sizes["unit"]).mean(2)
    codes = np.unique(rec[label].values.reshape(n, -1)[:, 0], return_inverse=True)[1]
    order = np.random.default_rng(SEED).permutation(n)
    return (x - x.mean(1, keepdims=True))[order], codes[order]


def planted(x, y, rng):
    """Return trials with another trial's channel in two, later in one of them, and labels."""
    y = rng.permutation(y)
    # Of a random sign, since trials have a time course in common.
    source = x[rng.permutation(len(x)), :, 2:3] * rng.choice([-1, 1], (len(x), 1, 1))
    pair = [source, np.roll(source, LATE, axis=1)]
    added = np.where((y % 2 == 1)[:, None, None], np.dstack(pair), np.dstack(pair[::-1]))
    spread = x.std(1, keepdims=True)
    x = x.copy()
    x[:, :, :2] += SIZE * spread[:, :, :2] * added / added.std(1, keepdims=True)
    return x, y


def read(x, y, test):
    """Return what each arm reads from the same folds."""
    trial = np.repeat(np.arange(len(x)), x.shape[1])
    rec = as_recording(x.reshape(-1, x.shape[2]), samples={"trial": trial, "label": y[trial]})
    how = {"items": "trial", "folds": FOLDS, "kind": "classes", "test": test, "progress": False}
    return {arm: decode(rec, "label", model=model, **how) for arm, model in ARMS.items()}


rng = np.random.default_rng(SEED)
data = {name: trials(name) for name in SETS}
real = {name: read(*d, Test(DRAWS, seed=SEED)) for name, d in data.items()}
power = {name: read(*planted(*d, rng), None) for name, d in data.items()}


def gain(found):
    """Return how much more accurate the augmented arm is, the mean over sets."""
    return np.mean([f["augmented"].score - f["plain"].score for f in found.values()])


def gain_error(found):
    """Return its standard error over folds."""
    each = [f["augmented"].by_fold - f["plain"].by_fold for f in found.values()]
    return np.sqrt(np.mean([e.var() / FOLDS for e in each]) / len(each))


chance = {arm: [f[arm].finding.table["null_mean"][0] for f in real.values()] for arm in ARMS}
scores = {f"{name} {arm}": f[arm].score for name, f in real.items() for arm in ARMS}
save_figure(bar(scores).figure, "out/brain/augmented_covariance.png")

nissl.claim(
    "augmented_covariance",
    system=12,
    says="Riemannian classifiers of augmented covariances are more accurate than those of "
    "covariances.",
    measured={
        "gain": gain(real),
        "gain_error": gain_error(real),
        **{arm: [f[arm].score for f in real.values()] for arm in ARMS},
        **{f"{arm}_sd_of_folds": [f[arm].by_fold.std() for f in real.values()] for arm in ARMS},
    },
    null={"gain": np.mean(np.subtract(chance["augmented"], chance["plain"])), **chance},
    power={"gain": gain(power), "gain_error": gain_error(power)},
    rule="gain > null.gain + 0.02 and gain > 2 * gain_error",
    data=f"{', '.join(SETS)}: {[x.shape for x, _ in data.values()]} trials, times and channels; "
    f"accuracies (means over classes) in {FOLDS} folds of trials in random order; order 1 to 3, "
    f"lag 1 or {LATE} samples by three inner folds. Null: {DRAWS} labellings. Power: another "
    f"trial's channel at {SIZE} standard deviations in two channels, {LATE} samples later in one",
)
