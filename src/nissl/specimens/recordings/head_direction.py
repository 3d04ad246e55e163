"""Head-direction cells: spikes of a mouse's thalamus and hippocampus, asleep and awake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nissl.recording import Recording, as_recording
from nissl.recording.labels import coordinate
from nissl.recording.readers import read_nwb
from nissl.specimens.recordings.source import folder_of, read_errors, source_files

__all__ = ["head_direction"]

Floats = np.ndarray[Any, np.dtype[np.float64]]


def head_direction(
    folder: str | Path | None = None, *, bin: float = 0.1, progress: bool = True
) -> Recording:
    """Return spike counts of 7 cells of ADN and 8 of CA1 over a sleep and a wake session.

    Parameters
    ----------
    folder : path, optional
        Where the NWB file lies; fetched into the cache where not given.
    bin : float
        Width of a bin in seconds. Bins are laid from the start of each epoch.
    progress : bool
        Show how much has arrived, where the file is fetched.

    Returns
    -------
    Recording, shape (n_bins, 15)
        Spike counts. Samples: ``epoch`` (sleep, wake); ``time`` (centre of the bin, seconds);
        ``head_direction`` (radians, 0 to 2 pi), ``position_x`` and ``position_z`` (metres, the
        plane of the arena) at the centre of the bin, NaN where not tracked; ``ripple`` (1 where a
        sharp-wave ripple overlaps the bin, NaN outside of sleep, where none was looked for). Units:
        ``region`` (ADN, CA1), ``shank``, ``index`` (id in the file) and ``rate`` (Hz). The file
        names no cell types.

    Raises
    ------
    NisslError
        The bin is not positive or longer than an epoch, or the file cannot be read.

    Examples
    --------
    >>> rec = head_direction(bin=0.2)  # doctest: +SKIP
    >>> rec.sizes["unit"]  # doctest: +SKIP
    15

    Source: session A2929-200711 of G. Viejo, shipped with the tests of pynapple (MIT).
    """
    folder = folder_of("head-direction", folder, progress=progress)
    (path, *_) = source_files(folder, "neurosuite/**/A2929-200711.nwb")
    read = read_nwb(path, bin=bin)
    region = np.char.upper(read["region"].values)
    index = read["index"].values
    time = read["time"].values
    rec = as_recording(
        read.values.astype(np.float32),
        samples={
            "epoch": coordinate(read, "tags"),
            "time": time,
            "head_direction": read["ry"].values % (2 * np.pi),
            "position_x": read["x"].values,
            "position_z": read["z"].values,
            "ripple": _ripple(path, time, bin),
        },
        units={
            "unit": [f"{r}[{i}]" for r, i in zip(region, index, strict=True)],
            "region": region,
            "index": index,
            "shank": read["group"].values,
            "rate": read.values.mean(axis=0) / bin,
        },
        quantity="spikes",
        attrs={
            "specimen": "head-direction",
            "source": "pynapple 0.11.4 (PyPI sdist), A2929-200711.nwb",
            "licence": "MIT",
            "subject": "mouse A2929",
            "bin": bin,
        },
    )
    rec["head_direction"].attrs.update(unit="rad", period=2 * np.pi)
    return rec


def _ripple(path: Path, time: Floats, bin: float) -> Floats:
    """Say which bins a ripple overlaps; NaN where none was looked for."""
    with read_errors(path):
        import h5py

        with h5py.File(path) as file:
            ripples, searched = (
                np.stack([file["intervals"][name][side][:] for side in ("start_time", "stop_time")])
                for name in ("sleep_ripples", "sleep_ripples_timesupport")
            )
    # A ripple overlaps a bin unless it ended before the bin or begins after it.
    ended = np.searchsorted(ripples[1], time - bin / 2)
    begun = np.searchsorted(ripples[0], time + bin / 2)
    inside = ((time >= searched[0, :, None]) & (time <= searched[1, :, None])).any(axis=0)
    return np.where(inside, (begun > ended).astype(float), np.nan)
