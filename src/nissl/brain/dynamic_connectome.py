"""Dynamic connectome: communities of units, and when each of them is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.brain.connectivity import connectivity
from nissl.methods import method
from nissl.progress import tracked
from nissl.statistics import CircularShift, Finding, Test, against_null
from nissl.statistics.series import centred, moved_series, read_series, require_movable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nissl.recording import Recording

__all__ = ["DynamicConnectome", "dynamic_connectome"]

Array = NDArray[np.floating[Any]]
STEPS, STARTS, BASE = 150, 3, 10  # of the factorisation; its beginnings; draws of no community


@dataclass(frozen=True)
class DynamicConnectome:
    """Communities of units over time, the strongest first.

    Parameters
    ----------
    finding : Finding
        A row for each: ``affinity``, the root mean square of what it adds to that of two units;
        p against the strongest of each draw; ``variation``: deviation of its course over the mean.
    membership : array, shape (n_units, n_communities)
        How much each unit belongs, at most 1.
    course : array, shape (n_windows, n_communities)
        What is added to the affinity of its foremost members in each window.
    windows : DataFrame
        Where each begins and ends.
    held_out : Series
        Share of the squared affinity of edges left out that is not explained, by number.
    """

    finding: Finding
    membership: Array
    course: Array
    windows: pd.DataFrame
    held_out: pd.Series[float]

    def labels(self) -> NDArray[np.int64]:
        """Return each unit's community in each window, (n_windows, n_units), or -1.

        The strongest of those where membership and course are half of their largest or more.
        """
        there = np.where(self.course >= self.course.max(axis=0) / 2, self.course, 0)
        strength = there[:, None] * self.membership * (self.membership >= 0.5)
        return np.where(strength.max(axis=2) > 0, strength.argmax(axis=2), -1)

    def plot(self) -> Figure:
        """Draw memberships, units in order of community, and courses over windows."""
        from nissl.statistics.figure import curve, heatmap, panels

        figure, (left, right) = panels(2)
        order = np.argsort(self.membership.argmax(axis=1), kind="stable")
        heatmap(self.membership[order], label="membership", axes=left)
        curve(dict(zip(self.finding.units, self.course.T, strict=True)), axes=right)
        return figure


@method(system=15)
def dynamic_connectome(
    rec: Recording | ArrayLike,
    window: float,
    *,
    n_communities: Sequence[int] = (1, 2, 3, 4, 5, 6),
    test: Test = Test(),
    progress: bool = True,
) -> DynamicConnectome:
    """Find communities of units by non-negative factorisation of their affinities over time.

    Affinity, less that of series shifted against each other, is course x membership x membership.

    Parameters
    ----------
    rec : Recording or array, shape (n_samples, n_units)
        Activity in the order of time.
    window : float
        Length of windows, which do not overlap, in seconds, or samples where there is no time.
    n_communities : sequence of int
        Of these, the least that predicts a tenth of edges, left out, within an error of the best.
    test : Test
        `CircularShift` of each unit by itself, inside runs; 39 draws.
    progress : bool
        Show a bar.

    Returns
    -------
    DynamicConnectome
        Finding, memberships, courses. Errors are those of `connectivity`.

    Source: Dyballa et al. 2023 (system 15); communities are the factors, not of a block model.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((400, 6))
    >>> x[:200, :3] += 2 * x[:200, :1]
    >>> found = dynamic_connectome(x, 100, n_communities=[1], test=Test(19), progress=False)
    >>> found.labels()[[0, -1]].tolist()
    [[0, 0, 0, -1, -1, -1], [-1, -1, -1, -1, -1, -1]]
    """
    import pandas as pd

    x, _, stretch, _ = read_series(rec)
    null, n = test.null_or(CircularShift()), test.draws(39)

    def measured(series: Array) -> Any:
        given = cast(Any, rec).copy(data=series) if hasattr(rec, "dims") else series
        return connectivity(given, measure="affinity", window=window, step=window, test=None)

    found, off = measured(x), ~np.eye(x.shape[1], dtype=bool)
    require_movable(centred(x, stretch), null, stretch)
    out = np.triu(np.random.default_rng(test.seed).random(found.values.shape) < 0.1, 1)
    kept = off & ~(out | out.swapaxes(1, 2))
    calm = moved_series(x, null, stretch, BASE, seed=test.seed, start=n)
    base = np.mean([measured(series).values for series in calm], axis=(0, 1))
    a, errors = found.values - base, {}
    for k in tracked(n_communities, "Choosing a number", unit="fits", progress=progress):
        t, u = _factors(a, k, kept, test.seed)
        errors[k] = ((a - (t[:, None] * u) @ u.T)[out]) ** 2
    best = min(errors.values(), key=np.mean)
    more = {k: one - best for k, one in errors.items()}
    k = min(k for k, d in more.items() if d.mean() <= d.std() / len(d) ** 0.5)
    t, u = _factors(a, k, off, test.seed)
    moved = moved_series(x, null, stretch, n, seed=test.seed)
    moved = tracked(moved, "Factorising", total=n, unit="draws", progress=progress)
    fits = (_factors(measured(series).values - base, k, off, test.seed) for series in moved)
    drawn = [[_affinity(*fit).max()] for fit in fits]
    order = np.argsort(-_affinity(t, u))
    t, u = t[:, order], u[:, order]
    about: Any = {"score": "affinity", "method": "dynamic_connectome", "null": null.name}
    about["units"] = [f"community[{i}]" for i in range(k)]
    finding = against_null(_affinity(t, u), drawn, alternative="greater", test=test, **about)
    finding = finding.assign(variation=t.std(axis=0) / np.maximum(t.mean(axis=0), 1e-12))
    held_out = pd.Series({k: one.sum() / (a[out] ** 2).sum() for k, one in errors.items()})
    return DynamicConnectome(finding, u, t, found.matrices, held_out)


def _affinity(t: Array, u: Array) -> Array:
    """Return the root mean square of what each community adds to two units' affinity."""
    pairs = (u**2).sum(axis=0) ** 2 - (u**4).sum(axis=0)
    return np.asarray(np.sqrt((t**2).mean(axis=0) * pairs / (len(u) * (len(u) - 1))))


def _factors(a: Array, k: int, mask: Any, seed: int) -> tuple[Array, Array]:
    """Return courses and memberships: least squares over the mask, the best of some starts.

    Multiplicative updates; negative entries are on the other side (Ding et al. 2010, semi-NMF).
    """
    plus, minus, fits = np.maximum(a, 0) * mask, np.maximum(-a, 0) * mask, []
    for start in range(STARTS):
        rng = np.random.default_rng([seed, k, start])
        t, u = rng.random((len(a), k)), rng.random((a.shape[1], k))
        for step in range(2 * STEPS):
            below = minus + (t[:, None] * u) @ u.T * mask
            changed, other, axis = (t, u, 1) if step % 2 else (u, t[:, None], 0)
            up, down = ((side @ u * other).sum(axis=axis) for side in (plus, below))
            changed *= np.sqrt(up / (down + 1e-12))
        largest, error = np.maximum(u.max(axis=0), 1e-12), (a - (t[:, None] * u) @ u.T) * mask
        fits.append(((error**2).sum(), t * largest**2, u / largest))
    return min(fits, key=lambda fit: fit[0])[1:]
