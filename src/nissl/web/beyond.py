"""How often an atlas saw a unit as far from its middle as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nissl.web.index import Index

__all__ = ["Beyond", "share_beyond"]

Array = NDArray[np.floating[Any]]


class Beyond:
    """Shares of the atlas's samples beyond a value, from its histograms.

    Parameters
    ----------
    index : Index
        Of the atlas.

    Examples
    --------
    >>> Beyond(index)([812], [7.5], above=[True])  # doctest: +SKIP
    [0.00021]
    """

    def __init__(self, index: Index) -> None:
        self.index = index

    @cached_property
    def _histograms(self) -> tuple[NDArray[np.integer[Any]], Array] | None:
        """Counts of every unit's values and the edges of their bins, where the atlas has them."""
        path = self.index.atlas.path / "arrays.zarr"
        arrays = self.index.atlas.arrays if path.exists() else {}
        if "histogram" not in arrays or "edges" not in arrays:
            return None
        counts, edges = np.asarray(arrays["histogram"]), np.asarray(arrays["edges"], dtype=float)
        return (counts, edges) if len(counts) == len(self.index.table) else None

    def __call__(
        self, rows: Sequence[int], values: Sequence[float], *, above: Sequence[bool]
    ) -> list[float | None]:
        """Return for each unit the share of samples that are as far as a value, or farther.

        Parameters
        ----------
        rows : sequence of int
            Rows of the units.
        values : sequence of float
            Their activity.
        above : sequence of bool
            Whether what is higher is farther, or what is lower.

        Returns
        -------
        list of float or None
            None where the atlas has no histogram. 0 where it saw none.
        """
        if self._histograms is None:
            return [None] * len(rows)
        counts, edges = self._histograms
        low, high = (self.index.table[name].to_numpy(float) for name in ("min", "max"))
        return [
            share_beyond(
                counts[row],
                edges[row] if edges.ndim == 2 else edges,
                value if up else -value,
                ends=(low[row], high[row]),
                above=up,
            )
            if np.isfinite(value)
            else None
            for row, value, up in zip(rows, values, above, strict=True)
        ]


def share_beyond(
    counts: NDArray[np.integer[Any]],
    edges: Array,
    value: float,
    *,
    ends: tuple[float, float],
    above: bool = True,
) -> float | None:
    """Return the share of a histogram at a value and beyond, even within the value's bin.

    Parameters
    ----------
    counts : array of int, shape (n_bins,)
        How many values each bin holds.
    edges : array, shape (n_bins + 1,)
        Rising; the outermost may be infinite.
    value : float
        The value; where `above` is False, turned in its sign.
    ends : pair of float
        The lowest and the highest value that was counted.
    above : bool
        Whether what is higher is farther; else what is lower.

    Returns
    -------
    float or None
        None of an empty histogram; 0 beyond the farthest, else at least one of all.

    Examples
    --------
    >>> edges = np.array([0.0, 1.0, 2.0])
    >>> share_beyond(np.array([6, 4]), edges, 1.5, ends=(0.0, 2.0))
    0.2
    >>> share_beyond(np.array([6, 4]), edges, -0.5, ends=(0.0, 2.0), above=False)
    0.3
    """
    if not above:  # the mirrored histogram
        counts, edges, ends = counts[::-1], -edges[::-1], (-ends[1], -ends[0])
    total = int(counts.sum())
    if not total:
        return None
    if value > ends[1]:
        return 0.0
    edges = np.clip(edges, *ends)
    left, right = edges[:-1], edges[1:]
    width = right - left
    part = np.where(width > 0, (right - value) / np.where(width > 0, width, 1), left >= value)
    return max(float((np.clip(part, 0, 1) * counts).sum()), 1.0) / total
