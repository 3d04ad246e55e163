"""Head-direction cells: spikes of a mouse's thalamus and hippocampus, asleep and awake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.recording import Recording, bin_spikes, labels_of, recording
from nissl.specimens.recordings.source import folder_of, opened, source_files

if TYPE_CHECKING:
    import h5py

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
        Spike counts. Samples: ``epoch`` (sleep, wake), ``time`` (centre of the bin, seconds),
        ``head_direction`` (radians, 0 to 2 pi), ``position_x`` and ``position_z`` (metres, the
        plane of the arena), all three NaN where the animal was not tracked, and ``ripple``
        (1 where a sharp-wave ripple overlaps the bin, NaN outside of sleep, where none was
        looked for). Units: ``region`` (ADN, CA1), ``shank``, ``index`` (id in the file) and
        ``rate`` (Hz). The file names no cell types.

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
    with opened(path):
        import h5py

        with h5py.File(path) as file:
            counts = _counts(file, bin)
            samples = _samples(file, counts, bin)
    rate = counts.values.sum(axis=0) / (bin * counts.sizes["sample"])
    rec = recording(
        counts.values.astype(np.float32),
        samples=samples,
        units={**{n: counts[n].values for n in ("unit", "region", "index", "shank")}, "rate": rate},
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


def _counts(file: h5py.File, bin: float) -> Recording:
    """Count each unit's spikes in bins laid from the start of each epoch."""
    table = file["units"]
    last = table["spike_times_index"][:].astype(np.int64)
    region = np.char.upper(table["location"].asstr()[:].astype(str))
    index = table["id"][:]
    unit = np.asarray([f"{r}[{i}]" for r, i in zip(region, index, strict=True)])
    epochs = file["intervals/epochs"]
    return bin_spikes(
        {"time": table["spike_times"][:], "unit": np.repeat(unit, np.diff(last, prepend=0))},
        bin=bin,
        intervals={
            "start": epochs["start_time"][:],
            "stop": epochs["stop_time"][:],
            "epoch": epochs["tags"].asstr()[:].astype(str),
        },
        units={"unit": unit, "region": region, "index": index, "shank": table["group"][:]},
    )


def _samples(file: h5py.File, counts: Recording, bin: float) -> dict[str, Any]:
    centre = counts["time"].values
    compass = file["acquisition/CompassDirection/ry"]
    # Angles are averaged on the circle.
    angle = _binned(np.exp(1j * compass["data"][:]), compass["timestamps"][:], centre, bin)
    samples = {
        "epoch": labels_of(counts, "epoch"),
        "time": centre,
        "head_direction": np.angle(angle) % (2 * np.pi),
    }
    for axis in "xz":
        track = file[f"acquisition/Position/{axis}"]
        values = _binned(track["data"][:], track["timestamps"][:], centre, bin)
        samples[f"position_{axis}"] = values.real
    ripples, searched = (_bounds(file, n) for n in ("sleep_ripples", "sleep_ripples_timesupport"))
    left, right = centre - bin / 2, centre + bin / 2
    # A ripple overlaps a bin unless it ended before the bin or begins after it.
    ended, begun = np.searchsorted(ripples[:, 1], left), np.searchsorted(ripples[:, 0], right)
    inside = np.any([(centre >= start) & (centre <= stop) for start, stop in searched], axis=0)
    samples["ripple"] = np.where(inside, (begun > ended).astype(float), np.nan)
    return samples


def _bounds(file: h5py.File, name: str) -> Floats:
    table = file["intervals"][name]
    return np.stack([table["start_time"][:], table["stop_time"][:]], axis=1)


def _binned(values: np.ndarray[Any, Any], times: Floats, centre: Floats, bin: float) -> Any:
    """Return the mean of a tracked signal in every bin; NaN where it was not tracked."""
    total = np.concatenate([[0], np.cumsum(values)])
    first, last = (np.searchsorted(times, centre + side * bin / 2) for side in (-1, 1))
    with np.errstate(invalid="ignore"):
        return np.where(last > first, (total[last] - total[first]) / (last - first), np.nan)
