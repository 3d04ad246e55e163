"""Series of NWB: their times, their values in the stated unit, and behaviour at other times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.free_memory import require_memory


def is_behaviour(series: Any, pynwb: Any) -> bool:
    """Tell whether a series says where the animal was or what it did."""
    if not isinstance(series, pynwb.TimeSeries):
        return False
    above = [type(series.parent).__name__, getattr(series.parent, "name", "")]
    module = getattr(getattr(series.parent, "parent", None), "name", "")
    return (
        isinstance(series, pynwb.behavior.SpatialSeries)
        or "BehavioralTimeSeries" in above
        or "behavior" in (*above, module)
    )


def types(thing: Any) -> list[str]:
    """Return the names of a thing's type and of the types it derives from."""
    return [t.__name__ for t in type(thing).__mro__]


def times_of(series: Any) -> np.ndarray[Any, Any]:
    """Return the time of every sample of a series, in seconds."""
    if series.timestamps is not None:
        return np.asarray(series.timestamps[:], dtype=np.float64)
    first = 0.0 if series.starting_time is None else float(series.starting_time)
    return first + np.arange(_length(series)) / float(series.rate)


def _is_transposed(series: Any) -> bool:
    """Tell whether a series of ROIs was written with units first, against the schema."""
    rois = getattr(series, "rois", None)
    if rois is None or np.ndim(series.data) != 2:
        return False
    n = len(rois.data)
    return bool(series.data.shape[0] == n and series.data.shape[1] != n)


def _length(series: Any) -> int:
    return int(series.data.shape[1] if _is_transposed(series) else series.data.shape[0])


def values_of(path: Path, series: Any, rows: slice, n: int) -> np.ndarray[Any, Any]:
    """Return a stretch of a series, shape (n_rows, n_units), in its stated unit."""
    if _length(series) != n:
        raise NisslError(
            f"{n} times for {_length(series)} samples", where=f"{path}: {series.name}", do="mend it"
        )
    share = (rows.stop - rows.start) / max(n, 1)
    size = (
        int(np.prod(series.data.shape) * share) * 2 * max(np.dtype(series.data.dtype).itemsize, 4)
    )
    require_memory(
        size, "the series", where=str(path), do="read a stretch with start= and stop=, in seconds"
    )
    if _is_transposed(series):
        values = np.asarray(series.data[:, rows]).T
    else:
        values = np.asarray(series.data[rows])
    values = values[:, None] if values.ndim == 1 else values
    scale = float(series.conversion)
    channels = getattr(series, "channel_conversion", None)
    offset = float(getattr(series, "offset", 0.0) or 0.0)
    if scale == 1.0 and offset == 0.0 and channels is None:
        return values
    if values.dtype.kind in "iub":
        values = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    if channels is not None:
        values = values * np.asarray(channels[:], dtype=values.dtype)
    return np.asarray(values * scale + offset, dtype=values.dtype)


def behaviour_columns(
    times: np.ndarray[Any, Any], series_of: Mapping[str, Any], max_gap: float, taken: set[str]
) -> dict[str, Any]:
    """Return behaviour at some times, one column for each component, under names not taken."""
    found: dict[str, Any] = {}
    for name, series in series_of.items():
        data = np.asarray(series.data[:], dtype=np.float64) * float(series.conversion)
        data += float(getattr(series, "offset", 0.0) or 0.0)
        data = data[:, None] if data.ndim == 1 else data
        ends = ["xyz"[i] if data.shape[1] <= 3 else str(i) for i in range(data.shape[1])]
        for i, end in enumerate(ends):
            column = name.rsplit("/", 1)[-1] if data.shape[1] == 1 else f"{name}_{end}"
            while column in taken or column in found:
                column = f"{series.parent.name}_{column}"
            found[column] = interpolate(
                times,
                times_of(series),
                data[:, i],
                period=_period(series),
                max_gap=max_gap,
            )
    return found


def _period(series: Any) -> float | None:
    """Return the length of the circle on which a direction lies, or None."""
    unit = str(series.unit or "").lower()
    if unit.startswith("rad"):
        return 2 * np.pi
    direction = "CompassDirection" in types(series.parent)
    return 360.0 if direction and unit.startswith("deg") else None


def interpolate(
    at: np.ndarray[Any, Any],
    times: np.ndarray[Any, Any],
    values: np.ndarray[Any, Any],
    *,
    period: float | None = None,
    max_gap: float = 0.5,
) -> np.ndarray[Any, Any]:
    """Interpolate a series linearly, on the circle if it has a period, but not over long gaps.

    Parameters
    ----------
    at : array, shape (n_samples,)
        Where it is wanted, in seconds.
    times, values : array, shape (n_times,)
        Where it was measured, and what; values that are not finite count as not measured.
    period : float, optional
        The length of the circle: 2 pi or 360.
    max_gap : float
        The longest gap that is bridged, in seconds.

    Returns
    -------
    array, shape (n_samples,)
        NaN outside of what was measured and within longer gaps.

    Examples
    --------
    >>> t = np.array([0.0, 1.0])
    >>> interpolate(np.array([0.5, 2.0]), t, np.array([350.0, 20.0]), period=360, max_gap=1)
    array([ 5., nan])
    """
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    steps = np.diff(times)
    bridge = max(max_gap, 1.5 * float(np.median(steps))) if len(steps) else max_gap
    measured = np.isfinite(values) & np.isfinite(times)
    times, values = times[measured], values[measured]
    if len(times) == 0:
        return np.full(len(at), np.nan)
    low = 0.0 if period is None or values.min() >= 0 else -period / 2
    if period is not None:
        values = np.unwrap(values, period=period)
    result = np.interp(at, times, values, left=np.nan, right=np.nan)
    if period is not None:
        result = (result - low) % period + low
    right = np.clip(np.searchsorted(times, at, side="left"), 1, max(len(times) - 1, 1))
    if len(times) > 1:
        exact = np.isin(at, times)
        result[(times[right] - times[right - 1] > bridge) & ~exact] = np.nan
    return np.asarray(result)
