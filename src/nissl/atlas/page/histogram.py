"""Histograms as the page draws them: few bins, each with finite edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["display_bins", "histograms_of"]

OCTAVES = 7  # below the outermost that is filled; what is smaller is one bin around zero


def histograms_of(folder: Path, rows: list[int]) -> list[tuple[list[int], list[float]]]:
    """Read the histograms of some units.

    Parameters
    ----------
    folder : Path
        The atlas.
    rows : list of int
        The units.

    Returns
    -------
    list of (list of int, list of float)
        Counts, and edges (one more), of each row; an empty list where the atlas has none.

    Examples
    --------
    >>> histograms_of(Path("no-such-atlas"), [0])
    []
    """
    import zarr

    path = folder / "arrays.zarr"
    arrays: Any = zarr.open_group(path, mode="r") if path.exists() else {}
    if "histogram" not in arrays or "edges" not in arrays:
        return []
    edges, chosen = arrays["edges"], arrays["histogram"].oindex[rows]
    own = edges.oindex[rows] if edges.ndim == 2 else [np.asarray(edges)] * len(rows)
    own = np.asarray(own, dtype=float)
    return [display_bins(counts, at) for counts, at in zip(chosen, own, strict=True)]


def display_bins(
    counts: NDArray[np.integer[Any]], edges: NDArray[np.floating[Any]]
) -> tuple[list[int], list[float]]:
    """Reduce one histogram to the bins that are drawn.

    Parameters
    ----------
    counts : array of int, shape (n_bins,)
        How many values each bin holds.
    edges : array, shape (n_bins + 1,)
        Rising; infinite at the ends where bins grow with magnitude
        (`nissl.statistics.Histogram`).

    Returns
    -------
    counts : list of int
        Of bins that grow with magnitude: one bin an octave down to 1/128 of the largest that is
        filled, and one around zero. Of others: as they were, without the empty ones at the ends.
    edges : list of float
        One more than the counts; finite.

    Examples
    --------
    >>> display_bins(np.array([0, 3, 5, 0]), np.array([0.0, 1.0, 2.0, 3.0, 4.0]))
    ([3, 5], [1.0, 2.0, 3.0])
    >>> edges = np.array([-np.inf, -2, -1.5, -1, 1, 1.5, 2, np.inf])
    >>> display_bins(np.array([0, 0, 1, 9, 2, 4, 0]), edges)
    ([1, 9, 6], [-2.0, -1.0, 1.0, 2.0])
    """
    filled = np.flatnonzero(counts)
    if len(filled) == 0:
        return [0], [-1.0, 1.0]
    first, last = int(filled[0]), int(filled[-1]) + 1
    if np.isfinite(edges).all():
        return counts[first:last].tolist(), [_short(e) for e in edges[first : last + 1]]
    # The outermost bins are open: what lies in them is drawn with the bin before.
    inside = np.nan_to_num(edges, neginf=edges[1], posinf=edges[-2])
    lowest, highest = float(inside[first]), float(inside[last])
    top = max(_octave(lowest), _octave(highest))
    whole = [float(e) for e in inside if abs(np.frexp(e)[0]) == 0.5]
    kept = sorted({e for e in whole if top - OCTAVES <= _octave(e) <= top})
    if lowest < 0 < highest:
        kept = [e for e in kept if 2 * lowest < e < 2 * highest]
    cuts = np.searchsorted(edges, kept)
    parts = np.add.reduceat(np.append(counts, 0), cuts)[: len(kept) - 1]
    parts[0] += counts[: cuts[0]].sum()
    parts[-1] += counts[cuts[-1] :].sum()
    return parts.tolist(), [_short(e) for e in kept]


def _octave(edge: float) -> int:
    """The power of two at or above a magnitude."""
    mantissa, exponent = np.frexp(abs(edge))
    return int(exponent) - (1 if mantissa == 0.5 else 0)


def _short(edge: float) -> float:
    return float(f"{float(edge):.5g}")
