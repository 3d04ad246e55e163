"""Spikes: a table of events and a table of intervals, binned into a Recording of counts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording._times import interval_columns, reaching
from nissl.recording.free_memory import require_memory
from nissl.recording.labels import apart
from nissl.recording.recording import Recording, as_recording

if TYPE_CHECKING:
    import pandas as pd

    Table = Mapping[str, Any] | pd.DataFrame

__all__ = ["bin_spikes"]


def bin_spikes(
    events: Table,
    *,
    bin: float,
    start: float | None = None,
    stop: float | None = None,
    intervals: Table | Any | None = None,
    units: Table | Sequence[Any] | None = None,
) -> Recording:
    """Count the spikes of every unit in bins of equal width.

    Each interval is cut into whole bins from its own start, half-open ``[left, right)``; what is
    left at its end is not binned, so no bin reaches over the edge of an interval. Times are
    compared to a nanosecond: a spike at 0.3 s lies in the bin that begins there.

    Parameters
    ----------
    events : mapping or DataFrame
        One row for each spike: ``time`` in seconds, in any order, and ``unit``, the unit's id
        (a number or a string; 1, 1.0 and "1" are one id).
    bin : float
        Width of a bin, in seconds.
    start, stop : float, optional
        One interval, in seconds; from the first spike to the last where neither is given.
    intervals : mapping, DataFrame, pynapple.IntervalSet or array, optional
        Columns ``start`` and ``stop`` in seconds (an array of shape (n_intervals, 2)), instead of
        `start` and `stop`; further columns,
        such as ``trial`` or ``condition``, become sample coordinates (``interval_time``, where
        one is called as ours are).
    units : mapping, DataFrame or sequence, optional
        The units wanted, in this order: their ids, or a table with a column ``unit`` of ids whose
        further columns become unit coordinates. Units that never fire have zeros; spikes of other
        units are left out. Without it: the ids that occur, sorted.

    Returns
    -------
    Recording, shape (n_bins, n_units)
        int32 counts, quantity "spikes", attribute ``bin``. Sample coordinates: ``time`` (centre of
        the bin, seconds), ``interval`` (its row among the intervals), ``time_in_interval``
        (seconds from the interval's start), and the intervals' own columns.

    Raises
    ------
    NisslError
        A column is missing, a time is not finite, an id is missing, an interval ends before it
        starts, an id occurs twice among `units`, or there is nothing to bin.

    Warns
    -----
    UserWarning
        No spike at all falls into the intervals, as when times are in milliseconds.

    Examples
    --------
    >>> events = {"time": [0.05, 0.15, 0.17, 1.05], "unit": ["a", "a", "b", "b"]}
    >>> rec = bin_spikes(events, bin=0.1, intervals=[[0.0, 0.25], [1.0, 1.1]])
    >>> rec.values.tolist(), rec["interval"].values.tolist()
    ([[1, 0], [1, 1], [0, 1]], [0, 0, 1])
    """
    if not np.isfinite(bin) or bin <= 0:
        raise NisslError(
            f"a bin of {bin} s cannot be counted in", do="give bin= in seconds, above 0"
        )
    times, ids, dtype = _events(events)
    bounds, interval_columns = _intervals(intervals, start, stop, times, bin)
    addresses, unit_columns, code = _units(units, ids)

    known = code >= 0
    if not known.all():
        times, code = times[known], code[known]
    if len(bounds) > 1 and (times[1:] < times[:-1]).any():
        order = np.argsort(times, kind="stable")
        times, code = times[order], code[order]
    # Forgives the rounding of 0.3 / 0.1, and of times as large as dates, no more.
    rounding = 1e-6 + 2 * np.spacing(np.abs(bounds).max(axis=1)) / bin
    n_bins = np.floor((bounds[:, 1] - bounds[:, 0]) / bin + rounding).astype(np.int64)
    counts = _count(times, code, bounds, n_bins, bin, len(addresses), dtype)

    interval = np.repeat(np.arange(len(bounds)), n_bins)
    first = np.repeat(np.cumsum(n_bins) - n_bins, n_bins)
    within = (np.arange(len(interval)) - first + 0.5) * bin
    samples = {
        "time": bounds[interval, 0] + within,
        "interval": interval,
        "time_in_interval": within,
        **{name: column[interval] for name, column in interval_columns.items()},
    }
    return as_recording(
        counts,
        samples=samples,
        units={"unit": addresses, **unit_columns},
        quantity="spikes",
        attrs={"bin": float(bin)},
    )


def _count(
    times: np.ndarray[Any, Any],
    code: np.ndarray[Any, Any],
    bounds: np.ndarray[Any, Any],
    n_bins: np.ndarray[Any, Any],
    bin: float,
    n_units: int,
    dtype: np.dtype[Any],
) -> np.ndarray[Any, Any]:
    """Count spikes interval by interval, sorted where there are several; they may overlap."""
    total = int(n_bins.sum())
    if total == 0:
        raise NisslError(
            f"no interval is as long as a bin of {bin} s", do="give a smaller bin, in seconds"
        )
    require_memory(
        total * n_units * 4,
        f"counting {total:,} bins of {n_units:,} units",
        do="give a larger bin, fewer units or shorter intervals; times are in seconds",
    )
    counts = np.zeros((total, n_units), dtype=np.int32)
    row = 0
    used = 0
    for (left, _), n in zip(bounds, n_bins, strict=True):
        edges = reaching(left + bin * np.arange(n + 1), dtype=dtype, step=bin)
        # Only this interval's spikes are looked at, so the cost is that of the spikes, not
        # spikes x intervals.
        if len(bounds) > 1:
            here: Any = slice(*np.searchsorted(times, edges[[0, -1]], side="left"))
        else:
            here = (times >= edges[0]) & (times < edges[-1])
        place = _bin_of(times[here], edges, bin)
        # One index of one type: numpy adds ten times as fast as by pairs.
        cells = counts[row : row + n].reshape(-1)
        np.add.at(cells, place * n_units + code[here], np.int32(1))
        row += int(n)
        used += len(place)
    if used == 0 and len(times):
        warnings.warn(
            f"none of the {len(times)} spikes ({times.min():g} to {times.max():g} s) falls into"
            f" the intervals ({bounds.min():g} to {bounds.max():g} s); times are in seconds",
            stacklevel=3,
        )
    return counts


def _bin_of(
    times: np.ndarray[Any, Any], edges: np.ndarray[Any, Any], bin: float
) -> np.ndarray[Any, Any]:
    """Return the bin of every time: reckoned, and compared with its edges until it lies between."""
    place = ((times - edges[0]) / bin).astype(np.int64)
    while True:
        np.clip(place, 0, len(edges) - 2, out=place)
        move = (times >= edges[place + 1]).astype(np.int8) - (times < edges[place])
        if not move.any():
            return np.asarray(place)
        place += move


def _events(
    events: Table,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.dtype[Any]]:
    """Return the times, the ids, and the type in which the times were kept."""
    given = np.asarray(_column(events, "time", "events"))
    if given.dtype.kind not in "fiuO":
        raise NisslError(
            f"the times of events are {given.dtype}", where="time", do="give seconds, as numbers"
        )
    times, ids = given.astype(np.float64, copy=False), np.asarray(_column(events, "unit", "events"))
    if times.shape != ids.shape or times.ndim != 1:
        raise NisslError(
            f"events have {times.shape} times and {ids.shape} units",
            do="give one time and one unit for each spike",
        )
    bad = np.flatnonzero(~np.isfinite(times))
    if len(bad):
        raise NisslError(
            f"{len(bad)} spikes have no finite time",
            where=f"event {bad[0]}",
            do="drop those rows, or find out why they are there",
        )
    return times, ids, given.dtype


def _intervals(
    intervals: Any, start: float | None, stop: float | None, times: np.ndarray[Any, Any], bin: float
) -> tuple[np.ndarray[Any, Any], dict[str, np.ndarray[Any, Any]]]:
    """Return bounds of shape (n_intervals, 2), and the intervals' other columns."""
    further: dict[str, np.ndarray[Any, Any]] = {}
    if intervals is None:
        if len(times) == 0 and (start is None or stop is None):
            raise NisslError("there are no spikes to say when they begin", do="give start and stop")
        left = float(times.min()) if start is None else float(start)
        # One bin more, so that the last spike is counted.
        right = float(times.max()) + bin if stop is None else float(stop)
        bounds = np.array([[left, right]])
    elif start is not None or stop is not None:
        raise NisslError("both intervals and start or stop are given", do="give one of them")
    else:
        bounds, further = interval_columns(intervals)
        further = apart(further, ("time", "interval", "time_in_interval"), "interval")
    if bounds.ndim != 2 or bounds.shape[1] != 2 or len(bounds) == 0:
        raise NisslError(
            f"intervals have shape {bounds.shape}, not (n_intervals, 2)",
            do="give one start and one stop, in seconds, for each interval",
        )
    bad = np.flatnonzero(~(np.isfinite(bounds).all(axis=1) & (bounds[:, 1] > bounds[:, 0])))
    if len(bad):
        left, right = bounds[bad[0]]
        raise NisslError(
            f"an interval goes from {left:g} to {right:g} s",
            where=f"interval {bad[0]}",
            do="let every interval end after it starts",
        )
    return bounds, further


def _units(
    units: Any, ids: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], dict[str, Any], np.ndarray[Any, Any]]:
    """Return the addresses, further unit columns, and each event's unit (-1: not wanted)."""
    further: dict[str, Any] = {}
    written, which = _ids(ids, "events")
    if units is None:
        wanted = list(dict.fromkeys(written))
    elif isinstance(units, Mapping) or hasattr(units, "columns"):
        names, row = _ids(np.asarray(_column(units, "unit", "units")), "units=")
        wanted = [names[i] for i in row]
        further = {str(n): c for n, c in units.items() if n != "unit"}
    else:
        names, row = _ids(np.asarray(units), "units=")
        wanted = [names[i] for i in row]
    if len(wanted) == 0:
        raise NisslError("there are no units", do="give events, or units=")
    position = {address: i for i, address in enumerate(wanted)}
    if len(position) != len(wanted):
        repeated = next(n for i, n in enumerate(wanted) if position[n] != i)
        raise NisslError(f"unit '{repeated}' occurs twice among units=", do="name each unit once")
    lookup = np.array([position.get(name, -1) for name in written], dtype=np.int64)
    return np.array(wanted), further, lookup[which] if len(written) else which


def _ids(ids: np.ndarray[Any, Any], of: str) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Return the ids that occur as they are written, sorted, and which of them each cell is."""
    import pandas as pd

    which, distinct = pd.factorize(ids, sort=ids.dtype.kind in "fiub")
    if (which < 0).any() or (ids.dtype.kind in "OU" and "" in distinct):
        bad = int(np.argmax(which < 0)) if (which < 0).any() else ids.tolist().index("")
        raise NisslError(
            f"unit ids are missing in {of}",
            where=f"row {bad}",
            do="drop those rows, or find out why they are there",
        )
    # Objects may be numbers, words, or both.
    order = sorted(range(len(distinct)), key=lambda i: (isinstance(distinct[i], str), distinct[i]))
    return [_written(distinct[i]) for i in order], np.argsort(order)[which]


def _written(id: Any) -> str:
    """Return an id as text: whole numbers without a point, so that 3 and 3.0 are one unit."""
    if isinstance(id, bytes):
        return id.decode("utf-8", "replace")
    whole = isinstance(id, (float, np.floating)) and float(id).is_integer()
    return str(int(id)) if whole else str(id)


def _column(table: Any, name: str, of: str) -> Any:
    if name not in table:
        raise UnknownName(
            f"column of {of}", name, [str(n) for n in table], do=f"{of} need a column '{name}'"
        )
    return table[name]
