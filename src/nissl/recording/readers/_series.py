"""Series of NWB: their times, their values in the stated unit, and behaviour at other times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording._times import reaching
from nissl.recording.free_memory import require_memory
from nissl.recording.labels import as_variable
from nissl.recording.readers._files import IN_CACHE
from nissl.recording.readers._intervals import array_of, require_stored


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
        return array_of(series.timestamps, dtype=np.float64)
    require_stored(series.data)
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
    require_stored(series.data)
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
    dtype = values.dtype
    if dtype.kind in "iub":
        dtype = np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
    factors = None if channels is None else array_of(channels, dtype=dtype)
    scaled = np.empty(values.shape, dtype)
    step = max(1, IN_CACHE // values.shape[1])
    for first in range(0, len(values), step):
        part = scaled[first : first + step]
        part[:] = values[first : first + step]
        if factors is not None:
            part *= factors
        part *= scale
        if offset != 0.0 or scale <= 0 or values.dtype.kind == "f":  # where it may turn -0 into 0
            part += offset
    return scaled


def behaviour_columns(
    times: np.ndarray[Any, Any],
    series_of: Mapping[str, Any],
    max_gap: float,
    taken: set[str],
    bin: float | None = None,
) -> dict[str, Any]:
    """Return behaviour at some times, one column for each component, under names not taken.

    Events are counted in each sample, states are held, and what is continuous is interpolated.
    """
    found: dict[str, Any] = {}

    def free(name: str, series: Any) -> str:
        while name in taken or name in found:
            name = f"{series.parent.name}_{name}"
        return name

    for name, series in series_of.items():
        last, kind = name.rsplit("/", 1)[-1], _kind(series)
        if kind == "events":
            found[free(last, series)] = _counted(times, times_of(series), bin)
            continue
        data = array_of(series.data, dtype=np.float64) * float(series.conversion)
        data += float(getattr(series, "offset", 0.0) or 0.0)
        data = data[:, None] if data.ndim == 1 else data
        ends = ["xyz"[i] if data.shape[1] <= 3 else str(i) for i in range(data.shape[1])]
        for i, end in enumerate(ends):
            column = free(last if data.shape[1] == 1 else f"{name}_{end}", series)
            if kind == "continuous":
                period = _period(series, data[:, i])
                cells = interpolate(
                    times, times_of(series), data[:, i], period=period, max_gap=max_gap
                )
                found[column] = as_variable("sample", cells, {"period": period} if period else {})
            elif kind == "intervals":
                on = held(times, times_of(series), np.maximum(data[:, i], 0.0))
                found[column] = np.nan_to_num(on)
            else:
                found[column] = held(times, times_of(series), data[:, i], max_gap=max_gap)
    return found


def _kind(series: Any) -> str:
    """Tell what lies between the samples of a series: nothing, the last value, or a line."""
    stated = str(getattr(series, "continuity", None) or "")
    if "IntervalSeries" in types(series):
        return "intervals"
    if stated == "instantaneous" or "BehavioralEvents" in types(series.parent):
        return "events"
    if stated == "step":
        return "states"
    if stated == "continuous" or "SpatialSeries" in types(series):
        return "continuous"
    # Whole numbers that no factor turns into a measure are codes, or ticks, which holding keeps.
    scaled = float(series.conversion) != 1.0 or bool(getattr(series, "offset", 0.0))
    data = array_of(series.data)
    whole = data.dtype.kind in "iub" or bool((data[np.isfinite(data)] % 1 == 0).all())
    return "states" if whole and not scaled else "continuous"


def _counted(
    at: np.ndarray[Any, Any], times: np.ndarray[Any, Any], bin: float | None
) -> np.ndarray[Any, Any]:
    """Count events within each sample: in its bin, or nearer to it than half a step."""
    steps = np.diff(at[np.isfinite(at)])
    width = bin if bin is not None else float(np.median(steps)) if len(steps) else np.inf
    times = np.sort(times[np.isfinite(times)])
    right = np.searchsorted(times, reaching(at + width / 2))
    return np.asarray(right - np.searchsorted(times, reaching(at - width / 2)))


def held(
    at: np.ndarray[Any, Any],
    times: np.ndarray[Any, Any],
    values: np.ndarray[Any, Any],
    *,
    max_gap: float = np.inf,
) -> np.ndarray[Any, Any]:
    """Return the last value that was written before each time, as states are kept.

    Parameters
    ----------
    at : array, shape (n_samples,)
        Where it is wanted, in seconds.
    times, values : array, shape (n_times,)
        When each value began.
    max_gap : float
        A series that was sampled regularly is not held over longer gaps; one that was written
        only where it changed is held until the next change.

    Returns
    -------
    array, shape (n_samples,)
        NaN before the first.

    Examples
    --------
    >>> held(np.array([0.5, 1.5, 9.0]), np.array([1.0, 2.0]), np.array([7.0, 3.0]))
    array([nan,  7.,  3.])
    """
    there = np.isfinite(times)
    order = np.argsort(times[there], kind="stable")
    times, values = times[there][order], values[there][order]
    if len(times) == 0:
        return np.full(len(at), np.nan)
    row = np.searchsorted(reaching(times), at, side="right") - 1
    result = np.where(row >= 0, values[np.maximum(row, 0)], np.nan)
    steps = np.diff(times)
    step = float(np.median(steps)) if len(steps) else np.inf
    if np.mean(np.abs(steps - step) < step / 2) > 0.9 if len(steps) else False:
        result[at - times[np.maximum(row, 0)] > max(max_gap, 1.5 * step)] = np.nan
    return np.asarray(result)


def _period(series: Any, values: np.ndarray[Any, Any]) -> float | None:
    """Return the length of the circle on which a direction lies, or None.

    A direction is circular by its type; any other angle where it goes round nearly all of one
    circle and never leaves it (an unwrapped angle does).
    """
    unit = str(series.unit or "").lower().strip()
    period = {"rad": 2 * np.pi, "radian": 2 * np.pi, "radians": 2 * np.pi}.get(
        unit, 360.0 if unit in ("deg", "degree", "degrees", "\u00b0") else None
    )
    there = values[np.isfinite(values)]
    if period is None or len(there) == 0:
        return None
    low, high, slack = float(there.min()), float(there.max()), 1e-4 * period
    one_circle = any(a - slack <= low and high <= a + period + slack for a in (0.0, -period / 2))
    if "CompassDirection" in types(series.parent):
        return period if one_circle or high - low <= period + slack else None
    return period if one_circle and high - low > 0.75 * period else None


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
    order = order[np.isfinite(times[order])]
    times, values = times[order], values[order]
    steps = np.diff(times)
    bridge = max(max_gap, 1.5 * float(np.median(steps))) if len(steps) else max_gap
    measured = np.isfinite(values)
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
