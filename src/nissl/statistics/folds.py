"""Folds of cross-validation: by run or block, with a gap where time is autocorrelated."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples
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
        How many folds. By default one a group, and five where there are no groups. Fewer folds
        than groups: each tests neighbouring groups, in the order in which they first occur, so
        that without groups folds are blocks of neighbouring samples.
    gap : float
        Samples at most this far from a tested one are not trained on: in samples, or in the unit of
        `times`. For autocorrelated series; between runs recorded apart none is needed.
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
    group = np.arange(n_samples or 0) if groups is None else _codes(groups)
    n_groups = int(group.max(initial=-1)) + 1
    count = n if n is not None else n_groups if groups is not None else 5
    if count < 2 or n_groups < count:
        raise TooFewSamples(
            f"{n_groups} groups cannot be divided into {count} folds",
            do="use more groups or samples, or fewer folds (two at least)",
        )
    if n_samples is not None and len(group) != n_samples:
        raise NisslError(
            f"{len(group)} groups do not fit {n_samples} samples", where="groups", do="one for each"
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
    fold = np.empty(n_groups, dtype=np.int64)
    if seed is None:
        occurs = np.argsort(np.unique(group, return_index=True)[1])
        for f, members in enumerate(np.array_split(occurs, count)):
            fold[members] = f
    else:
        fold = np.random.default_rng(seed).permutation(n_groups) % count
    made = []
    for f in range(count):
        test = np.flatnonzero(fold[group] == f)
        tested = when[test]
        near = np.searchsorted(tested, when - gap) < np.searchsorted(tested, when + gap, "right")
        made.append((np.flatnonzero(~near), test))
        if near.all():
            raise TooFewSamples(
                f"a gap of {gap} leaves fold {f} no sample to train on",
                where="gap",
                do="use a smaller gap, or tested samples that lie together",
            )
    return made


def as_folds(given: int | ArrayLike | list[Fold], n_samples: int) -> list[Fold]:
    """Return folds from what a method's ``folds=`` may be.

    Parameters
    ----------
    given : int, array of shape (n_samples,), or list of (train, test)
        A number of blocks of neighbouring samples; the group of each sample, of which one at a time
        is tested; or the folds.
    n_samples : int
        How many samples there are.

    Returns
    -------
    list of (train, test)
        Indices of samples.

    Raises
    ------
    NisslError
        A fold has an empty side, indices beyond the samples, or samples on both sides.

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
        for side in sides:
            if side.ndim != 1 or side.dtype.kind not in "iu" or not len(side):
                raise NisslError("a side is no list of samples", where=f"fold {f}", do="see folds")
        both = np.concatenate(sides)
        if both.min() < 0 or both.max() >= n_samples or np.isin(*sides).any():
            raise NisslError(
                "samples are on both sides, or beyond the data",
                where=f"fold {f}",
                do=f"give indices from 0 to {n_samples - 1}, each on one side",
            )
    return made


def _codes(groups: ArrayLike) -> NDArray[np.int64]:
    """Return groups as numbers; a sample without one is refused."""
    from nissl.statistics.design import column_of

    column = column_of("groups", groups, np.asarray(groups).size, None)
    if column.dtype.kind in "fmM" and (column != column).any():
        raise NisslError("a sample has no group", where="groups", do="leave it out")
    return codes(column)
