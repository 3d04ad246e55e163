"""Absence EEG: half an hour of a child's EEG with three absence seizures, annotated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.recording import Recording, as_recording
from nissl.specimens.recordings.source import folder_of, read_errors, source_files

if TYPE_CHECKING:
    import h5py
    import pandas as pd

__all__ = ["absence_eeg", "absence_eeg_annotations"]

FLASH_SECONDS = 10.0  # each frequency of flashes is shown until the next begins


def absence_eeg(folder: str | Path | None = None, *, progress: bool = True) -> Recording:
    """Return 30 minutes of clinical EEG at 200 Hz.

    Parameters
    ----------
    folder : path, optional
        Where the file lies; fetched into the cache where not given.
    progress : bool
        Show how much has arrived, where the file is fetched.

    Returns
    -------
    Recording, shape (362200, 36)
        In the unit of measurement that the unit coordinate ``measured_in`` names. Samples:
        ``time`` (seconds), ``seizure`` and ``hyperventilation`` (0 or 1, from the technician's
        notes), ``flash`` (frequency of flashes in Hz, 0 outside). Units: the channels, of which
        ``kind`` says whether they are eeg, ecg or other.

    Raises
    ------
    NisslError
        The file cannot be read.

    Examples
    --------
    >>> rec = absence_eeg()  # doctest: +SKIP
    >>> rec.shape  # doctest: +SKIP
    (362200, 36)

    Source: file absence_epilepsy of eeghdf 0.2.4 (BSD).
    """
    with read_errors(_file(folder, progress)) as path:
        import h5py

        with h5py.File(path) as file:
            record = file["record-0"]
            rate = float(record.attrs["sample_frequency"])
            low, high, least, most = (
                record[f"signal_{side}"][:].astype(float)
                for side in ("digital_mins", "digital_maxs", "physical_mins", "physical_maxs")
            )
            gain = (most - least) / (high - low)
            values = record["signals"][:].T * gain.astype(np.float32)
            values += (least - gain * low).astype(np.float32)
            channels = [c.removeprefix("EEG ") for c in record["signal_labels"].asstr()[:]]
            kind = ["eeg" if c.startswith(b"EEG") else "other" for c in record["signal_labels"][:]]
            kind = [
                "ecg" if c.startswith("ECG") else k for c, k in zip(channels, kind, strict=True)
            ]
            measured_in = record["physical_dimensions"].asstr()[:].astype(str)
            notes = _notes(record)
    time = np.arange(len(values)) / rate
    return as_recording(
        values,
        samples={
            "time": time,
            "seizure": _between(time, notes, "SZ START", "SZ END"),
            "hyperventilation": _between(time, notes, "HV START", "HV END"),
            "flash": _flash(time, notes),
        },
        units={"unit": channels, "kind": kind, "measured_in": measured_in},
        quantity="voltage",
        attrs={
            "specimen": "absence-eeg",
            "source": "eeghdf 0.2.4 (PyPI sdist), absence_epilepsy.eeg.h5",
            "licence": "BSD",
            "rate": rate,
        },
    )


def absence_eeg_annotations(
    folder: str | Path | None = None, *, progress: bool = True
) -> pd.DataFrame:
    """Return the technician's notes of `absence_eeg`.

    Parameters
    ----------
    folder : path, optional
        As for `absence_eeg`.
    progress : bool
        As for `absence_eeg`.

    Returns
    -------
    DataFrame, one row a note
        ``time`` (seconds) and ``text``.

    Raises
    ------
    NisslError
        The file cannot be read.

    Examples
    --------
    >>> (absence_eeg_annotations()["text"] == "SZ START").sum()  # doctest: +SKIP
    3
    """
    import pandas as pd

    with read_errors(_file(folder, progress)) as path:
        import h5py

        with h5py.File(path) as file:
            time, text = zip(*_notes(file["record-0"]), strict=True)
    return pd.DataFrame({"time": time, "text": text})


def _file(folder: str | Path | None, progress: bool) -> Path:
    folder = folder_of("absence-eeg", folder, progress=progress)
    return source_files(folder, "absence_epilepsy.eeg.h5")[0]


def _notes(record: h5py.Group) -> list[tuple[float, str]]:
    notes = record["edf_annotations"]
    return list(zip(notes["starts_100ns"][:] * 1e-7, notes["texts"].asstr()[:], strict=True))


def _between(
    time: np.ndarray[Any, Any], notes: list[tuple[float, str]], start: str, stop: str
) -> np.ndarray[Any, Any]:
    inside = np.zeros(len(time), np.int32)
    starts = [at for at, text in notes if text == start]
    stops = [at for at, text in notes if text == stop]
    for first, last in zip(starts, stops, strict=True):
        inside[(time >= first) & (time < last)] = 1
    return inside


def _flash(time: np.ndarray[Any, Any], notes: list[tuple[float, str]]) -> np.ndarray[Any, Any]:
    flash = np.zeros(len(time), np.int32)
    for at, text in notes:
        if text.startswith("PHOTO "):
            frequency = int(text.removeprefix("PHOTO ").removesuffix("Hz"))
            flash[(time >= at) & (time < at + FLASH_SECONDS)] = frequency
    return flash
