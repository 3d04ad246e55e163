"""Exchangeability: dependent samples are not permuted one by one without a declared block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics.nulls import codes

__all__ = ["NotExchangeable", "autocorrelation", "require_exchangeable", "require_samples"]

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
        Exchangeability blocks: only neighbours in the same block count.

    Returns
    -------
    float
        Between -1 and 1; 0 where there is nothing to measure.

    Examples
    --------
    >>> walk = np.random.default_rng(0).standard_normal((500, 3)).cumsum(axis=0)
    >>> autocorrelation(walk) > 0.9
    True
    """
    x = np.array(values, dtype=float)
    x = x[:, np.isfinite(x).all(axis=0)]
    pair = np.ones(len(x) - 1, dtype=bool)
    y = np.zeros(len(x), dtype=np.int64) if labels is None else codes(labels)
    if exchange is not None:
        b = codes(exchange)
        pair = b[1:] == b[:-1]
    if y.max() > len(y) // 4:  # a continuous variable: take out the line
        line = y - y.mean()
        x = x - x.mean(axis=0) - np.outer(line, line @ x / (line @ line))
    else:
        sums = np.zeros((y.max() + 1, x.shape[1]))
        np.add.at(sums, y, x)
        x = x - (sums / np.bincount(y)[:, None])[y]
    power = (x**2).mean(axis=0)
    alive = power > 1e-20
    if pair.sum() < 3 or not alive.any():
        return 0.0
    products = (x[1:] * x[:-1])[pair][:, alive].mean(axis=0)
    return float(np.mean(products / power[alive]))


def require_exchangeable(
    values: ArrayLike,
    labels: ArrayLike,
    *,
    coords: Mapping[str, NDArray[Any]],
    exchange: ArrayLike | None,
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

    Raises
    ------
    NotExchangeable
        Such a coordinate is there and no blocks were declared, or the measured lag-1
        autocorrelation exceeds both 0.1 and three standard errors.

    Examples
    --------
    >>> require_exchangeable(np.eye(4), [0, 1, 0, 1], coords={}, exchange=None)
    """
    y = codes(labels)
    if exchange is None:
        for name in DEPENDENT:
            column = coords.get(name)
            if column is None:
                continue
            n_values = len(np.unique(column))
            if n_values == 1 or (name != "time" and n_values == len(column)):
                continue
            raise NotExchangeable(
                f"samples of one '{name}' are not independent, and no exchangeability blocks "
                "were declared",
                where=name,
                do=f"declare exchange='{name}' (or another coordinate), use "
                "CircularShift for continuous time, or aggregate to one sample a block",
            )
    n_pairs = len(y) - 1
    if exchange is not None:
        b = codes(exchange)
        n_pairs = int((b[1:] == b[:-1]).sum())
    measured = autocorrelation(values, labels, exchange=exchange)
    if n_pairs >= 3 and measured > max(0.1, 3 / np.sqrt(n_pairs)):
        within = "" if exchange is None else " within the declared blocks"
        raise NotExchangeable(
            f"neighbouring samples are correlated{within}: lag-1 autocorrelation {measured:.2f}",
            do="declare blocks that are independent of each other, use CircularShift, or, where "
            "labels were assigned to samples at random, declare each sample its own block: "
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
