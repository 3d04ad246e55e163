"""Make the page of the brain: `python docs/make_brain.py`."""

from __future__ import annotations

import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import nissl
from nissl import Test
from nissl.brain import AugmentedCovariance, connectivity, decode, encode, tuning
from nissl.cli.printing import markdown
from nissl.recording import clean
from nissl.statistics.connectivity_measures import MEASURES

HEAD = """# The brain

Spikes, calcium, voxels, EEG and MEG are recordings as a network's activity is: units, samples, and
coordinates of both. This room asks of them what neuroscientists ask.

<!-- not run: minutes; the gallery decodes and tunes, tests run the rest -->
```python
bold = nissl.recording.clean(nissl.read("haxby"), by="run", detrend=True, standardise=True)
nissl.brain.decode(bold, "category", folds="run").plot()  # by run, confusion, p
cells = nissl.read("head-direction")
nissl.brain.tuning(cells, to="head_direction").plot()  # polar, Hz, null band, bits per spike
nissl.brain.encode(features, bold, on="stimulus", folds="run").plot()  # a map
nissl.brain.connectivity(bold, measure="correlation", by="run").plot()
nissl.statistics.hidden_states(cells, [1, 2, 3], emission="poisson").plot()
```

The same from a shell, each writing a figure and a table: `nissl brain decode | tuning | encode |
connectivity PATH`.

| to | use |
|---|---|
| see spikes | `raster`, by time or around events, with the rate above |
| say what a cell is tuned to | `tuning`: angles, lines, maps; bits per spike, a shifted null |
| read a coordinate from cells | `tuning(...).decode`: Bayes' rule |
| read labels from anything | `decode`: classes, numbers, angles, vectors; any estimator |
| see when a code is there, and stays | `generalise` over times of a trial |
| read trials of EEG and MEG by covariance | `decode(..., model=AugmentedCovariance())` |
| read a recording that goes on, with an idle class | `pseudo_online`: sliding windows |
| predict responses | `encode`, with `delays`, bands of features, ceiling, map |
| let place matter | `readout="factorised"`, `"attention"`, `"modulated"` |
| say which units go together | `connectivity`: measures over runs and windows |
| say which causes which, and what changed | `cdnod`: over time, or over domains |
| tell subjects by their networks | `network_features`, `nissl.statistics.masked_lda` |
| find types of cells, and a stimulus for each | `discriminative_stimuli`, on `net.synthesise` |
| find motifs of spikes; communities that change | `motifs`, `dynamic_connectome` |
| bring worms into one order of neurons | `nissl.read("worm-connectomes")`, `worm_activity` |
| draw sensors on the head | `nissl.statistics.topography`, `finding.plot("topography")` |
| follow states | `nissl.statistics.hidden_states`; `SharedGlm`: one graph of edges for all states |

**Nulls.** Labels are moved inside folds, in whole blocks where they come in blocks, shifted where
they are continuous; series are shifted against each other; spikes jittered. Samples that hang
together are not permuted one by one: that is refused, and the right null is named. Place and
direction are tied on a maze: a cell tuned to one is often found tuned to the other.

A readout is a file of `nissl.brain.readouts` of under forty lines, a measure of connectivity a
function. Which of the papers' claims hold here is in [Claims](claims.md). Two pages of the gallery
spend a day with a mouse and a day with Haxby.

This page is made by `python docs/make_brain.py`.
"""
DECODERS = """
## Decoders

Classes are read by run, or from five blocks of trials; the score is the accuracy, a mean over
classes. Ridge is ours, its penalty chosen inside the training folds, as are order and lag of the
augmented covariance (pyriemann's tangent space); the others are scikit-learn's at their defaults,
on standardised units. CPU seconds are of all folds, without a null, on one core
beside other work. Power is the log of the variance of each channel in the trial.

"""
ENCODERS = """

## Encoders

Correlation of predicted and measured responses, the mean over the best tenth of the voxels of Haxby
and the share of voxels with q <= 0.05 (199 draws), each run left out.

"""
LEVEL = """

## False positives and power

The share of data sets with p <= 0.05. False positives: nothing is in them (200 sets; 0.05 of 200 is
between 0.02 and 0.08). Power: something small or large is (100 sets). Decoders have 60 samples of
five units in six runs (19 draws); one unit follows the label by 0.3 or 0.6 of its own spread.
Connectivity has two series of 300 samples that forget by 0.8 a sample (39 draws); 0.1 or 0.3 of the
first is added to the second a sample later. Tuning has a cell that fires once a bin while an angle
drifts, 1,000 bins (39 draws); its rate rises and falls by 0.1 or 0.2.

"""
BANDS = ("coherence", "phase_locking")  # measures of a band of frequencies
KINDS = ("classes", "numbers", "angles")


def power(x: Any) -> Any:
    """Return the log of the variance of each channel of each trial."""
    return np.log(x.var(-1))


def flat(x: Any) -> Any:
    """Return trials as rows."""
    return x.reshape(len(x), -1)


def decoders() -> list[dict[str, str]]:
    """Return a row for each data set and decoder."""
    bold = clean(nissl.read("haxby"), by="run", detrend=True, standardise=True)
    sets: dict[str, Any] = {
        "haxby, 8 categories": (bold[bold["category"].values != "rest"], "category", "run", None),
        "eyes, open or shut": (nissl.read("eyes"), "eyes", 5, "trial"),
        "finger-movements, left or right": (nissl.read("finger-movements"), "hand", 5, "trial"),
    }
    rows = []
    for said, (rec, label, folds, items) in sets.items():
        first = [] if items is None else [FunctionTransformer(flat)]
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        models: dict[str, Any] = {
            "ridge": "ridge",
            "logistic": make_pipeline(*first, StandardScaler(), LogisticRegression(max_iter=1000)),
            "discriminant, shrunk": make_pipeline(*first, StandardScaler(), lda),
        }
        if items is not None:
            models["discriminant of power"] = make_pipeline(FunctionTransformer(power), lda)
            models["covariance, Riemannian"] = AugmentedCovariance(order=1)
            models["augmented covariance"] = AugmentedCovariance()
        for name, model in models.items():
            begin = time.process_time()
            how: Any = {"folds": folds, "items": items, "test": None, "progress": False}
            score = decode(rec, label, model=model, **how).score
            seconds = time.process_time() - begin
            rows.append(
                {
                    "data": said,
                    "decoder": name,
                    "accuracy": f"{score:.2f}",
                    "chance": f"{1 / len(np.unique(rec[label].values)):.2f}",
                    "seconds": f"{seconds:.1f}",
                }
            )
            print(rows[-1], flush=True)
    return rows


def encoders() -> list[dict[str, str]]:
    """Return a row for each set of features and delays."""
    bold = clean(nissl.read("haxby"), by="run", detrend=True, standardise=True)
    names = np.unique(bold["category"].values[bold["category"].values != "rest"])
    design = (bold["category"].values[:, None] == names).astype(float)
    rest = design.sum(1, keepdims=True)
    rng = np.random.default_rng(0)
    features = {
        "categories": design,
        "something or rest": rest,
        "noise": rng.standard_normal(design.shape),
    }
    rows = []
    for name, x in features.items():
        for delays in ((0,), (1, 2, 3)):
            begin = time.process_time()
            how: Any = {"folds": "run", "delays": delays, "progress": False}
            table = encode(x, bold, test=Test(n_permutations=199), **how).table
            best = table["correlation"].nlargest(len(table) // 10).mean()
            rows.append(
                {
                    "features": name,
                    "delays": ", ".join(map(str, delays)),
                    "best tenth": f"{best:.2f}",
                    "q <= 0.05": f"{(table['q'] <= 0.05).mean():.2f}",
                    "seconds": f"{time.process_time() - begin:.1f}",
                }
            )
            print(rows[-1], flush=True)
    return rows


def series(n: int, width: int, seed: int) -> Any:
    """Return independent series that forget by 0.8 a sample."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n + 50, width))
    for t in range(1, len(x)):
        x[t] += 0.8 * x[t - 1]
    return x[50:]


def decoded(kind: str, size: float, seed: int) -> float:
    """Return p of a decoder of 60 samples, whose first unit follows the label by ``size``."""
    run, rng = np.repeat(np.arange(6), 10), np.random.default_rng(seed)
    label = np.concatenate([rng.permutation(10) % 2 for _ in range(6)])
    label = label if kind == "classes" else rng.uniform(-3, 3, 60)
    x = rng.standard_normal((60, 5))
    follows = np.cos(label) if kind == "angles" else label
    x[:, 0] += size * (follows - follows.mean()) / follows.std()
    quick = Test(n_permutations=19)
    found = decode(x, label, folds=run, kind=kind, test=quick, progress=False)
    return float(found.finding.table["p"][0])


def connected(name: str, size: float, seed: int) -> float:
    """Return p of an edge from a series to another, which follows it a step later."""
    band: dict[str, Any] = {"band": (0.5, 2.0)} if name in BANDS else {}
    if name == "coherence":
        band["segment"] = 64
    x = series(300, 2, seed)
    x[1:, 1] += size * x[:-1, 0]
    rec = nissl.recording.as_recording(x, samples={"time": np.arange(300) * 0.1})
    quick = Test(n_permutations=39, seed=seed)
    found = connectivity(rec, measure=name, test=quick, progress=False, **band)
    return float(found.edges.table["p"][0])


def tuned(size: float, seed: int) -> float:
    """Return p of a cell whose rate, one a bin, goes up and down by ``size`` with an angle."""
    rng = np.random.default_rng(seed)
    angle = np.cumsum(rng.standard_normal(1000) * 0.3) % (2 * np.pi)
    rate = 1 + size * np.cos(angle - 1)
    cell = nissl.recording.as_recording(
        rng.poisson(rate[:, None]),
        samples={"time": np.arange(1000) * 0.1, "angle": angle},
        quantity="spikes",
        attrs={"bin": 0.1},
    )
    quick = Test(n_permutations=39, seed=seed)
    found = tuning(cell, "angle", period=2 * np.pi, test=quick, progress=False)
    return float(found.finding.table["p"][0])


def level() -> list[dict[str, str]]:
    """Return false positives and power of decoders, measures of connectivity and tuning."""
    methods: dict[str, tuple[Any, tuple[float, float]]] = {
        **{f"`decode`, {kind}": (partial(decoded, kind), (0.3, 0.6)) for kind in KINDS},
        **{f"`connectivity`, {name}": (partial(connected, name), (0.1, 0.3)) for name in MEASURES},
        "`tuning`": (tuned, (0.1, 0.2)),
    }
    rows = []
    for name, (p_of, sizes) in methods.items():
        row = {"method": name}
        for said, size, sets in zip(
            ("false positives", "power, small", "power, large"),
            (0.0, *sizes),
            (200, 100, 100),
            strict=True,
        ):
            p = np.array([p_of(size, seed) for seed in range(sets)])
            row[said] = f"{np.mean(p <= 0.05):.3f}" if size == 0 else f"{np.mean(p <= 0.05):.2f}"
        rows.append(row)
        print(row, flush=True)
    return rows


def page() -> str:
    """Return the whole page; some five minutes on one core."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = (HEAD, DECODERS, markdown(decoders()), ENCODERS, markdown(encoders()))
        return "".join((*parts, LEVEL, markdown(level()))) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("brain.md").write_text(page(), encoding="utf-8")
