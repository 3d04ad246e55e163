"""NWB: units tables as binned spikes, fluorescence and other series, and behaviour beside them."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording._times import interval_columns, reaching
from nissl.recording.labels import apart, as_variable
from nissl.recording.readers._files import damaged, existing, library, reading
from nissl.recording.readers._intervals import (
    array_of,
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

HEAP = b"GCOL\1\0\0\0"  # the beginning of a heap of HDF5

#: Sample coordinates, which no column of the units may be called as.
OWN = ("time", "interval", "time_in_interval", "trial", "epoch")
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
        Put spatial and behavioural series beside the samples: interpolated at their times,
        directions on the circle (they have an attribute ``period``); events counted in each
        sample, states held. NaN where nothing was tracked.
    max_gap : float
        The longest gap in tracking that is interpolated, in seconds; never less than one and a
        half of the series' own steps.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        Units are addressed as ``units[id]`` or ``series[i]``, with the columns of their table
        (``location`` also as ``region``). Samples have ``time`` in seconds, the columns of
        `intervals` (as ``interval_...`` where the units have a column of that name), the id of
        the trial and epoch (``trial``, ``epoch``; -1 outside of them, left out where they
        overlap), ``invalid_time`` (where the file says that its times are not to be used), and
        behaviour. Series are scaled to their stated unit. Spikes: bins in which no
        unit was observed (``obs_intervals``) are left out; where only some were, the others are
        NaN and the counts float32.

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
        labels = _interval_ids(rec, tables, chosen)
        if behaviour:
            beside = {n: s for n, s in there.items() if n != name and is_behaviour(s, pynwb)}
            taken = {*map(str, rec.coords), *labels}
            labels |= behaviour_columns(
                rec["time"].values, beside, max_gap, taken, rec.attrs.get("bin")
            )
        attrs = {"source": path.name, **_session(file)}
    rec = rec.assign_coords(
        {n: as_variable("sample", c, getattr(c, "attrs", None)) for n, c in labels.items()}
    )
    return check(rec.assign_attrs(attrs))


SCANNED = 1 << 26  # bytes, in which the heaps of words lie that are read on opening


def _heaps_are_whole(path: Path) -> None:
    """Refuse a heap of words with an object of no size, at which HDF5 would stay for ever."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(HEAP, 0, SCANNED)
        while at >= 0:
            size, place = int.from_bytes(data[at + 8 : at + 16], "little"), 16
            while place + 16 <= size and at + place + 16 <= len(data):
                header = data[at + place : at + place + 16]
                index, length = (
                    int.from_bytes(header[a:b], "little") for a, b in ((0, 2), (8, 16))
                )
                # Object 0 is what is free, and says its size with its header.
                place += 16 + (length + 7) // 8 * 8 if index else length
                if place > size or not (index or length):
                    raise damaged(path, "NWB", f"its heap at byte {at:,} is none")
            at = data.find(HEAP, at + 8, SCANNED)


def _open(pynwb: Any, path: Path) -> Any:
    _heaps_are_whole(path)
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
    ids = array_of(units.id)
    columns = table_columns(units, leave=("spike_times", "obs_intervals", "waveforms"))
    columns = apart(
        {n: c for n, c in columns.items() if n not in ("unit", "site", "index")}, OWN, "unit"
    )
    if "region" not in columns and "electrodes" in units.colnames:
        columns |= _regions(units)
    if "spike_times" not in units.colnames:
        raise NisslError("the table of units has no spike times", do="choose a series with series=")
    ends = array_of(units["spike_times"].data, dtype=np.int64)
    times = array_of(units["spike_times"].target.data, dtype=np.float64)
    # Ids need not be unique in NWB; rows are.
    index = ids if len(np.unique(ids)) == len(ids) else np.arange(len(ids))
    addresses = np.array([f"units[{i}]" for i in index])
    rows = np.arange(len(ids))
    observed = _observed(units)
    if observed is not None and wanted is None and start is None and stop is None:
        everywhere = _union(np.concatenate(list(observed.values())))
        wanted = everywhere if np.isfinite(everywhere).all() else None
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
    rec = rec.assign_coords(unit=addresses)
    return rec if observed is None else _where_observed(rec, observed, bin)


def _regions(units: Any) -> dict[str, Any]:
    """Return the regions of the electrodes on which each unit was seen."""
    electrodes = table_columns(units["electrodes"].target.table)
    if "region" not in electrodes:
        return {}
    ends = array_of(units["electrodes"].data, dtype=np.int64)
    rows = array_of(units["electrodes"].target.data, dtype=np.int64)
    seen = [electrodes["region"][r] for r in np.split(rows, ends[:-1])]
    return {"region": np.array([", ".join(dict.fromkeys(words.tolist())) for words in seen])}


def _observed(units: Any) -> dict[int, np.ndarray[Any, Any]] | None:
    """Return the intervals in which each unit was observed, where they are said of any."""
    if "obs_intervals" not in units.colnames:
        return None
    column = units["obs_intervals"]
    ends = array_of(column.data, dtype=np.int64)
    bounds = array_of(column.target.data, dtype=np.float64).reshape(-1, 2)
    of_unit = np.split(bounds, ends[:-1])
    if not any(len(b) for b in of_unit):
        return None
    always = np.array([[-np.inf, np.inf]])
    return {u: _union(b) if len(b) else always for u, b in enumerate(of_unit)}


def _union(bounds: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Join intervals that overlap or touch."""
    bounds = bounds[np.argsort(bounds[:, 0], kind="stable")]
    reach = np.maximum.accumulate(bounds[:, 1])
    first = np.flatnonzero(np.append(True, reaching(bounds[1:, 0]) > reach[:-1]))
    return np.stack([bounds[first, 0], reach[np.append(first[1:], len(bounds)) - 1]], axis=1)


def _where_observed(
    rec: Recording, observed: Mapping[int, np.ndarray[Any, Any]], bin: float
) -> Recording:
    """Leave out bins in which no unit was observed all the time; NaN where only some were."""
    left, right = (rec["time"].values + side * bin / 2 for side in (-1, 1))
    inside: dict[bytes, np.ndarray[Any, Any]] = {}
    seen = np.empty(rec.shape, dtype=bool)
    for unit, bounds in observed.items():
        key = bounds.tobytes()  # few differ: units of one probe are observed together
        if key not in inside:
            row = np.searchsorted(reaching(bounds[:, 0]), left, side="right") - 1
            # What is left of a bin beyond the end is less than a nanosecond.
            inside[key] = (row >= 0) & (reaching(right) <= bounds[np.maximum(row, 0), 1])
        seen[:, unit] = inside[key]
    kept = seen.any(axis=1)
    if not kept.any():
        raise NisslError(
            "no unit was observed during any of these bins",
            do="give intervals=, or start= and stop=, within the units' obs_intervals",
        )
    rec = rec[kept]
    return rec if seen[kept].all() else rec.astype(np.float32).where(seen[kept])


def _series_recording(
    path: Path, name: str, series: Any, wanted: Any, start: float | None, stop: float | None
) -> Recording:
    times = times_of(series)
    wide = np.ones(len(times), dtype=bool)
    if start is not None:
        wide &= times >= reaching(start)
    if stop is not None:
        wide &= times < reaching(stop)
    where = np.flatnonzero(wide)
    rows = slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0, 0)
    if lost := int(np.isnan(times[rows]).sum()):
        warnings.warn(f"{lost} samples of '{name}' have no time: it is NaN", stacklevel=4)
    samples: dict[str, Any] = {"time": times[rows]}
    values = values_of(path, series, rows, len(times))
    if len(where) < len(values):  # times that go back, or that are not known
        values, samples["time"] = values[wide[rows]], times[where]
    regions = getattr(series, "rois", None) or getattr(series, "electrodes", None)
    columns: dict[str, Any] = {}
    if regions is not None:
        picked = array_of(regions.data)
        columns = {n: c[picked] for n, c in table_columns(regions.table).items()}
    n_units = values.shape[1]
    columns = {n: c for n, c in columns.items() if len(c) == n_units and n != "unit"}
    columns = apart(columns, OWN, "unit")
    columns |= {"site": np.full(n_units, name), "index": np.arange(n_units)}
    if wanted is not None:
        row, further = interval_of(samples["time"], _without_clashes(wanted, columns))
        values, inside = values[row >= 0], row >= 0
        samples = {"time": samples["time"][inside], "interval": row[inside]}
        samples |= apart({n: c[row[inside]] for n, c in further.items()}, samples, "interval")
    kind = next((q for t, q in QUANTITY.items() if t in types(series)), "activity")
    attrs = {"measured_in": str(series.unit or "")}
    return as_recording(values, samples=samples, units=columns, quantity=kind, attrs=attrs)


def _without_clashes(intervals: Any, columns: Mapping[str, Any]) -> Any:
    """Rename columns of intervals that are called as columns of the units are."""
    if intervals is None:
        return None
    bounds, others = interval_columns(intervals)
    if bounds.ndim != 2:
        return bounds
    others = apart(others, {"unit", *columns}, "interval")
    return {"start": bounds[:, 0], "stop": bounds[:, 1], **others}


def _interval_ids(rec: Recording, tables: Mapping[str, Any], chosen: str | None) -> dict[str, Any]:
    """Return the id of the trial and of the epoch in which each sample lies.

    Other tables (ripples, licks) may hold anything; their ids say nothing of a sample.
    """
    found = {}
    for name in ("trials", "epochs"):
        one, table = singular(name), tables.get(name)
        if table is None or name == chosen or one in rec.coords or not disjoint(table):
            continue
        row = interval_of(rec["time"].values, table)[0]
        found[one] = np.where(row >= 0, table[one][row], -1)
    if (invalid := tables.get("invalid_times")) is not None and len(invalid["start"]):
        half = float(rec.attrs.get("bin", 0.0)) / 2
        at = rec["time"].values[:, None]
        # These may overlap; a bin that touches one holds some of it.
        touched = (at + half > invalid["start"]) & (at - half < invalid["stop"])
        found["invalid_time"] = touched.any(axis=1)
    return found


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
