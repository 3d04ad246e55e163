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
from nissl.statistics.communities import communities, community_strength, errors_by_number
from nissl.statistics.series import centred, moved_series, read_series, require_movable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nissl.recording import Recording

__all__ = ["DynamicConnectome", "dynamic_connectome"]

Array = NDArray[np.floating[Any]]
BASE = 10  # draws that tell affinity without communities


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

    found = measured(x)
    require_movable(centred(x, stretch), null, stretch)
    calm = moved_series(x, null, stretch, BASE, seed=test.seed, start=n)
    base = np.mean([measured(series).values for series in calm], axis=(0, 1))
    a = found.values - base
    held_out, k = errors_by_number(a, n_communities, seed=test.seed, progress=progress)
    course, member = communities(a, k, seed=test.seed)
    moved = moved_series(x, null, stretch, n, seed=test.seed)
    moved = tracked(moved, "Factorising", total=n, unit="draws", progress=progress)
    fits = (communities(measured(one).values - base, k, seed=test.seed) for one in moved)
    drawn = [[community_strength(*fit).max()] for fit in fits]
    order = np.argsort(-community_strength(course, member))
    course, member = course[:, order], member[:, order]
    about: Any = {"score": "affinity", "method": "dynamic_connectome", "null": null.name}
    about |= {"units": [f"community[{i}]" for i in range(k)], "alternative": "greater"}
    finding = against_null(community_strength(course, member), drawn, test=test, **about)
    variation = course.std(axis=0) / np.maximum(course.mean(axis=0), 1e-12)
    finding = finding.assign(variation=variation)
    return DynamicConnectome(finding, member, course, found.matrices, pd.Series(held_out))
