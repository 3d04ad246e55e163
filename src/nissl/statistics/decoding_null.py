"""Null of decoding: labels moved inside runs, as far as they hang together in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples, require_known
from nissl.statistics.exchangeability import (
    autocorrelation,
    require_apart,
    require_stationary,
)
from nissl.statistics.nulls import PermutedLabels, codes
from nissl.statistics.shift import CircularShift

__all__ = ["MovedLabels", "decoding_null"]

KINDS = ("auto", "samples", "blocks", "shift")


@dataclass(frozen=True)
class MovedLabels:
    """Labels moved inside runs.

    Parameters
    ----------
    null : PermutedLabels or CircularShift
        How they are moved.
    labels : array, shape (n_samples,) or (n_samples, n_dimensions)
        The labels.
    runs : array, shape (n_samples,)
        The run of each sample.
    blocks : array, shape (n_samples,), optional
        What is permuted whole.

    Examples
    --------
    >>> decoding_null(list("abba") * 2, [0] * 4 + [1] * 4).draw(2, seed=0).shape
    (2, 8)
    """

    null: PermutedLabels | CircularShift
    labels: NDArray[Any]
    runs: NDArray[Any]
    blocks: NDArray[Any] | None = None
    question: ClassVar[str] = "can this be read from activity?"

    @property
    def name(self) -> str:
        """How the null is called in a Finding."""
        return self.null.name

    def draw(self, n: int, *, seed: int = 0, start: int = 0) -> NDArray[np.int32]:
        """Draw labellings.

        Parameters
        ----------
        n : int
            How many.
        seed : int
            The seed.
        start : int
            Number of the first draw.

        Returns
        -------
        array of int32, shape (n, n_samples)
            The sample whose label each sample is given: ``labels[index[d]]`` is the d-th labelling.
        """
        return self.null.draw(
            self._code(), n, exchange=self.blocks, within=self.runs, seed=seed, start=start
        )

    def log_arrangements(self) -> float:
        """Count the different labellings.

        Returns
        -------
        float
            Natural logarithm of the number; the smallest p that can be had is its inverse.
        """
        return self.null.log_arrangements(self._code(), exchange=self.blocks, within=self.runs)

    def _code(self) -> NDArray[np.int64]:
        return np.unique(self.labels, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def decoding_null(
    labels: ArrayLike,
    runs: ArrayLike | None = None,
    *,
    kind: str = "auto",
    blocks: ArrayLike | None = None,
    values: ArrayLike | None = None,
) -> MovedLabels:
    """Return the null of a decoder: labels moved inside runs.

    Parameters
    ----------
    labels : array, shape (n_samples,) or (n_samples, n_dimensions)
        What is decoded: classes, numbers or angles, samples in order of time.
    runs : array, shape (n_samples,), optional
        No label leaves its run; one for all by default.
    kind : {"auto", "samples", "blocks", "shift"}
        Permute samples, or blocks of samples of one label, or shift labels in time around the end
        of each run. "auto": samples where labels that follow each other are as if drawn at random;
        otherwise blocks of classes, and shifts of numbers and angles. Classes that the subject
        changes itself (sleep, behaviour) want "shift".
    blocks : array, shape (n_samples,), optional
        The blocks (trials); by default samples of a run that follow each other with one label.
    values : array, shape (n_samples, n_units), optional
        Activity, to refuse a null that its autocorrelation does not permit.

    Returns
    -------
    MovedLabels
        With ``draw(n, seed=)``.

    Raises
    ------
    NotExchangeable
        Activity hangs together over what would be moved.
    TooFewSamples
        There are fewer than 20 labellings.

    Notes
    -----
    Decoders are to be fitted to each drawn labelling of all runs: labels moved in tested runs alone
    answer a narrower question. Source: Etzel 2015, "MVPA permutation schemes: permutation testing
    for the group level"; Winkler et al. 2014 (blocks); Harris 2020 (shifts).

    Examples
    --------
    >>> labels, runs = ["a", "a", "b", "b", "c", "c"] * 3, [0] * 6 + [1] * 6 + [2] * 6
    >>> decoding_null(labels, runs).name
    "PermutedLabels(exchange='block', within='run', how='whole')"
    >>> decoding_null(np.sin(np.arange(18) / 3), runs).name
    "CircularShift(within='run', min_shift=1)"
    """
    require_known("kind", kind, KINDS)
    y = np.asarray(labels)
    n = len(y)
    run = np.zeros(n, np.int64) if runs is None else np.asarray(runs)
    block = None if blocks is None else np.asarray(blocks)
    for name, column in (("runs", run), ("blocks", block), ("values", values)):
        if column is not None and len(np.asarray(column)) != n:
            raise NisslError(f"{name} are {len(np.asarray(column))}, and labels {n}", where=name)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise NisslError("labels hold NaN or infinity", do="leave those samples out")
    within = None if runs is None else "run"
    moved = MovedLabels(PermutedLabels(within=within), y, run)
    numbers = y.ndim > 1 or (y.dtype.kind in "fiu" and codes(y).max() > n // 4)
    if kind == "auto":
        kind = "samples" if block is None else "blocks"
        if block is None and _together(y, run, numbers=numbers):
            kind = "shift" if numbers else "blocks"
    if kind == "shift":
        moved = MovedLabels(CircularShift(within=within), y, run)
    elif kind == "blocks":
        if block is None:
            code = moved._code()
            change = (np.diff(code) != 0) | (np.diff(codes(run)) != 0)
            block = np.concatenate([[0], np.cumsum(change)])
        null = PermutedLabels(exchange="block", within=within, how="whole")
        moved = MovedLabels(null, y, run, block)
    for column in y.reshape(n, -1).T if values is not None else ():
        x = np.asarray(values, dtype=float)
        if kind == "shift":
            require_stationary(x, column, exchange=run, where=moved.name)
        else:
            require_apart(x, column, np.arange(n) if block is None else block, name="labels")
    if moved.log_arrangements() < np.log(20):
        raise TooFewSamples(
            f"labels can be moved in {np.exp(moved.log_arrangements()):.0f} ways only",
            where="runs",
            do="record more runs, blocks or trials, or give longer runs",
        )
    return moved


def _together(y: NDArray[Any], run: NDArray[Any], *, numbers: bool) -> bool:
    """Say whether labels that follow each other in a run are alike."""
    pair = codes(run)[1:] == codes(run)[:-1]
    if numbers:
        x = y.reshape(len(y), -1).astype(float)
        return bool(autocorrelation(x, exchange=run) > max(0.1, 3 / max(pair.sum(), 1) ** 0.5))
    alike = float((codes(y)[1:] == codes(y)[:-1])[pair].mean()) if pair.any() else 0.0
    chance = 0.0
    for name in np.unique(run):
        _, counts = np.unique(y[run == name], return_counts=True)
        n = counts.sum()
        chance += (counts * (counts - 1)).sum() / max(n, 1)
    chance /= max(pair.sum(), 1)
    error = (chance * (1 - chance) / max(pair.sum(), 1)) ** 0.5
    return bool(alike > chance + 3 * error + 1e-9)
