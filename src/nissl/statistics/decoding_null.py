"""Null of decoding: labels moved inside runs, as far as they hang together in time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples, require_known
from nissl.statistics.exchangeability import autocorrelation, require_apart, require_stationary
from nissl.statistics.nulls import PermutedLabels, codes
from nissl.statistics.shift import CircularShift

__all__ = ["decoding_null"]


def decoding_null(
    labels: ArrayLike,
    runs: ArrayLike | None = None,
    n: int = 1000,
    *,
    kind: str = "auto",
    blocks: ArrayLike | None = None,
    values: ArrayLike | None = None,
    seed: int = 0,
) -> tuple[NDArray[np.int32], str]:
    """Draw labellings of which a decoder can know nothing: labels moved inside runs.

    Parameters
    ----------
    labels : array, shape (n_samples,) or (n_samples, n_dimensions)
        What is decoded: classes, numbers or angles, samples in order of time.
    runs : array, shape (n_samples,), optional
        No label leaves its run; one for all by default.
    n : int
        How many draws.
    kind : {"auto", "samples", "blocks", "shift"}
        Permute samples, or blocks of samples of one label, or shift labels around the end of each
        run. "auto": samples where labels are as if drawn at random; otherwise blocks of classes,
        shifts of numbers. Classes that the subject changes itself (sleep) want "shift".
    blocks : array, shape (n_samples,), optional
        The blocks (trials); by default samples of a run that follow each other with one label.
    values : array, shape (n_samples, n_units), optional
        Activity, to refuse a null that its autocorrelation does not permit.
    seed : int
        The seed.

    Returns
    -------
    index : array of int32, shape (n_draws, n_samples)
        ``labels[index[d]]`` is the d-th labelling; where there are no more than `n`, each once.
    name : str
        How the null is called in a Finding.

    Raises
    ------
    NotExchangeable
        Activity hangs together over what would be moved.
    TooFewSamples
        There are fewer than 20 labellings.

    Notes
    -----
    Decoders are to be fitted to each labelling anew. Measured at p <= 0.05 on classes in blocks of
    9, activity that forgets with 0.9 a sample, decoded by run: false positives 0.057 by blocks,
    0.055 by shifts, and 0.21 by samples. Source: Winkler et al. 2014, NeuroImage 92, 381 (blocks);
    Harris 2020, bioRxiv 2020.08.13.249235 (shifts).

    Examples
    --------
    >>> labels, runs = ["a", "a", "b", "b", "c", "c"] * 3, [0] * 6 + [1] * 6 + [2] * 6
    >>> index, name = decoding_null(labels, runs, n=99)
    >>> index.shape, name
    ((99, 18), "PermutedLabels(exchange='block', within='run', how='whole')")
    """
    require_known("kind", kind, ("auto", "samples", "blocks", "shift"))
    y = np.asarray(labels)
    for what, column in (("runs", runs), ("blocks", blocks), ("values", values)):
        if column is not None and len(np.asarray(column)) != len(y):
            raise NisslError(
                f"{what} are {len(np.asarray(column))}, and labels {len(y)}",
                where=what,
                do="give one for each sample",
            )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise NisslError("labels hold NaN or infinity", do="leave those samples out")
    run = np.zeros(len(y), np.int64) if runs is None else codes(runs)
    code = np.unique(y, axis=0, return_inverse=True)[1].ravel()
    numbers = y.ndim > 1 or (y.dtype.kind in "fiu" and code.max() > len(y) // 4)
    if kind == "auto":
        kind = "samples" if blocks is None else "blocks"
        if blocks is None and _together(y if numbers else code, run, numbers=numbers):
            kind = "shift" if numbers else "blocks"
    block, within = None, None if runs is None else "run"
    null: PermutedLabels | CircularShift = PermutedLabels(within=within)
    if kind == "blocks":
        changes = (np.diff(code) != 0) | (np.diff(run) != 0)
        block = np.cumsum(np.r_[False, changes]) if blocks is None else np.asarray(blocks)
        null = PermutedLabels(exchange="block", within=within, how="whole")
    elif kind == "shift":
        null = CircularShift(within=within)
    for column in y.reshape(len(y), -1).T if values is not None else ():
        x = np.asarray(values, dtype=float)
        if kind == "shift":
            require_stationary(x, column, exchange=run, where="kind='shift'")
        else:
            require_apart(x, column, np.arange(len(y)) if block is None else block, name="labels")
    count = np.exp(min(null.log_arrangements(code, exchange=block, within=run), 50.0))
    if count < 19.5:
        raise TooFewSamples(
            f"labels can be moved in {count:.0f} ways only, so that no p can be below 0.05",
            where="runs",
            do="record more runs, blocks or trials, or longer runs",
        )
    if count <= n + 1.5 and isinstance(null, PermutedLabels):
        return null.every(code, exchange=block, within=run), null.name
    n = min(n, round(count) - 1)
    return null.draw(code, n, exchange=block, within=run, seed=seed), null.name


def _together(y: NDArray[Any], run: NDArray[np.int64], *, numbers: bool) -> bool:
    """Say whether labels that follow each other in a run are alike."""
    pair = run[1:] == run[:-1]
    n_pairs = max(pair.sum(), 1)
    if numbers:
        x = y.reshape(len(y), -1).astype(float)
        return bool(autocorrelation(x, exchange=run) > max(0.1, 3 / n_pairs**0.5))
    alike = (y[1:] == y[:-1])[pair].sum() / n_pairs
    counts = np.zeros((run.max() + 1, y.max() + 1))
    np.add.at(counts, (run, y), 1)
    # Of labels of a run in any order.
    chance = ((counts * (counts - 1)).sum(axis=1) / counts.sum(axis=1)).sum() / n_pairs
    error = (chance * (1 - chance) / n_pairs) ** 0.5
    return bool(alike > chance + 3 * error + 1e-9)
