"""Folds of cross-validation: by run or block, with a gap where time is autocorrelated."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics.design import column_of
from nissl.statistics.nulls import codes

__all__ = ["Fold", "as_folds", "folds"]

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


def folds(
    groups: ArrayLike | None = None,
    *,
    n_samples: int | None = None,
    n: int | None = None,
    gap: float = 0,
    times: ArrayLike | None = None,
    seed: int | None = None,
) -> list[Fold]:
    """Divide samples into folds; every sample is tested once, no group is on both sides.

    Parameters
    ----------
    groups : array, shape (n_samples,), optional
        The run, block or stimulus of each sample. None: every sample is a group.
    n_samples : int, optional
        How many samples there are, where there are no groups.
    n : int, optional
        How many folds, each of neighbouring groups in the order in which they first occur. By
        default one a group, and five where there are no groups.
    gap : float
        Samples at most this far from a tested one are not trained on, in samples or in the unit of
        `times`: for autocorrelated series.
    times : array, shape (n_samples,), optional
        When each sample was taken, increasing.
    seed : int, optional
        Deals groups to the folds at random instead.

    Returns
    -------
    list of (train, test)
        Indices of samples, each in increasing order.

    Raises
    ------
    TooFewSamples
        There are fewer groups than folds, or a gap leaves nothing to train on.
    NisslError
        A sample has no group, times do not increase, or lengths do not fit.

    Examples
    --------
    >>> [test.tolist() for _, test in folds(["a", "a", "b", "c"])]
    [[0, 1], [2], [3]]
    >>> train, test = folds(n_samples=10, n=5, gap=1)[1]
    >>> train.tolist(), test.tolist()
    ([0, 5, 6, 7, 8, 9], [2, 3])
    """
    n_samples = n_samples or np.asarray(groups if groups is not None else ()).size
    group = np.arange(n_samples)
    if groups is not None:
        column = column_of("groups", groups, n_samples, None)
        if (column != column).any():
            raise NisslError("a sample has no group", where="groups", do="leave it out")
        group = codes(column)
    n_groups = int(group.max(initial=-1)) + 1
    count = n if n is not None else n_groups if groups is not None else 5
    if count < 2 or n_groups < count:
        raise TooFewSamples(
            f"{n_groups} groups cannot be divided into {count} folds",
            do="use more groups or samples, or fewer folds (two at least)",
        )
    if not 0 <= gap < np.inf:
        raise NisslError(f"a gap of {gap} is no distance", where="gap", do="give 0 or more")
    when = np.arange(len(group)) if times is None else np.asarray(times, dtype=float)
    if when.shape != group.shape or not (np.diff(when) > 0).all():
        raise NisslError(
            "times do not increase from sample to sample",
            where="times",
            do="give one for each sample, sort samples by time, and count it through all runs",
        )
    parts = np.array_split(np.argsort(np.unique(group, return_index=True)[1]), count)
    if seed is not None:
        dealt = np.random.default_rng(seed).permutation(n_groups) % count
        parts = [np.flatnonzero(dealt == f) for f in range(count)]
    made = []
    for members in parts:
        test = np.flatnonzero(np.isin(group, members))
        tested = when[test]
        near = np.searchsorted(tested, when - gap) < np.searchsorted(tested, when + gap, "right")
        made.append((np.flatnonzero(~near), test))
    if not all(len(train) for train, _ in made):
        raise TooFewSamples(
            f"a gap of {gap} leaves a fold no sample to train on",
            where="gap",
            do="use a smaller gap, or tested samples that lie together",
        )
    return made


def as_folds(given: int | ArrayLike | list[Fold], n_samples: int) -> list[Fold]:
    """Return folds from a method's ``folds=``.

    Parameters
    ----------
    given : int, array of shape (n_samples,), or list of (train, test)
        A number of blocks of neighbouring samples, the group of each sample, or folds.
    n_samples : int
        How many samples there are.

    Returns
    -------
    list of (train, test)
        Indices of samples: no side is empty, no sample is on both.

    Examples
    --------
    >>> as_folds(2, 4)[0][1].tolist(), as_folds(["a", "b", "b"], 3)[1][1].tolist()
    ([0, 1], [1, 2])
    """
    if isinstance(given, (int, np.integer)):
        return folds(n_samples=n_samples, n=int(given))
    if not (isinstance(given, list) and given and isinstance(given[0], tuple)):
        return folds(given, n_samples=n_samples)
    made = [(np.asarray(train), np.asarray(test)) for train, test in given]
    for f, sides in enumerate(made):
        lists = all(s.ndim == 1 and s.dtype.kind in "iu" and len(s) for s in sides)
        both = np.concatenate(sides) if lists else np.array([-1])
        if both.min() < 0 or both.max() >= n_samples or np.isin(*sides).any():
            raise NisslError(
                "a side is empty, holds other than samples, or some of the other side",
                where=f"fold {f}",
                do=f"give indices from 0 to {n_samples - 1}, each on one side",
            )
    return made
