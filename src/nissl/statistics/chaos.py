"""Chaos of a series: its largest Lyapunov exponent and its correlation dimension."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from nissl.errors import NisslError, TooFewSamples

__all__ = ["correlation_dimension", "lyapunov_exponent"]

Array = NDArray[np.float64]


def lyapunov_exponent(
    x: ArrayLike, steps: tuple[int, int], *, dimension: int = 3, delay: int = 1, apart: int = 1
) -> float:
    """Return the slope, per sample, of the mean log distance of what were nearest neighbours.

    Parameters
    ----------
    x : array, shape (n_samples,)
        A series at equal steps of time. Noise has an exponent too: compare with `PhaseRandomised`.
    steps : tuple of two ints
        First and last sample of the line that is fitted, counted from when they were nearest.
    dimension, delay, apart : int
        A state is so many values, each `delay` samples after the last; neighbours are more than
        `apart` from each other in time (Theiler's window), about a period.

    Returns
    -------
    float
        Above 0 where states that are near each other part exponentially.

    Raises
    ------
    NisslError
        The series is too short, constant or not finite, or a number is out of range.

    Examples
    --------
    >>> x = [0.4]
    >>> for _ in range(1000):
    ...     x.append(4 * x[-1] * (1 - x[-1]))
    >>> round(lyapunov_exponent(x, (0, 5), dimension=1), 2)  # the logarithm of 2
    0.69

    Source: Rosenstein, Collins and De Luca 1993, Physica D 65, 117.
    """
    states = _states(x, dimension, delay, apart, steps)
    n, after = len(states) - steps[1], np.arange(steps[0], steps[1] + 1)[:, None]
    parts = np.array_split(np.arange(n), 1 + n * n // 2**22)
    near = np.concatenate([_distances(states[:n], rows, apart).argmin(1) for rows in parts])
    distance = np.linalg.norm(states[after + np.arange(n)] - states[after + near], axis=2)
    log = np.log(np.where(distance > 0, distance, 1)).sum(1) / (distance > 0).sum(1)
    return float(np.polyfit(after[:, 0], log, 1)[0])


def correlation_dimension(
    x: ArrayLike, shares: tuple[float, float], *, dimension: int = 3, delay: int = 1, apart: int = 1
) -> float:
    """Return the slope of the log share of pairs of states within a radius over its log.

    Parameters
    ----------
    x, dimension, delay, apart : array and ints
        As for `lyapunov_exponent`. Of noise it is near `dimension`, or less where noise is slow.
    shares : tuple of two floats
        Of pairs within the smallest and the largest radius.

    Returns
    -------
    float
        1 for a line, 2 for a surface; between whole numbers for a strange attractor.

    Raises
    ------
    NisslError
        As `lyapunov_exponent`, or the shares do not increase.

    Examples
    --------
    >>> t = np.arange(2000) * 0.37
    >>> round(correlation_dimension(np.sin(t), (0.01, 0.1), delay=4), 1)  # a ring
    1.0

    Source: Grassberger and Procaccia 1983, Physica D 9, 189.
    """
    if not 0 < shares[0] < shares[1] <= 1:
        raise NisslError(f"{shares=}", where="shares", do="give two that increase, of 1 at most")
    states, share = _states(x, dimension, delay, apart, (0, 1)), np.geomspace(*shares, 10)
    rows = np.unique(np.linspace(0, len(states) - 1, 2 + 2**22 // len(states)).astype(int))
    distance = _distances(states, rows, apart)
    radius = np.quantile(distance[np.isfinite(distance)], share)
    return float(np.polyfit(np.log(radius), np.log(share), 1)[0])


def _states(x: ArrayLike, size: int, delay: int, apart: int, steps: tuple[int, int]) -> Array:
    """Return delayed values side by side, shape (n_states, size)."""
    x = np.asarray(x)
    if x.ndim != 1 or x.dtype.kind not in "fiu" or not np.isfinite(x).all() or (x == x[:1]).all():
        raise NisslError(f"{x.shape} of {x.dtype}", where="x", do="give numbers that vary")
    if not (size > 0 and delay > 0 <= apart and 0 <= steps[0] < steps[1]):
        raise NisslError(f"dimension {size}, {delay=}, {apart=}, {steps=}", do="give higher ones")
    n = len(x) - (size - 1) * delay
    if n - steps[1] < 2 * apart + 20:
        raise TooFewSamples(f"{len(x)} samples", where="x", do="give more, or lower numbers")
    return np.stack([x[k * delay : k * delay + n] for k in range(size)], 1).astype(float)


def _distances(states: Array, rows: NDArray[np.int64], apart: int) -> Array:
    """Return distances of some states to all; infinite to equal ones, and to those near in time."""
    d = np.asarray(cdist(states[rows], states))
    d[(np.abs(rows[:, None] - np.arange(len(states))) <= apart) | (d == 0)] = np.inf
    return d
