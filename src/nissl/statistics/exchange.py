"""What a null may exchange: samples that hang together without a declared block are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.statistics.nulls import codes

__all__ = ["NotExchangeable", "autocorrelation", "refuse_if_hanging_together"]

HANG_TOGETHER = ("document", "trial", "run", "time", "subject")


class NotExchangeable(NisslError):
    """Samples that hang together were about to be exchanged as if each stood alone."""


def autocorrelation(
    values: ArrayLike, labels: ArrayLike | None = None, *, block: ArrayLike | None = None
) -> float:
    """Return the lag-1 autocorrelation of what labels do not explain, averaged over units.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity, samples in their order; units that do not vary are left out.
    labels : array, shape (n_samples,), optional
        Their means are taken out first: an effect of sorted labels is not autocorrelation.
    block : array, shape (n_samples,), optional
        Only neighbours in the same block count.

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
    if block is not None:
        b = codes(block)
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


def refuse_if_hanging_together(
    values: ArrayLike,
    labels: ArrayLike,
    *,
    coords: Mapping[str, NDArray[Any]],
    block: ArrayLike | None,
) -> None:
    """Refuse single samples as the unit of exchange where they hang together.

    Parameters
    ----------
    values : array, shape (n_samples, n_units)
        Activity of some units, samples in their order.
    labels : array, shape (n_samples,)
        The labels.
    coords : mapping of str to array
        Sample coordinates; those called document, trial, run, time or subject are looked at.
    block : array, shape (n_samples,), optional
        A declared block inside which samples are to be exchanged; None where none was declared.

    Raises
    ------
    NotExchangeable
        Such a coordinate is there and no block was declared, or the measured lag-1 autocorrelation
        exceeds both 0.1 and three standard errors.

    Examples
    --------
    >>> refuse_if_hanging_together(np.eye(4), [0, 1, 0, 1], coords={}, block=None)
    """
    y = codes(labels)
    if block is None:
        for name in HANG_TOGETHER:
            column = coords.get(name)
            if column is None:
                continue
            n_values = len(np.unique(column))
            if n_values == 1 or (name != "time" and n_values == len(column)):
                continue
            raise NotExchangeable(
                f"samples hang together by '{name}', and no block of exchangeable samples "
                "was declared",
                where=name,
                do=f"declare block='{name}' (or another coordinate), use "
                "CircularShift for continuous time, or aggregate to one sample a block",
            )
    n_pairs = len(y) - 1
    if block is not None:
        b = codes(block)
        n_pairs = int((b[1:] == b[:-1]).sum())
    measured = autocorrelation(values, labels, block=block)
    if n_pairs >= 3 and measured > max(0.1, 3 / np.sqrt(n_pairs)):
        inside = "" if block is None else " inside the declared blocks"
        raise NotExchangeable(
            f"neighbouring samples hang together{inside}: lag-1 autocorrelation {measured:.2f}",
            do="declare a block that holds together what hangs together, use CircularShift, or, "
            "where labels were given to samples at random, declare each sample its own block: "
            "block=np.arange(n_samples)",
        )
