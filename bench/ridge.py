"""Ridge regression with a penalty for each target, beside himalaya's solver written out.

The peer is the published `solve_ridge_cv_svd`: an SVD a fold, a matrix from targets to predictions
for every penalty, batches of targets, and the refit. himalaya's kernel solver is the peer where
features outnumber samples, too. All arms in float32, with the same folds, penalties and choices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure import Row, interleaved
from nissl.statistics import folds, ridge

Array = NDArray[np.floating[Any]]
PENALTIES = np.logspace(-2, 7, 10, dtype=np.float32)
BATCH = 500  # targets
SHAPES = ((1000, 500, 5000), (2500, 1000, 2500), (500, 5000, 2000))


def run(rounds: int = 3) -> list[Row]:
    """Return a row for each shape and peer: how many times faster."""
    return [row for shape in SHAPES for row in against_peers(*shape, rounds)]


def against_peers(n: int, p: int, t: int, rounds: int) -> list[Row]:
    """Return a row for each peer."""
    rng = np.random.default_rng(0)
    x = (10 * rng.standard_normal((n, p)) / np.sqrt(1 + np.arange(p))).astype(np.float32)
    y = x @ rng.standard_normal((p, t), np.float32)
    y += 50 * rng.standard_normal((n, t), np.float32)
    got: dict[str, Any] = {}
    peers = {"SVD": by_svd} | ({"kernel": by_kernel} if p > n else {})
    arms = {k: lambda m=m, k=k: got.update({k: himalaya(x, y, m)}) for k, m in peers.items()}
    arms[""] = lambda: got.update({"": ridge(x, y, penalties=PENALTIES, progress=False).penalty})
    seconds = interleaved(arms, rounds=rounds)
    return [
        Row(
            name=f"{n:,} samples x {p:,} features to {t:,} targets, {k} solver",
            ratio=seconds[k] / seconds[""],
            unit="x faster",
            target=3.0 if k == "SVD" else None,
            limit=None,
            seconds=seconds[""],
            more_is_better=True,
            note=f"{seconds['']:.2f} s; {np.mean(got[k] == got['']):.2%} of penalties the same",
        )
        for k in peers
    ]


def himalaya(x: Array, y: Array, matrices: Any) -> Array:
    """Return the penalty of each target, and make the coefficients of the refit."""
    made = folds(n_samples=len(x), n=5)
    scores = np.zeros((len(made), len(PENALTIES), y.shape[1]), y.dtype)
    for f, (train, test) in enumerate(made):
        mean, level = x[train].mean(axis=0), y[train].mean(axis=0)
        trained = x[train] - mean
        to_tested = matrices(trained, x[test] - mean)
        for first in range(0, y.shape[1], BATCH):
            t = slice(first, first + BATCH)
            predicted = to_tested @ (y[train, t] - level[t])
            scores[f, :, t] = -((predicted - (y[test, t] - level[t])) ** 2).mean(axis=1)
    best = scores.mean(axis=0).argmax(axis=0)
    centred = x - x.mean(axis=0)
    to_weights = matrices(centred, None)
    for a in np.unique(best):
        to_weights[a] @ (y[:, best == a] - y[:, best == a].mean(axis=0))
    return PENALTIES[best]


def by_svd(trained: Array, tested: Array | None) -> Array:
    """Return the matrices from targets to predictions, or to coefficients, at every penalty."""
    u, s, v = np.linalg.svd(trained, full_matrices=False)
    shrunk = s / (s**2 + PENALTIES[:, None])
    to_weights = np.matmul(v.T * shrunk[:, None], u.T)
    return to_weights if tested is None else np.matmul(tested, to_weights)


def by_kernel(trained: Array, tested: Array | None) -> Array:
    """Return the same from the Gram matrix of samples; coefficients are those of samples."""
    values, q = np.linalg.eigh(trained @ trained.T)
    shrunk = 1 / (np.maximum(values, 0) + PENALTIES[:, None])
    to_weights = np.matmul(q * shrunk[:, None], q.T)
    return to_weights if tested is None else np.matmul(tested @ trained.T, to_weights)
