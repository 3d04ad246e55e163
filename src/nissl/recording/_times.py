"""Times compared to a nanosecond, so that 3 * 0.1 and 0.3 are one moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nissl.errors import NisslError, UnknownName, first_line
from nissl.recording.labels import as_column

Array = np.ndarray[Any, Any]

NANOSECOND = 9  # decimals of a second; pynapple rounds its times likewise


def reaching(edges: Any, *, dtype: Any = np.float64, step: float = np.inf) -> Array:
    """Return, for each edge, the least time that has reached it.

    Times and edges count as rounded to a nanosecond, and never finer than the numbers that hold
    them: edges are products and sums, and times were written by another program.

    Parameters
    ----------
    edges : array
        In seconds.
    dtype : dtype
        The type in which the times were kept; float32 tells fewer apart.
    step : float
        The distance of edges; nothing is moved by more than a quarter of it.

    Returns
    -------
    array
        float64, of the edges' shape.

    Examples
    --------
    >>> bool(0.3 >= 3 * 0.1), bool(0.3 >= reaching(3 * 0.1))
    (False, True)
    """
    edges = np.asarray(edges, dtype=np.float64)
    finite = np.isfinite(edges)
    kind = np.dtype(dtype) if np.dtype(dtype).kind == "f" else np.dtype(np.float64)
    slack = np.maximum(0.5 * 10.0**-NANOSECOND, 2 * np.abs(edges) * np.finfo(kind).eps)
    if step < 1e-6:  # such bins are finer than what rounding to a nanosecond may touch
        slack = np.abs(edges) * 2 * np.finfo(kind).eps
    else:
        edges = np.asarray(np.round(edges, NANOSECOND))
    moved = np.where(finite, np.minimum(slack, step / 4), 0.0)
    return np.asarray(edges - moved)


def interval_columns(intervals: Any) -> tuple[Array, dict[str, Array]]:
    """Return the bounds of intervals, and their other columns.

    Parameters
    ----------
    intervals : mapping, DataFrame, pynapple.IntervalSet or array of shape (n_intervals, 2)
        Columns ``start`` and ``stop`` in seconds (pynapple: ``end``), and others.

    Returns
    -------
    bounds : array
        Shape (n_intervals, 2) where they are right; they are not looked at.
    columns : dict of str to array
        The others.

    Raises
    ------
    UnknownName
        A table lacks ``start`` or ``stop``.
    """
    if not isinstance(intervals, Mapping) and hasattr(intervals, "end"):
        bounds = np.stack([np.asarray(intervals.start), np.asarray(intervals.end)], axis=1)
        table = getattr(intervals, "metadata", None)
        intervals = {} if table is None else {n: table[n] for n in table}
    elif isinstance(intervals, Mapping) or hasattr(intervals, "columns"):
        for side in ("start", "stop"):
            if side not in intervals:
                known = [str(n) for n in intervals]
                do = f"intervals need a column '{side}'"
                raise UnknownName("column of intervals", side, known, do=do)
        bounds = np.stack([np.asarray(intervals[s], float) for s in ("start", "stop")], axis=1)
    else:
        if hasattr(intervals, "left") and hasattr(intervals, "right"):  # of pandas
            intervals = np.stack([np.asarray(intervals.left), np.asarray(intervals.right)], axis=1)
        try:
            return np.asarray(intervals, dtype=np.float64), {}
        except (TypeError, ValueError) as error:
            raise NisslError(
                f"intervals are not pairs of numbers: {first_line(error)}",
                do="give one start and one stop, in seconds, for each interval",
            ) from error
    others = {str(n): as_column(c) for n, c in intervals.items() if n not in ("start", "stop")}
    return bounds, others
