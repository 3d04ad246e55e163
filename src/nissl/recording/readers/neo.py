"""Objects of neo: segments of spike trains, or of analog signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from nissl.errors import NisslError, require_known
from nissl.recording.concat import concat
from nissl.recording.recording import Recording, as_recording
from nissl.recording.spikes import bin_spikes

__all__ = ["from_neo"]

Array = np.ndarray[Any, Any]
OWN = ("unit", "time", "segment", "trial", "measured_in", "interval", "time_in_interval")


def from_neo(
    given: Any, *, what: Literal["spikes", "signals"] | None = None, bin: float | None = None
) -> Recording:
    """Make a Recording of objects of neo, which reads some fifty formats of laboratories.

    Parameters
    ----------
    given : Block, Segment, SpikeTrain, AnalogSignal, IrregularlySampledSignal, or list of these
        A list of segments is read as a block's; lists of trains or signals as one segment.
    what : {"spikes", "signals"}, optional
        Which of them, where a segment has both.
    bin : float, optional
        Width of the bins of spikes, in seconds.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        Spikes: counts, as `bin_spikes` returns them, from where the first train of a segment begins
        to where the last ends. Signals: their values in the unit they have, as unit coordinate
        ``measured_in``. Sample coordinates: ``time`` in seconds and ``segment``; further
        annotations of trains, and array annotations of channels, are unit coordinates.

    Raises
    ------
    NisslError
        It is no object of neo, has nothing of that kind, or both and `what` does not say which;
        signals of a segment have several times; spikes and no `bin`.

    Examples
    --------
    >>> import neo  # doctest: +SKIP
    >>> block = neo.io.PlexonIO("session.plx").read_block()  # doctest: +SKIP
    >>> from_neo(block, what="spikes", bin=0.02)  # doctest: +SKIP
    """
    if what is not None:
        require_known("kind", what, ("spikes", "signals"))
    segments = _segments(given)
    kinds = [k for k in ("spikes", "signals") if any(segment[k] for segment in segments)]
    if not kinds:
        raise NisslError("there are no spike trains and no signals", where=type(given).__name__)
    if what is None and len(kinds) > 1:
        raise NisslError("there are spikes and signals", do="give what='spikes' or what='signals'")
    kind = what or kinds[0]
    if kind not in kinds:
        raise NisslError(f"there are no {kind}", do=f"give what='{kinds[0]}'")
    if kind == "spikes" and bin is None:
        raise NisslError("spikes are counted in bins", do="give bin=, in seconds")
    parts = []
    for number, segment in enumerate(segments):
        if segment[kind]:
            rec = (
                _spikes(segment[kind], bin) if bin and kind == "spikes" else _signals(segment[kind])
            )
            parts.append(
                rec.assign_coords(segment=("sample", np.full(rec.sizes["sample"], number)))
            )
    return parts[0] if len(parts) == 1 else concat(parts)


def _segments(given: Any) -> list[dict[str, list[Any]]]:
    """Return the trains and the signals of each segment."""
    if hasattr(given, "segments"):
        return [s for segment in given.segments for s in _segments(segment)]
    if hasattr(given, "spiketrains"):
        signals = [*given.analogsignals, *given.irregularlysampledsignals]
        return [{"spikes": list(given.spiketrains), "signals": signals}]
    if _is(given, "SpikeTrain"):
        return [{"spikes": [given], "signals": []}]
    if _is(given, "AnalogSignal") or _is(given, "IrregularlySampledSignal"):
        return [{"spikes": [], "signals": [given]}]
    plain = isinstance(given, (str, bytes, Mapping, np.ndarray)) or not hasattr(given, "__iter__")
    several = [] if plain else list(given)  # neo's lists are no sequences
    if several and all(hasattr(one, "spiketrains") for one in several):
        return [s for segment in several for s in _segments(segment)]
    each = [segment for one in several for segment in _segments(one)]
    if not each:
        raise NisslError(
            f"a {type(given).__name__} is no object of neo", do="give a Block, Segment or a list"
        )
    return [{kind: [x for segment in each for x in segment[kind]] for kind in each[0]}]


def _is(given: Any, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(given).__mro__)


def _seconds(times: Any) -> Array:
    """Return times as seconds, shape (n,)."""
    return np.atleast_1d(np.asarray(times.rescale("s").magnitude, dtype=np.float64))


def _spikes(trains: list[Any], bin: float) -> Recording:
    names = _names([str(t.name or t.annotations.get("id", "")) for t in trains], "unit")
    times = [_seconds(train) for train in trains]
    events = {"time": np.concatenate(times), "unit": np.repeat(names, [len(t) for t in times])}
    table = pd.DataFrame({"unit": names})
    for key in dict.fromkeys(key for train in trains for key in train.annotations):
        values = [train.annotations.get(key) for train in trains]
        if all(np.ndim(value) == 0 for value in values):
            plain = [value for value in values if isinstance(value, (int, float))]
            named = (
                values
                if len(plain) == len(values)
                else ["" if v is None else str(v) for v in values]
            )
            table[f"neo_{key}" if key in OWN else str(key)] = named
    start = min(float(_seconds(train.t_start)[0]) for train in trains)
    stop = max(float(_seconds(train.t_stop)[0]) for train in trains)
    return bin_spikes(events, bin=bin, start=start, stop=stop, units=table)


def _signals(signals: list[Any]) -> Recording:
    times = [_seconds(signal.times) for signal in signals]
    if any(len(t) != len(times[0]) or not np.allclose(t, times[0], atol=1e-9) for t in times):
        raise NisslError(
            "the signals of a segment are sampled at several times",
            where=", ".join(f"{len(t)} samples" for t in times),
            do="give those of one rate, such as segment.analogsignals[:1]",
        )
    values = [np.asarray(signal.magnitude).reshape(len(times[0]), -1) for signal in signals]
    columns: dict[str, list[Any]] = {"unit": [], "measured_in": []}
    for number, (signal, x) in enumerate(zip(signals, values, strict=True)):
        n = x.shape[1]
        given = signal.array_annotations.get("channel_names", [""] * n)
        name = str(signal.name or f"signal{number}")
        known = [str(g) or (name if n == 1 else f"{name}[{i}]") for i, g in enumerate(given)]
        columns["unit"] += known
        columns["measured_in"] += [str(signal.units.dimensionality)] * n
    columns["unit"] = _names(columns["unit"], "channel")
    return as_recording(np.concatenate(values, 1), samples={"time": times[0]}, units=columns)


def _names(given: list[str], kind: str) -> list[str]:
    """Return names that are each there once: numbers where some are missing or there twice."""
    if "" in given or len(set(given)) < len(given):
        return [f"{kind}[{number}]" for number in range(len(given))]
    return given
