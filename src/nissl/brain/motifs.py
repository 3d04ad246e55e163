"""Spiking motifs: patterns of spikes at delays of their own, planted in rasters and detected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.methods import method
from nissl.progress import tracked
from nissl.statistics import Finding, JitteredSpikes, Test, against_null, folds
from nissl.statistics.series import lagged_counts, read_series, run_starts

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["Motifs", "motifs", "planted_motifs"]

Array = NDArray[np.floating[Any]]
FOLDS = 5  # blocks of time, read by what was fitted at least the delays away
LEAST, CALM = 5, 10  # onsets to learn a motif from; jittered rasters that set a threshold


def planted_motifs(
    n_samples: int = 10_000,
    shape: tuple[int, int, int] = (3, 20, 25),
    *,
    rate: float = 0.02,
    onset_rate: float = 0.01,
    strength: float = 4.0,
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], Array]:
    """Draw a raster: spikes are Bernoulli(sigmoid(bias + motifs convolved with their onsets)).

    Parameters
    ----------
    n_samples : int
        How many.
    shape : tuple of three int
        Motifs, units and delays. A unit has one delay in every motif: motifs have equal counts.
    rate, onset_rate : float
        Probability of a spike where there is no motif, and of an onset, in a sample.
    strength : float
        By how much the log-odds of a spike rise at its delay; one sample off by 0.6 of that.
    seed : int
        The seed.

    Returns
    -------
    spikes, onsets, motifs : arrays, (n_samples, n_units), (n_samples, n_motifs), `shape`
        Motifs in log-odds.
    """
    rng = np.random.default_rng(seed)
    delay = rng.integers(0, shape[2], (*shape[:2], 1))
    planted = strength * np.exp(-((np.arange(shape[2]) - delay) ** 2) / 2)
    onsets = rng.random((n_samples, shape[0])) < onset_rate
    odds = np.full((n_samples, shape[1]), np.log(rate / (1 - rate)))
    for d in range(min(shape[2], n_samples)):
        odds[d:] += onsets[: n_samples - d] @ planted[:, :, d]
    return (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).astype(np.int64), onsets, planted


@dataclass(frozen=True)
class Motifs:
    """Detectors of motifs: a finding, and kernels (n_motifs, n_units, n_delays) in log-odds."""

    finding: Finding
    kernels: Array


@method(system=240)
def motifs(
    rec: Recording | ArrayLike,
    onsets: ArrayLike,
    *,
    n_delays: int = 25,
    penalty: float = 1.0,
    level: float = 0.001,
    test: Test = Test(),
    progress: bool = True,
) -> Motifs:
    """Detect motifs by logistic regression on the spikes of all units at all delays.

    Parameters
    ----------
    rec : Recording or array, shape (n_samples, n_units)
        Counts of spikes in short bins, in the order of time.
    onsets : array of bool, shape (n_samples,) or (n_samples, n_motifs)
        Where each motif begins.
    n_delays : int
        Samples from the onset on.
    penalty : float
        On half the sum of squared weights.
    level : float
        The share of samples of jittered spikes that may pass the threshold.
    test : Test
        `JitteredSpikes`, 99 draws; its window is of `n_delays`, in samples where there is no time.
    progress : bool
        Show a bar.

    Returns
    -------
    Motifs
        A row for each motif: average precision in time that was left out, null, p; ``by_rate``:
        that of counts in the window; ``hits`` and ``false_alarms``: shares of onsets, and of
        samples of jittered spikes, above the threshold.

    Raises
    ------
    NisslError
        Activity is no count, onsets do not fit, or a motif has fewer than 5 in a fit.

    Source: Grimaldi and Perrinet 2023, Biological Cybernetics 117, 389; the null is ours.

    Examples
    --------
    >>> spikes, onsets, _ = planted_motifs(2000, (1, 8, 25), seed=1)
    >>> table = motifs(spikes, onsets, test=Test(19), progress=False).finding.table
    >>> bool(table["average_precision"][0] > table["by_rate"][0])
    True
    """
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score
    from sklearn.multiclass import OneVsRestClassifier

    x, _, stretch, rate = read_series(rec, least_units=1)
    y = np.atleast_2d(np.asarray(onsets).T).T
    if (x < 0).any() or (x % 1).any() or len(y) != len(x) or not np.isin(y, (0, 1)).all():
        raise NisslError("spikes are no counts, or onsets not 0 or 1 a sample", do="bin them")
    parts = folds(n_samples=len(x), n=FOLDS, gap=n_delays)
    if (least := min(int(y[train].sum(axis=0).min()) for train, _ in parts)) < LEAST:
        raise TooFewSamples(f"a motif has {least} onsets in a fit", do=f"give {LEAST} or more")
    n, scale, starts = test.draws(99), rate or 1.0, run_starts(stretch)
    null = test.null_or(JitteredSpikes(n_delays / scale), JitteredSpikes)
    moved = JitteredSpikes(null.window and null.window * scale)  # in samples
    at, unit = (np.repeat(i, x[x > 0].astype(int)) for i in np.nonzero(x))
    how: Any = {"intervals": np.c_[starts, np.append(starts[1:], len(x))], "seed": test.seed}

    def jittered(d: int) -> Any:
        drawn = moved.draw(at + 0.5, 1, start=d, **how)[0].astype(np.int64)
        return lagged_counts(drawn, unit, stretch, x.shape[1], n_delays)

    def fitted(z: Any, rows: Any) -> Any:
        one = LogisticRegression(C=1 / penalty, max_iter=1000)
        return OneVsRestClassifier(one).fit(z[rows], y[rows])

    def read(fits: list[Any], z: Any, side: int = 1) -> list[Array]:
        pairs = zip(fits, parts, strict=True)
        return [fit.decision_function(z[p[side]]).reshape(len(p[side]), -1) for fit, p in pairs]

    def precision(told: Array) -> Array:
        return np.array([average_precision_score(a, b) for a, b in zip(y.T, told.T, strict=True)])

    z = lagged_counts(at, unit, stretch, x.shape[1], n_delays)
    counts = z @ sparse.kron(sparse.eye(x.shape[1]), np.ones((n_delays, 1)), format="csr")
    fits, rates = ([fitted(v, train) for train, _ in parts] for v in (z, counts))
    calm = [read(fits, jittered(n + d), 0) for d in range(CALM)]  # trained on; draws of their own
    high = [np.quantile(np.concatenate(one), 1 - level, axis=0) for one in zip(*calm, strict=True)]
    cut = np.repeat(high, [len(rest) for _, rest in parts], axis=0)
    told = np.concatenate(read(fits, z))  # folds are blocks in the order of time
    drawn, alarms = [], np.zeros(y.shape[1])
    for d in tracked(range(n), "Jittering", unit="draws", progress=progress):
        null_told = np.concatenate(read(fits, jittered(d)))
        drawn.append(precision(null_told))
        alarms += (null_told > cut).mean(axis=0) / n
    about: Any = {"score": "average_precision", "method": "motifs", "null": null.name}
    about["units"] = [f"motif[{k}]" for k in range(y.shape[1])]
    finding = against_null(precision(told), drawn, alternative="greater", test=test, **about)
    finding = finding.assign(
        by_rate=precision(np.concatenate(read(rates, counts))),
        hits=((told > cut) & (y == 1)).sum(axis=0) / y.sum(axis=0),
        false_alarms=alarms,
    )
    kernels = np.stack([m.coef_[0] for m in fitted(z, slice(None)).estimators_])
    return Motifs(finding, kernels.reshape(y.shape[1], x.shape[1], n_delays))
