"""Exchangeability: dependent samples are not permuted one by one without a declared block."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics.nulls import codes

__all__ = [
    "NotExchangeable",
    "autocorrelation",
    "require_apart",
    "require_exchangeable",
    "require_samples",
    "require_stationary",
]

# Products of the lag-1 autocorrelations of activity and labels that declared blocks may have: of
# samples that are blocks of their own, and of blocks.
ALONE, TOGETHER = 0.2, 0.4
DEPENDENT = ("document", "trial", "run", "time", "subject")


class NotExchangeable(NisslError):
    """Dependent samples were about to be permuted as if they were independent."""


def autocorrelation(
    values: ArrayLike, labels: ArrayLike | None = None, *, exchange: ArrayLike | None = None
) -> float:
    """Return the lag-1 autocorrelation of what labels do not explain, averaged over units.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity, samples in their order; units that do not vary are left out.
    labels : array, shape (n_samples,), optional
        Their means are taken out first: an effect of sorted labels is not autocorrelation.
    exchange : array, shape (n_samples,), optional
        Exchangeability blocks: only neighbours in the same block count. Their means are taken out,
        since what is exchanged inside a block cannot see its level, and what that takes from the
        autocorrelation of short blocks is put back.

    Returns
    -------
    float
        Between -1 and 1; 0 where there is nothing to measure, as in blocks of two.

    Examples
    --------
    >>> walk = np.random.default_rng(0).standard_normal((500, 3)).cumsum(axis=0)
    >>> autocorrelation(walk) > 0.9
    True
    """
    return _measured(values, labels, exchange)[0]


def _measured(
    values: ArrayLike, labels: ArrayLike | None, exchange: ArrayLike | None
) -> tuple[float, float]:
    """Return the lag-1 autocorrelation and the standard error of that of a single unit."""
    x = np.array(values, dtype=float)
    x = x[:, np.isfinite(x).all(axis=0)]
    pair = np.ones(len(x) - 1, dtype=bool)
    if exchange is not None:
        b = codes(exchange)
        pair = b[1:] == b[:-1]
    level = (x**2).mean(axis=0)
    x = _unexplained(x, np.zeros(len(x)) if labels is None else labels)
    if exchange is not None:
        x = x - _block_means(x, b)[b]
    power = (x**2).mean(axis=0)
    alive = power > 1e-24 * level  # and not what rounding leaves
    if pair.sum() < 3 or not alive.any():
        return 0.0, np.inf
    products = (x[1:] * x[:-1])[pair][:, alive].mean(axis=0)
    measured, error = float(np.mean(products / power[alive])), float(1 / np.sqrt(pair.sum()))
    return (measured, error) if exchange is None else _unbiased(measured, error, np.bincount(b))


def _unexplained(x: NDArray[Any], labels: ArrayLike) -> NDArray[Any]:
    """Return activity less what labels explain."""
    y = codes(labels)
    if y.max() > len(y) // 4:  # a continuous variable: take out the line
        line = y - y.mean()
        return np.asarray(x - x.mean(axis=0) - np.outer(line, line @ x / (line @ line)))
    return np.asarray(x - _block_means(x, y)[y])


def _indicators(labels: ArrayLike) -> NDArray[Any]:
    """Return numbers as one column, other labels as one column for each."""
    y = np.asarray(labels)
    if y.dtype.kind == "f":
        return y[:, None].astype(float)
    return np.asarray(codes(y)[:, None] == np.arange(min(len(np.unique(y)), 64)), dtype=float)


def _block_means(x: NDArray[Any], b: NDArray[np.int64]) -> NDArray[Any]:
    sums = np.zeros((b.max() + 1, x.shape[1]))
    np.add.at(sums, b, x)
    return np.asarray(sums / np.bincount(b)[:, None])


def _unbiased(measured: float, error: float, lengths: NDArray[np.int64]) -> tuple[float, float]:
    """Return the autocorrelation that would be measured without taking out the means of blocks.

    Of a series that forgets by rho a sample, both sides of the ratio are known.
    """
    rho = np.concatenate([np.linspace(-0.95, 0.95, 77), 1 - np.geomspace(0.04, 1e-4, 24)])
    sizes, often = np.unique(lengths, return_counts=True)
    above, below = np.zeros(len(rho)), np.zeros(len(rho))
    for n, times in zip(sizes, often, strict=True):
        powers = rho[:, None] ** np.arange(min(n, 4096))
        mean_end = powers.sum(axis=1) / n  # of the last sample times the block's mean
        weight = 2.0 * (n - np.arange(powers.shape[1]))
        weight[0] = n
        mean_mean = powers @ weight / n**2
        above += times * ((n - 1) * (rho - mean_mean) - 2 * (mean_mean - mean_end))
        below += times * n * (1 - mean_mean)
    ratio = above / (lengths - 1).sum() / (below / lengths.sum())
    if np.ptp(ratio) < 0.1:  # two samples about their mean are each other's mirror image
        return 0.0, np.inf
    ratio = np.maximum.accumulate(ratio)
    at, beyond = np.interp([measured, measured + error], ratio, rho)
    return float(at), float(max(beyond - at, error))


def _in_time(labels: ArrayLike) -> str:
    """Say which nulls are right for labels in continuous time."""
    other = " or PhaseRandomised" if np.asarray(labels).dtype.kind == "f" else ""
    return f"CircularShift{other} for continuous time"


def require_apart(
    values: ArrayLike, labels: NDArray[Any], exchange: NDArray[Any], *, name: str = ""
) -> None:
    """Refuse declared blocks that hang together, under labels that do, too.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity of some units, samples in their order.
    labels, exchange : array, shape (n_samples,)
        Label and block of each sample. Blocks ``np.arange(n_samples)`` without a name are the
        caller's word that labels were assigned to samples at random.
    name : str
        The coordinate of the blocks.

    Raises
    ------
    NotExchangeable
        Blocks that follow each other are correlated, in activity and in labels.

    Examples
    --------
    >>> require_apart(np.eye(8), np.arange(8) % 2, np.arange(8), name="stimulus")
    """
    b = codes(exchange)
    alone = len(np.unique(b)) == len(b)
    if not name and np.array_equal(exchange, np.arange(len(b))):
        return
    first = np.sort(np.unique(b, return_index=True)[1])
    if len(first) < 8:
        return
    # Blocks in the order in which they begin.
    x = _block_means(_unexplained(np.asarray(values, dtype=float), labels), b)[b[first]]
    y = _block_means(_indicators(labels), b)[b[first]]
    (activity, error), slow = _measured(x, None, None), max(_measured(y, None, None)[0], 0.0)
    # Labels that were assigned at random have no memory, and then that of activity does no harm.
    if activity > 3 * error and activity * slow > (ALONE if alone else TOGETHER):
        each = "every sample is a block of its own" if alone else "declared blocks hang together"
        raise NotExchangeable(
            f"{each}: lag-1 autocorrelation {activity:.2f} of activity and {slow:.2f} of labels",
            where=name or "exchange",
            do=f"use {_in_time(labels)}, or declare blocks that are independent of each other: "
            "trials, runs, longer stretches",
        )


def require_stationary(
    values: ArrayLike, labels: ArrayLike, *, exchange: ArrayLike | None, where: str = "null"
) -> float:
    """Refuse shifts and random phases in stretches that are too short for how slow both sides are.

    Both join the end of a stretch to its beginning. Where activity and labels remember
    together over more than a seventh of a stretch, that break makes the null too narrow.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity of some units, samples in their order.
    labels : array, shape (n_samples,)
        The labels.
    exchange : array, shape (n_samples,), optional
        The stretch of each sample; one for all where there is none.
    where : str
        What errors and warnings name.

    Returns
    -------
    float
        The memory that both sides share, in lengths of a stretch.

    Raises
    ------
    NotExchangeable
        It exceeds 0.15 where there are several stretches, 0.2 where there is one. Over 0.05 of a
        single stretch is a warning.

    Notes
    -----
    Products of two series that forget by a and b a sample remember over 2ab / (1 - ab) samples.
    Measured at p <= 0.05: false positives 0.048 to 0.057 on white noise in trials of 3 to 50; where
    both forget by 0.8, 0.06 to 0.09 in trials of 3 to 20 (refused) and 0.052 in trials of 50; in
    one series 0.07 at a tenth of its length and 0.18 at all of it.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((400, 2))
    >>> require_stationary(noise, noise[:, 0] > 0, exchange=None) < 0.05
    True
    """
    stretch = np.zeros(len(np.asarray(labels))) if exchange is None else np.asarray(exchange)
    single = len(np.unique(stretch)) == 1
    x = np.asarray(values, dtype=float)[np.argsort(stretch, kind="stable")]
    y = np.asarray(labels)[np.argsort(stretch, kind="stable")]
    stretch = np.sort(stretch, kind="stable")
    activity = _measured(x, y, stretch)[0]
    slow = _measured(_indicators(y), None, stretch)[0]
    both = max(activity, 0.0) * max(slow, 0.0)
    length = len(y) / len(np.unique(stretch))
    share = 2 * both / max(1 - both, 1e-9) / length
    said = (
        f"stretches of {length:.0f} samples are short for how slowly activity and labels change: "
        f"lag-1 autocorrelation {activity:.2f} and {slow:.2f}"
    )
    if share > (0.2 if single else 0.15):
        raise NotExchangeable(
            said,
            where=where,
            do="record longer, or take the trend out of both"
            if single
            else "permute whole stretches: PermutedLabels(how='whole') with exchange= the "
            "stretches, of equal lengths",
        )
    if single and share > 0.05:
        warnings.warn(
            f"{said}; shifts and random phases then call some 0.07 significant at p <= 0.05. "
            "Record longer, or take the trend out of both",
            stacklevel=3,
        )
    return share


def require_exchangeable(
    values: ArrayLike,
    labels: ArrayLike,
    *,
    coords: Mapping[str, NDArray[Any]],
    exchange: ArrayLike | None,
    within: ArrayLike | None = None,
) -> None:
    """Refuse to permute dependent samples one by one.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity of some units, samples in their order.
    labels : array, shape (n_samples,)
        The labels.
    coords : mapping of str to array
        Sample coordinates; those called document, trial, run, time or subject are looked at.
    exchange : array, shape (n_samples,), optional
        Declared blocks within which samples are to be permuted; None where none were declared.
    within : array, shape (n_samples,), optional
        Strata within which they are permuted.

    Raises
    ------
    NotExchangeable
        Such a coordinate is there and no blocks were declared, or the measured lag-1
        autocorrelation exceeds both 0.1 and three standard errors.

    Notes
    -----
    What is allowed has its price where labels are slow, too: series that forget by 0.1 a sample,
    500 samples, a label that changes once, are called at p <= 0.05 in 0.07 to 0.09 of cases.

    Examples
    --------
    >>> require_exchangeable(np.eye(4), [0, 1, 0, 1], coords={}, exchange=None)
    """
    y = codes(labels)
    strata = np.zeros(len(y), dtype=np.int64) if within is None else codes(within)
    if exchange is None:
        for name in DEPENDENT:
            column = coords.get(name)
            if column is None:
                continue
            n_values = len(np.unique(column))
            if n_values == 1 or (name != "time" and n_values == len(column)):
                continue
            if within is not None and len(np.unique(codes(column) + n_values * strata)) == len(
                np.unique(strata)
            ):
                continue  # every stratum lies in one of its values
            raise NotExchangeable(
                f"samples of one '{name}' are not independent, and no exchangeability blocks "
                "were declared",
                where=name,
                do=(
                    f"declare exchange='{name}' (or another coordinate), use "
                    if n_values < len(column)
                    else "declare exchange= a coordinate of blocks that are independent of each "
                    "other (trials, runs), use "
                )
                + f"{_in_time(labels)}, or aggregate to one sample a block",
            )
    blocks = exchange
    if within is not None:
        inside = strata if exchange is None else codes(exchange) * (strata.max() + 1) + strata
        blocks = inside
    measured, error = _measured(values, labels, blocks)
    if measured > max(0.1, 3 * error):
        said = "" if blocks is None else " within the declared blocks"
        raise NotExchangeable(
            f"neighbouring samples are correlated{said}: lag-1 autocorrelation {measured:.2f}",
            do=f"declare blocks that are independent of each other, use {_in_time(labels)}, or, "
            "where labels were assigned to samples at random, declare each sample its own block: "
            "exchange=np.arange(n_samples)",
        )


def require_samples(labels: ArrayLike, *, where: str, least: int = 2, item: str = "sample") -> None:
    """Refuse labels of which there are fewer than two, or one has too few samples.

    Parameters
    ----------
    labels : array, shape (n_samples,)
        The label of each sample, or of each exchangeability block.
    where : str
        The coordinate's name.
    least : int
        Samples that each label must have.
    item : str
        What a sample is called in errors.

    Raises
    ------
    TooFewSamples
        There is one label only, or a label has fewer than `least` samples.

    Examples
    --------
    >>> require_samples(["a", "a", "b", "b"], where="relation", item="fact")
    """
    names, counts = np.unique(np.asarray(labels).astype(str), return_counts=True)
    few = [f"'{name}' ({n})" for name, n in zip(names, counts, strict=True) if n < least]
    if few or len(names) < 2:
        raise TooFewSamples(
            f"too few {item}s of {', '.join(few)}" if few else f"every {item} is of '{names[0]}'",
            where=where,
            do=f"give at least {least} {item}s of each of two labels; a dozen make a finding",
        )
