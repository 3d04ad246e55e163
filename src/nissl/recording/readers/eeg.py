"""EEG and MEG through MNE: continuous recordings and epochs, from files or from MNE's objects."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.free_memory import require_memory
from nissl.recording.readers._files import damaged, existing, library, reading
from nissl.recording.recording import Recording, as_recording

__all__ = ["read_eeg"]

MEASURED_IN = {107: "V", 112: "T", 201: "T/m", 101: "Hz", 6: "mol/L"}


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
        ``.edf``, ``.bdf``, ``.gdf``, ``.fif`` (raw, or epochs) or ``.vhdr`` (BrainVision), or what
        MNE has already read.
    channels : str or sequence of str, optional
        Names of channels or of types of channels (``"eeg"``, ``"mag"``); all without it.
    start, stop : float, optional
        Read this stretch only, in seconds: of the recording, or of every epoch.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        In SI units, float64 as MNE gives them; units are channels, addressed by their names, with
        ``type``, ``measured_in`` and ``x``, ``y``, ``z`` in mm (NaN where they are not known).
        Samples have ``time`` in seconds (from the start, or from the epoch's event), ``event``
        (the annotation, or the epoch's event, by name; empty between annotations, the later of
        two that overlap), ``trial`` (epochs: number, and columns of their metadata). Stimulus
        channels are sample coordinates, by their names.

    Raises
    ------
    NisslError
        The file is missing, damaged or cut short, or the library is not installed.
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
            source = _open(mne, path)
            return _read(mne, source, channels, start, stop, name)
    return _read(mne, source, channels, start, stop, name)


def _open(mne: Any, path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix in (".edf", ".bdf"):
        _records_are_whole(path, 2 if suffix == ".edf" else 3)
    if suffix == ".vhdr":
        _points_are_whole(path)
    if ".fif" in [s.lower() for s in path.suffixes]:
        _tags_are_whole(path)
        tree = mne.io.show_fiff(path, output=list)
        if any("FIFFB_MNE_EPOCHS" in line for line in tree):
            return mne.read_epochs(path, preload=True, verbose="error")
    return mne.io.read_raw(path, preload=False, verbose="error")


def _read(
    mne: Any, source: Any, channels: Any, start: float | None, stop: float | None, name: str
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
    times = np.asarray(source.times)
    # MNE rounds its times to samples; half a sample forgives that.
    half = 0.5 / float(source.info["sfreq"])
    first = 0 if start is None else int(np.searchsorted(times, start - half))
    last = len(times) if stop is None else int(np.searchsorted(times, stop - half))
    if last <= first:
        raise NisslError(
            f"nothing was recorded from {start} to {stop} s",
            do=f"the times go from {times[0]:g} to {times[-1]:g} s",
        )
    n_bytes = len(picked) * (last - first) * (len(source) if epochs else 1) * 8
    require_memory(
        2 * n_bytes,
        "the recording",
        where=name,
        do="read a stretch with start= and stop=, or fewer channels",
    )
    read = _epochs if epochs else _raw
    values, samples = read(source, picked, slice(first, last))
    stimulus = types[picked] == "stim"
    samples |= {source.ch_names[picked[i]]: values[:, i] for i in np.flatnonzero(stimulus)}
    if stimulus.all():
        raise NisslError("only stimulus channels are left", do="choose others with channels=")
    kept = picked[~stimulus]
    kinds = set(types[kept])
    quantity = "field" if kinds <= {"mag", "grad"} else "voltage"
    attrs = {"sampling_rate": float(source.info["sfreq"])} | ({"source": name} if name else {})
    return as_recording(
        np.ascontiguousarray(values[:, ~stimulus]),
        samples=samples,
        units=_units(source, types, kept),
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


def _raw(raw: Any, picked: Any, stretch: slice) -> tuple[Any, dict[str, Any]]:
    values = raw.get_data(picks=picked, start=stretch.start, stop=stretch.stop).T
    times = np.asarray(raw.times)[stretch]
    samples: dict[str, Any] = {"time": times}
    notes = raw.annotations
    if len(notes):
        # Annotations count from the measurement's date, times from the first sample kept.
        late = 0.0 if notes.orig_time is None else float(raw.first_time)
        row = np.full(len(times), -1)
        half = 0.5 / float(raw.info["sfreq"])
        for i, (onset, duration) in enumerate(zip(notes.onset, notes.duration, strict=True)):
            begins = int(np.searchsorted(times, onset - late - half))
            ends = int(np.searchsorted(times, onset - late + duration - half))
            instant = begins + 1 if onset - late >= times[0] - half else begins
            row[begins : max(ends, instant)] = i
        samples["event"] = np.where(row >= 0, np.append(notes.description, "")[row], "")
    return values, samples


def _epochs(epochs: Any, picked: Any, stretch: slice) -> tuple[Any, dict[str, Any]]:
    data = epochs.get_data(picks=picked, copy=False)[:, :, stretch]
    n_trials, n_channels, n_times = data.shape
    if n_trials == 0:
        raise NisslError("every epoch was dropped", do="see epochs.drop_log")
    names = {code: str(name) for name, code in epochs.event_id.items()}
    trial = np.repeat(np.arange(n_trials), n_times)
    samples: dict[str, Any] = {
        "trial": trial,
        "time": np.tile(np.asarray(epochs.times)[stretch], n_trials),
        "event": np.array([names.get(c, str(c)) for c in epochs.events[:, 2]])[trial],
    }
    if epochs.metadata is not None:
        for name, column in epochs.metadata.items():
            samples.setdefault(str(name), column.to_numpy()[trial])
    return data.transpose(0, 2, 1).reshape(-1, n_channels), samples


def _units(source: Any, types: np.ndarray[Any, Any], kept: Any) -> dict[str, Any]:
    channels = [source.info["chs"][i] for i in kept]
    place = np.array([c["loc"][:3] for c in channels], dtype=np.float64) * 1000
    # MNE writes an unknown place as the origin.
    place[~np.isfinite(place).all(axis=1) | (place == 0).all(axis=1)] = np.nan
    return {
        "unit": np.array([source.ch_names[i] for i in kept]),
        "type": types[kept],
        "measured_in": np.array([MEASURED_IN.get(int(c["unit"]), "") for c in channels]),
        **dict(zip("xyz", place.T, strict=True)),
    }


def _records_are_whole(path: Path, width: int) -> None:
    """Refuse an EDF with fewer bytes than its header states: MNE would quietly read less."""
    with path.open("rb") as file:
        header = file.read(256)
        try:
            size, n_records, n_signals = (
                int(header[a:b]) for a, b in ((184, 192), (236, 244), (252, 256))
            )
            file.seek(256 + 216 * n_signals)
            n_samples = sum(int(file.read(8)) for _ in range(n_signals))
        except ValueError as error:
            raise damaged(path, path.suffix[1:].upper(), "its header is not whole") from error
    stated = size + n_records * n_samples * width
    there = path.stat().st_size
    if n_records >= 0 and there < stated:
        why = f"it has {there:,} bytes where its header states {stated:,}"
        raise damaged(path, path.suffix[1:].upper(), why)


def _tags_are_whole(path: Path) -> None:
    """Refuse a FIF whose chain of tags breaks off: MNE would warn and read less."""
    import gzip

    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as file:
        follows = 0
        while follows >= 0:
            tag = file.read(16)
            if len(tag) < 16:
                raise damaged(path, "FIF", f"it breaks off after {file.tell():,} bytes")
            _, _, size, follows = (int(v) for v in np.frombuffer(tag, dtype=">i4"))
            file.seek(follows if follows > 0 else file.tell() + size)


def _points_are_whole(path: Path) -> None:
    """Refuse BrainVision data with fewer points than its header states."""
    text = path.read_text(encoding="utf-8", errors="replace")
    keys = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    data = path.with_name(keys.get("DataFile", "").replace("$b", path.stem))
    if not keys.get("DataFile") or not data.is_file():
        raise damaged(path, "VHDR", f"its data file '{keys.get('DataFile', '')}' is not beside it")
    width = {"INT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4, "UINT_16": 2}
    if keys.get("DataFormat") != "BINARY" or keys.get("BinaryFormat") not in width:
        return
    point = int(keys["NumberOfChannels"]) * width[keys["BinaryFormat"]]
    stated = int(keys.get("DataPoints", 0)) * point
    there = data.stat().st_size
    if there % point or there < stated:
        whole = f"{stated:,}" if stated else f"a multiple of {point}"
        raise damaged(data, "BrainVision", f"it has {there:,} bytes, not {whole}")
