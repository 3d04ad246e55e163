"""EEG and MEG through MNE: continuous recordings and epochs, from files or from MNE's objects."""

from __future__ import annotations

import gzip
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.free_memory import require_memory
from nissl.recording.labels import apart, as_column
from nissl.recording.readers._edf import edf_header, gdf_units, one_rate
from nissl.recording.readers._eeglab import open_eeglab
from nissl.recording.readers._files import IN_CACHE, damaged, existing, library, reading
from nissl.recording.recording import Recording, as_recording

__all__ = ["read_eeg"]

#: Units by the codes of FIF.
MEASURED_IN = {
    **{1: "m", 3: "s", 4: "A", 5: "K", 6: "mol/L", 7: "rad", 101: "Hz", 102: "N", 103: "Pa"},
    **{105: "W", 107: "V", 109: "ohm", 110: "S", 112: "T", 114: "\u00b0C", 201: "T/m", 202: "Am"},
    210: "px",
}
#: Units that are brought to SI, as headers write them; and those that MNE brings there itself.
FACTORS = {"v": 1.0, "mv": 1e-3, "uv": 1e-6, "nv": 1e-9, "pv": 1e-12}
BY_MNE = {"\u03bcV": 1e-6, "\u00b5V": 1e-6, "\x83\xcaV": 1e-6, "uV": 1e-6, "mV": 1e-3}
BY_MNE_IN_BRAINVISION = BY_MNE | {"nV": 1e-9, "\u00b5S": 1e-6, "uS": 1e-6}
EEGLAB = ("RawEEGLAB", "EpochsEEGLAB")  # classes of MNE
DIRECTORY = 102  # the tag of FIF that lists the others
#: Unit coordinates, which no sample coordinate may be called as.
OWN = ("unit", "type", "measured_in", "bad", "x", "y", "z")


def read_eeg(
    source: Any,
    *,
    channels: str | Sequence[str] | None = None,
    start: float | None = None,
    stop: float | None = None,
) -> Recording:
    """Read EEG, MEG or any other channels that MNE reads.

    Parameters
    ----------
    source : path, mne.io.BaseRaw or mne.BaseEpochs
        ``.edf``, ``.bdf``, ``.gdf``, ``.fif`` (raw, or epochs), ``.vhdr`` (BrainVision) or ``.set``
        (EEGLAB, raw or epochs), or what MNE has already read.
    channels : str or sequence of str, optional
        Names of channels or of types of channels (``"eeg"``, ``"mag"``); all without it.
    start, stop : float, optional
        Read this stretch only, in seconds: of the recording, or of every epoch.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        Volts in SI units, other channels in the file's unit, float64. Units are channels,
        addressed by their names, with ``type``, ``measured_in``, ``bad`` (marked so) and ``x``,
        ``y``, ``z`` in mm (NaN where they are not known). Samples have ``time`` in seconds (from
        the start, or from the epoch's event; gaps of the file are left out), ``event`` (the
        annotation, or the epoch's event, by name; empty between annotations, the later of two
        that overlap), ``event_CHANNEL`` (annotations of one channel), ``trial`` (epochs: number,
        and columns of their metadata). Stimulus channels are sample coordinates, by their names.
        What is called as one of these gets ``metadata_`` or ``channel_`` before its name.

    Raises
    ------
    NisslError
        The file is missing, damaged or cut short, its channels have several rates, or the library
        is not installed.
    UnknownName
        There is no such channel or type.

    Source: MNE-Python reads the formats.

    Examples
    --------
    >>> import mne
    >>> info = mne.create_info(["Fz", "Cz"], sfreq=100.0, ch_types="eeg")
    >>> rec = read_eeg(mne.io.RawArray(np.zeros((2, 500)), info, verbose="error"), stop=1.0)
    >>> rec.shape, rec["unit"].values.tolist()
    ((100, 2), ['Fz', 'Cz'])
    """
    mne = library("mne", reads="EEG and MEG")
    name = ""
    if isinstance(source, (str, Path)):
        path = existing(source)
        name = path.name
        with reading(path, path.suffix[1:].upper()), warnings.catch_warnings():
            # Files need not be called as MNE calls its own; what else it warns of is heard.
            warnings.filterwarnings("ignore", message="This filename")
            source, times, notes = _open(mne, path, channels)
            return _read(mne, source, channels, start, stop, name, times, notes)
    return _read(mne, source, channels, start, stop, name)


def _open(mne: Any, path: Path, channels: Any) -> tuple[Any, Any, Any]:
    """Return what MNE opens, and of a file with gaps its times and annotations."""
    suffix = path.suffix.lower()
    if suffix in (".edf", ".bdf"):
        header = edf_header(path)
        only = one_rate(path, header.rates, channels)
        read = mne.io.read_raw_edf if suffix == ".edf" else mne.io.read_raw_bdf
        raw = read(path, include=only, preload=False, verbose="warning")
        if not header.has_gaps:
            return raw, None, None
        times = header.times(float(raw.info["sfreq"]))[: len(raw.times)]
        return raw, times, mne.read_annotations(path)
    if suffix == ".set":
        return open_eeglab(mne, path)
    if suffix == ".vhdr":
        _points_are_whole(path)
    if ".fif" in [s.lower() for s in path.suffixes]:
        _tags_are_whole(path)
        tree = " ".join(mne.io.show_fiff(path, output=list))
        if "FIFFB_MNE_EPOCHS" in tree:
            return mne.read_epochs(path, preload=True, verbose="warning"), None, None
        if not any(f"FIFFB_{kind}" in tree for kind in ("RAW_DATA", "CONTINUOUS", "IAS_RAW")):
            kinds = {"EVOKED": "averages", "MNE_EVENTS": "events", "MNE_COV": "a covariance"}
            held = next((words for kind, words in kinds.items() if f"FIFFB_{kind}" in tree), "")
            raise NisslError(
                f"the file holds {held or 'no recording'}" + (", not a recording" if held else ""),
                where=str(path),
                do="give the raw data or the epochs; averages are read with mne.read_evokeds,"
                " events with mne.read_events",
            )
    raw = mne.io.read_raw(path, preload=False, verbose="warning")
    if suffix == ".gdf":
        extra = raw._raw_extras[0]
        seconds = float(np.divide(*extra["record_length"]))
        per_record = np.asarray(extra["n_samps"])[np.asarray(extra["sel"])]
        rates = dict(zip(raw.ch_names, (n / seconds for n in per_record), strict=False))
        if only := one_rate(path, list(rates.items()), channels):
            if not np.isclose(rates[only[0]], max(rates.values())):
                raise NisslError(
                    f"of a GDF, channels of {rates[only[0]]:g} Hz cannot be read at their own rate",
                    where=str(path),
                    do=f"export them as EDF, or read those of {max(rates.values()):g} Hz",
                )
            raw = mne.io.read_raw_gdf(path, include=only, preload=False, verbose="warning")
    return raw, None, None


def _read(
    mne: Any,
    source: Any,
    channels: Any,
    start: float | None,
    stop: float | None,
    name: str,
    times: Any = None,
    notes: Any = None,
) -> Recording:
    if isinstance(source, mne.BaseEpochs):
        epochs = True
    elif isinstance(source, mne.io.BaseRaw):
        epochs = False
    else:
        raise NisslError(
            f"this is a {type(source).__name__}, neither Raw nor Epochs of MNE",
            do="give a path, or an object of mne.io.read_raw or mne.Epochs",
        )
    types = np.array(source.get_channel_types())
    picked = _picked(source.ch_names, types, channels)
    times = np.asarray(source.times) if times is None else times
    # MNE rounds its times to samples; half a sample forgives that.
    half = 0.5 / float(source.info["sfreq"])
    wanted = np.ones(len(times), dtype=bool)
    wanted &= True if start is None else times >= start - half
    wanted &= True if stop is None else times < stop - half
    if not wanted.any():
        raise NisslError(
            f"nothing was recorded from {start} to {stop} s",
            do=f"the times go from {times[0]:g} to {times[-1]:g} s",
        )
    rows = np.flatnonzero(wanted)
    n_bytes = len(picked) * len(rows) * (len(source) if epochs else 1) * 8
    require_memory(
        2 * n_bytes,
        "the recording",
        where=name,
        do="read a stretch with start= and stop=, or fewer channels",
    )
    if epochs:
        values, samples = _epochs(source, picked, rows)
    else:
        values, samples = _raw(source, picked, rows, times, notes)
    stimulus = types[picked] == "stim"
    if stimulus.all():
        raise NisslError("only stimulus channels are left", do="choose others with channels=")
    kept = picked[~stimulus]
    units, factors = _units(source, types, kept)
    marks = {source.ch_names[picked[i]]: values[:, i] for i in np.flatnonzero(stimulus)}
    if type(source).__name__ in EEGLAB:  # MNE takes codes for microvolts too
        marks = {n: np.round(codes * 1e6, 6) for n, codes in marks.items()}
    samples |= apart(marks, {*samples, *units}, "channel")
    values = values[:, ~stimulus] if stimulus.any() else values
    kinds = set(types[kept])
    quantity = "field" if kinds <= {"mag", "grad"} else "voltage"
    attrs = {"sampling_rate": float(source.info["sfreq"])} | ({"source": name} if name else {})
    return as_recording(
        np.ascontiguousarray(values if (factors == 1).all() else values * factors),
        samples=samples,
        units=units,
        quantity=quantity,
        attrs=attrs,
    )


def _picked(names: Sequence[str], types: np.ndarray[Any, Any], wanted: Any) -> Any:
    """Return the positions of the channels that are wanted, stimulus channels among them."""
    if wanted is None:
        return np.arange(len(names))
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    for each in wanted:
        if each not in names and each not in types:
            raise UnknownName("channel or type", each, [*names, *set(types.tolist())])
    chosen = [n in wanted or t in wanted or t == "stim" for n, t in zip(names, types, strict=True)]
    return np.flatnonzero(chosen)


def _raw(raw: Any, picked: Any, rows: Any, times: Any, notes: Any) -> tuple[Any, dict[str, Any]]:
    """Return the values and labels of some rows; a file with gaps has times of its own."""
    values = _values(raw, picked, int(rows[0]), int(rows[-1]) + 1)
    at = times[rows]
    if len(rows) < len(values):
        values = values[rows - rows[0]]
    # Annotations count from the first sample of the measurement, times from the first kept.
    late = float(raw.first_time) if notes is None else 0.0
    notes = raw.annotations if notes is None else notes
    labels: dict[str, np.ndarray[Any, Any]] = {}
    half = 0.5 / float(raw.info["sfreq"])
    skipped = np.zeros(len(at), dtype=bool)
    for note in notes:
        onset, lasts = note["onset"] - late, float(np.nan_to_num(note["duration"]))
        if onset - half > at[-1] or onset + lasts < at[0] - half:
            continue
        here = slice(*np.searchsorted(at, onset + np.array([-half, max(lasts - half, half)])))
        if note["description"] == "BAD_ACQ_SKIP":
            skipped[here] = True  # never recorded: MNE has filled it with zeros
            continue
        for name in [f"event_{channel}" for channel in note.get("ch_names") or ()] or ["event"]:
            labels.setdefault(name, np.full(len(at), "", dtype=object))[here] = note["description"]
    if len(notes):
        labels.setdefault("event", np.full(len(at), "", dtype=object))
    samples = {"time": at, **labels}
    if skipped.any():
        values, samples = values[~skipped], {n: c[~skipped] for n, c in samples.items()}
    return values, samples


def _values(raw: Any, picked: Any, start: int, stop: int) -> np.ndarray[Any, Any]:
    """Return samples by channels, as many records at a time as stay in the processor's cache."""
    step = stop - start
    files = [Path(name) for name in getattr(raw, "filenames", ()) if name is not None]
    if type(raw).__name__ in ("RawEDF", "RawBDF") and files and files[0].is_file():
        record = max(edf_header(files[0]).per_record)
        step = max(1, IN_CACHE // len(picked) // record) * record
    values = np.empty((stop - start, len(picked)))
    for first in range(start, stop, step):
        block = raw.get_data(picks=picked, start=first, stop=min(first + step, stop)).T
        to = values[first - start :][: len(block)]
        for i in range(0, len(picked), 8):  # thrice as fast as all channels at once
            to[:, i : i + 8] = block[:, i : i + 8]
    return values


def _epochs(epochs: Any, picked: Any, rows: Any) -> tuple[Any, dict[str, Any]]:
    data = epochs.get_data(picks=picked, copy=False)[:, :, rows]
    n_trials, n_channels, n_times = data.shape
    if n_trials == 0:
        raise NisslError("every epoch was dropped", do="see epochs.drop_log")
    names = {code: str(name) for name, code in epochs.event_id.items()}
    trial = np.repeat(np.arange(n_trials), n_times)
    samples: dict[str, Any] = {
        "trial": trial,
        "time": np.tile(np.asarray(epochs.times)[rows], n_trials),
        "event": np.array([names.get(c, str(c)) for c in epochs.events[:, 2]])[trial],
    }
    if epochs.metadata is not None:
        columns = {str(name): as_column(c)[trial] for name, c in epochs.metadata.items()}
        samples |= apart(columns, {*samples, *OWN}, "metadata")
    return data.transpose(0, 2, 1).reshape(-1, n_channels), samples


def _units(source: Any, types: np.ndarray[Any, Any], kept: Any) -> tuple[dict[str, Any], Any]:
    """Return the columns of the channels, and what MNE has left to multiply each by."""
    channels = [source.info["chs"][i] for i in kept]
    place = np.array([c["loc"][:3] for c in channels], dtype=np.float64) * 1000
    # MNE writes an unknown place as the origin.
    place[~np.isfinite(place).all(axis=1) | (place == 0).all(axis=1)] = np.nan
    names = [source.ch_names[i] for i in kept]
    written = _written_units(source)
    by_mne = _brought_by_mne(source)
    measured, factors = [], np.ones(len(names))
    for i, (name, channel) in enumerate(zip(names, channels, strict=True)):
        unit, factor = MEASURED_IN.get(int(channel["unit"]), ""), 1.0
        if name in written and types[kept[i]] != "stim":
            text = written[name]
            unit, factor = _unit(text)
            factor /= by_mne.get(text, 1.0)
            if text and text in by_mne and unit == text:  # uS, which MNE alone brings to SI
                unit, factor = text[1:], 1.0
        measured.append(unit)
        factors[i] = 1.0 if abs(factor - 1) < 1e-12 else factor
    columns = {
        "unit": np.array(names),
        "type": types[kept],
        "measured_in": np.array(measured),
        "bad": np.isin(names, source.info["bads"]),
        **dict(zip("xyz", place.T, strict=True)),
    }
    return columns, factors


def _brought_by_mne(source: Any) -> dict[str, float]:
    """Return the units that MNE brings to SI in this format, with their factors."""
    kind = type(source).__name__
    if kind in EEGLAB:
        return {"": 1e-6}
    if kind == "RawGDF":
        with Path(source.filenames[0]).open("rb") as file:
            first = file.read(5)[4:] == b"1"
        return {"uV": 1e-6} if first else {"uV": 1e-6, "mV": 1e-3}
    return BY_MNE_IN_BRAINVISION if kind == "RawBrainVision" else BY_MNE


def _written_units(source: Any) -> dict[str, str]:
    """Return the units of the channels as the header of their file writes them.

    MNE keeps those that it knows, and has nothing where it does not.
    """
    kind = type(source).__name__
    if kind in EEGLAB:  # says nothing of units; MNE takes everything for microvolts
        return {c["ch_name"]: "" for c in source.info["chs"] if MEASURED_IN.get(c["unit"]) != "V"}
    files = [Path(name) for name in getattr(source, "filenames", ()) if name is not None]
    if not files or not files[0].is_file():
        return {}
    if kind in ("RawEDF", "RawBDF"):
        header = edf_header(files[0])
        found = dict(zip(header.labels, header.units, strict=True))
    elif kind == "RawGDF":
        found = gdf_units(files[0])
    elif kind == "RawBrainVision":
        header_file = files[0].with_suffix(".vhdr")
        text = _decoded(header_file) if header_file.is_file() else ""
        lines = re.findall(
            r"(?m)^Ch\d+=(.*)$", text.partition("[Channel Infos]")[2].split("\n[")[0]
        )
        cells = [line.strip().split(",") for line in lines]
        # A unit that is not written is microvolts.
        found = {c[0].replace(r"\1", ","): (c[3] if len(c) > 3 else "") or "\u00b5V" for c in cells}
    else:
        return {}
    # MNE tells channels of one name apart by a number.
    plain = {name: re.sub(r"-\d+$", "", name) for name in source.ch_names}
    return {n: found.get(n, found.get(p, "")) for n, p in plain.items() if {n, p} & found.keys()}


def _decoded(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # what BrainVision calls ANSI


def _unit(text: str) -> tuple[str, float]:
    """Return a unit, and the factor that brings a number in it to that unit: nV to V."""
    text = text.strip()
    text = "" if text.lower() in ("n/a", "na", "none", "-") else text
    plain = text.replace("\u00c2", "").replace("\x83\xca", "\u00b5").replace(" ", "").lower()
    factor = FACTORS.get(plain.replace("\u00b5", "u").replace("\u03bc", "u"))
    return (text, 1.0) if factor is None else ("V", factor)


def _tags_are_whole(path: Path) -> None:
    """Refuse a FIF whose chain of tags breaks off or runs in a circle: MNE would read on."""
    packed = path.suffix.lower() == ".gz"
    opener: Any = gzip.open if packed else open
    tags: dict[int, bytes] = {}
    listed = b""
    with opener(path, "rb") as file:
        follows = 0
        while follows >= 0:
            place = file.tell()
            tag = file.read(16)
            if len(tag) < 16:
                raise damaged(path, "FIF", f"it breaks off after {file.tell():,} bytes")
            kind, _, size, follows = (int(v) for v in np.frombuffer(tag, dtype=">i4"))
            listed += file.read(size) if kind == DIRECTORY and size >= 0 else b""
            end = place + 16 + size
            whole = size <= 0 or (file.seek(end - 1) == end - 1 and len(file.read(1)) == 1)
            if size < 0 or place in tags or not whole:
                raise damaged(path, "FIF", f"the tag at byte {place:,} is none")
            tags[place] = tag[:12]
            file.seek(follows if follows > 0 else end)
        while packed and file.read(1 << 22):
            pass  # to the end, where the checksum stands
    # MNE reads by the directory, which must list the tags that are there.
    for i in range(0, len(listed) - 15, 16):
        at = int.from_bytes(listed[i + 12 : i + 16], "big", signed=True)
        if at >= 0 and tags.get(at) != listed[i : i + 12]:
            raise damaged(path, "FIF", f"its directory lists another tag at byte {at:,}")


def _points_are_whole(path: Path) -> None:
    """Refuse BrainVision data with fewer points than its header states."""
    keys = dict(line.split("=", 1) for line in _decoded(path).splitlines() if "=" in line)
    data = path.with_name(keys.get("DataFile", "").replace("$b", path.stem))
    if not keys.get("DataFile") or not data.is_file():
        raise damaged(path, "VHDR", f"its data file '{keys.get('DataFile', '')}' is not beside it")
    width = {"INT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}
    if keys.get("DataFormat") != "BINARY":
        return
    if keys.get("BinaryFormat") not in width:
        raise NisslError(
            f"numbers of the kind {keys.get('BinaryFormat')} are not read",
            where=str(path),
            do=f"export the recording again, as one of {', '.join(width)}",
        )
    point = int(keys["NumberOfChannels"]) * width[keys["BinaryFormat"]]
    stated = int(keys.get("DataPoints", 0)) * point
    there = data.stat().st_size
    if point <= 0 or there % point or there < stated:
        whole = f"{stated:,}" if stated else f"a multiple of {point}"
        raise damaged(data, "BrainVision", f"it has {there:,} bytes, not {whole}")
