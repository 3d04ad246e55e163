"""NWB: units tables as binned spikes, fluorescence and other series, and behaviour beside them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.readers._files import existing, library, reading
from nissl.recording.readers._intervals import (
    disjoint,
    interval_of,
    interval_table,
    singular,
    table_columns,
)
from nissl.recording.readers._series import (
    behaviour_columns,
    is_behaviour,
    times_of,
    types,
    values_of,
)
from nissl.recording.recording import Recording, as_recording, check
from nissl.recording.spikes import bin_spikes

__all__ = ["read_nwb"]

#: What the numbers of a series are, by its NWB type.
QUANTITY = {"RoiResponseSeries": "calcium", "ElectricalSeries": "voltage"}


def read_nwb(
    path: Path | str,
    *,
    series: str | None = None,
    bin: float = 0.1,
    intervals: Any = None,
    start: float | None = None,
    stop: float | None = None,
    behaviour: bool = True,
    max_gap: float = 0.5,
) -> Recording:
    """Read activity from a file of Neurodata Without Borders.

    Parameters
    ----------
    path : Path or str
        An ``.nwb`` file (HDF5).
    series : str, optional
        What to read: ``"units"`` for the table of sorted units, or the name of a series
        (``"Fluorescence"``; ``"module/container/name"`` where names repeat). Without it: the units
        where there are any, else the only series.
    bin : float
        Width of a bin in seconds, for units.
    intervals : str, mapping, DataFrame or array of shape (n_intervals, 2), optional
        The name of a table of the file (``"trials"``, ``"epochs"``), or intervals of your own with
        columns ``start`` and ``stop`` in seconds. Bins do not reach over their edges; samples of a
        series outside of them are left out. Without it and without `start` and `stop`, spikes are
        binned in the file's ``epochs`` where it has them and they do not overlap, else from the
        first spike to the last.
    start, stop : float, optional
        Read this stretch only, in seconds.
    behaviour : bool
        Put spatial and behavioural series beside the samples, interpolated at their times;
        directions are interpolated on the circle. NaN where nothing was tracked.
    max_gap : float
        The longest gap in tracking that is interpolated, in seconds; never less than one and a
        half of the series' own steps.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        Units are addressed as ``units[id]`` or ``series[i]``, with the columns of their table
        (``location`` also as ``region``). Samples have ``time`` in seconds, the columns of
        `intervals` (as ``interval_...`` where the units have a column of that name), the row of
        every other table of intervals that does not overlap (``trial``, ...; -1 outside of it),
        and behaviour. Series are scaled to their stated unit.

    Raises
    ------
    NisslError
        The file is missing, damaged or holds no activity; several series could be meant; the
        library is not installed.
    UnknownName
        There is no such series or table of intervals.

    Source: the NWB schema 2; pynwb reads it.

    Examples
    --------
    >>> import datetime
    >>> import tempfile
    >>> import pynwb
    >>> day = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    >>> file = pynwb.NWBFile("a session", "mouse 1", day)
    >>> file.add_unit(spike_times=[0.1, 0.7, 0.9])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with pynwb.NWBHDF5IO(Path(folder, "mouse.nwb"), "w") as io:
    ...         io.write(file)
    ...     rec = read_nwb(Path(folder, "mouse.nwb"), bin=0.5, start=0.0, stop=1.0)
    >>> rec.values.tolist(), rec["unit"].values.tolist()
    ([[1], [2]], ['units[0]'])
    """
    pynwb = library("pynwb", reads="NWB")
    path = existing(path)
    with reading(path, "NWB"), _open(pynwb, path) as io:
        file = _quietly(io.read)
        there = _candidates(pynwb, file)
        name = _choose(path, there, series, pynwb)
        tables = {str(n): interval_table(t, str(n)) for n, t in (file.intervals or {}).items()}
        chosen, wanted = _chosen_intervals(tables, intervals, start, stop, spikes=name == "units")
        if name == "units":
            rec = _binned_units(file.units, bin, wanted, start, stop)
        else:
            rec = _series_recording(path, name, there[name], wanted, start, stop)
        labels = _interval_rows(rec, tables, chosen)
        if behaviour:
            beside = {n: s for n, s in there.items() if n != name and is_behaviour(s, pynwb)}
            taken = {*map(str, rec.coords), *labels}
            labels |= behaviour_columns(rec["time"].values, beside, max_gap, taken)
        attrs = {"source": path.name, **_session(file)}
    rec = rec.assign_coords({n: ("sample", c) for n, c in labels.items()})
    return check(rec.assign_attrs(attrs))


def _open(pynwb: Any, path: Path) -> Any:
    return _quietly(pynwb.NWBHDF5IO, str(path), mode="r", load_namespaces=True)


def _quietly(call: Any, *args: Any, **kwargs: Any) -> Any:
    """Call pynwb without its warnings of namespaces that are older than the library's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*args, **kwargs)


def _candidates(pynwb: Any, file: Any) -> dict[str, Any]:
    """Return what could be read, by a name that is unique in the file."""
    found = [
        s
        for s in file.objects.values()
        if isinstance(s, pynwb.TimeSeries)
        and not isinstance(s, pynwb.image.ImageSeries)
        and getattr(s.data, "ndim", np.ndim(s.data)) in (1, 2)
        and np.size(s.data) > 0
        and np.asarray(s.data[:1]).dtype.kind in "fiub"
    ]
    found.sort(key=lambda s: (is_behaviour(s, pynwb), s.name))
    names = ["units", *(s.name for s in found)]
    there: dict[str, Any] = {} if file.units is None else {"units": file.units}
    for s in found:
        there[s.name if names.count(s.name) == 1 else _address(s)] = s
    return there


def _address(series: Any) -> str:
    """Return where a series lies in the file: ``ophys/Fluorescence/plane0``."""
    parts = [series.name]
    while (series := series.parent) is not None and series.parent is not None:
        parts.append(series.name)
    return "/".join(reversed(parts))


def _choose(path: Path, there: Mapping[str, Any], series: str | None, pynwb: Any) -> str:
    listed = ", ".join(there) or "nothing"
    if series is not None:
        if series not in there:
            raise UnknownName("series", series, there, do=f"series= is one of: {listed}")
        return series
    if "units" in there:
        return "units"
    activity = [n for n, s in there.items() if not is_behaviour(s, pynwb)]
    if len(activity) == 1:
        return activity[0]
    raise NisslError(
        "the file holds several series" if activity else "the file holds no activity",
        where=str(path),
        do=f"choose one with series=; there is: {listed}",
    )


def _chosen_intervals(
    tables: Mapping[str, Any], intervals: Any, start: float | None, stop: float | None, spikes: bool
) -> tuple[str | None, Any]:
    """Return the name of the table of intervals that is meant, and the intervals."""
    if isinstance(intervals, str):
        if intervals not in tables:
            raise UnknownName(
                "table of intervals", intervals, tables, do=f"there are: {', '.join(tables)}"
            )
        return intervals, tables[intervals]
    if intervals is not None:
        return None, intervals
    if spikes and start is None and stop is None and disjoint(tables.get("epochs")):
        return "epochs", tables["epochs"]
    return None, None


def _binned_units(
    units: Any, bin: float, wanted: Any, start: float | None, stop: float | None
) -> Recording:
    ids = np.asarray(units.id[:])
    columns = table_columns(units, leave=("spike_times", "obs_intervals", "waveforms"))
    columns = {n: c for n, c in columns.items() if n not in ("unit", "site", "index")}
    if "spike_times" not in units.colnames:
        raise NisslError("the table of units has no spike times", do="choose a series with series=")
    ends = np.asarray(units["spike_times"].data[:], dtype=np.int64)
    times = np.asarray(units["spike_times"].target.data[:], dtype=np.float64)
    # Ids need not be unique in NWB; rows are.
    index = ids if len(np.unique(ids)) == len(ids) else np.arange(len(ids))
    addresses = np.array([f"units[{i}]" for i in index])
    rows = np.arange(len(ids))
    wanted = _without_clashes(wanted, columns)
    rec = bin_spikes(
        # Rows, not addresses, of every spike: a hundred million strings would take gigabytes.
        {"time": times, "unit": np.repeat(rows, np.diff(ends, prepend=0))},
        bin=bin,
        start=start,
        stop=stop,
        intervals=wanted,
        units={"unit": rows, "site": ["units"] * len(ids), "index": index, **columns},
    )
    return rec.assign_coords(unit=addresses)


def _series_recording(
    path: Path, name: str, series: Any, wanted: Any, start: float | None, stop: float | None
) -> Recording:
    times = times_of(series)
    rows = slice(*np.searchsorted(times, [-np.inf if start is None else start, np.inf]))
    if (start is not None or stop is not None) and (np.diff(times) < 0).any():
        raise NisslError(
            f"the times of '{name}' go back, so that no stretch of it can be read",
            where=str(path),
            do="read all of it, and select by time",
        )
    if stop is not None:
        rows = slice(rows.start, int(np.searchsorted(times, stop)))
    samples: dict[str, Any] = {"time": times[rows]}
    values = values_of(path, series, rows, len(times))
    regions = getattr(series, "rois", None) or getattr(series, "electrodes", None)
    columns: dict[str, Any] = {}
    if regions is not None:
        picked = np.asarray(regions.data[:])
        columns = {n: c[picked] for n, c in table_columns(regions.table).items()}
    n_units = values.shape[1]
    columns = {n: c for n, c in columns.items() if len(c) == n_units and n != "unit"}
    columns |= {"site": np.full(n_units, name), "index": np.arange(n_units)}
    if wanted is not None:
        row, further = interval_of(samples["time"], _without_clashes(wanted, columns))
        values, inside = values[row >= 0], row >= 0
        samples = {"time": samples["time"][inside], "interval": row[inside]}
        samples |= {n: c[row[inside]] for n, c in further.items() if n not in samples}
    kind = next((q for t, q in QUANTITY.items() if t in types(series)), "activity")
    attrs = {"measured_in": str(series.unit or "")}
    return as_recording(values, samples=samples, units=columns, quantity=kind, attrs=attrs)


def _without_clashes(intervals: Any, columns: Mapping[str, Any]) -> Any:
    """Rename columns of intervals that are called as columns of the units are."""
    if not hasattr(intervals, "keys"):
        return intervals
    clashing = {"unit", *columns}
    return {f"interval_{n}" if n in clashing else n: intervals[n] for n in intervals}


def _interval_rows(rec: Recording, tables: Mapping[str, Any], chosen: str | None) -> dict[str, Any]:
    """Return the row of every other table of intervals in which each sample lies."""
    time = rec["time"].values
    return {
        singular(name): interval_of(time, table)[0]
        for name, table in tables.items()
        if name != chosen and singular(name) not in rec.coords and disjoint(table)
    }


def _session(file: Any) -> dict[str, str]:
    """Return what the file says of its session and animal."""
    subject = file.subject
    about = {
        "identifier": file.identifier,
        "session": file.session_id or file.session_description,
        "subject": getattr(subject, "subject_id", None),
        "species": getattr(subject, "species", None),
    }
    return {name: str(value) for name, value in about.items() if value}
