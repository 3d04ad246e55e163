"""Grasshopper: spikes of an auditory receptor under amplitude-modulated sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording import Recording, as_recording, bin_spikes
from nissl.specimens.recordings.source import folder_of, read_errors, source_files

__all__ = ["grasshopper"]

SECONDS = 10.0
HEARING_THRESHOLD = 2e-5  # pascal, the reference of sound pressure in decibels


def grasshopper(
    folder: str | Path | None = None, *, bin: float = 0.001, progress: bool = True
) -> Recording:
    """Return the spikes of a receptor over two runs of ten seconds of modulated tone.

    Parameters
    ----------
    folder : path, optional
        Where the text files lie; fetched into the cache where not given.
    bin : float
        Width of a bin in seconds.
    progress : bool
        Show how much has arrived, where the files are fetched.

    Returns
    -------
    Recording, shape (n_bins, 1)
        Spike counts. Samples: ``run`` (0, 1), ``cutoff`` (Hz, up to which the Gaussian modulation
        goes: 200, then 800), ``time`` (seconds in the run, centre of the bin), ``amplitude``
        (decibels, mean over the bin). The files do not say whether both runs are one cell.

    Raises
    ------
    NisslError
        The bin is not positive, or a file cannot be read.

    Examples
    --------
    >>> rec = grasshopper()  # doctest: +SKIP
    >>> rec.values.sum()  # doctest: +SKIP
    1797.0

    Source: Rokem et al. 2006, Journal of Neurophysiology 95:2541; nitime 0.12.1 (BSD).
    """
    folder = folder_of("grasshopper", folder, progress=progress)
    runs = [_run(folder, number, bin) for number in (1, 2)]
    n_bins = [len(counts) for counts, *_ in runs]
    return as_recording(
        np.concatenate([counts for counts, *_ in runs]).astype(np.float32),
        samples={
            "run": np.repeat(np.arange(2), n_bins),
            "cutoff": np.repeat([200, 800], n_bins),
            "time": np.concatenate([time for _, time, _ in runs]),
            "amplitude": np.concatenate([amplitude for *_, amplitude in runs]),
        },
        units={"unit": ["receptor"]},
        quantity="spikes",
        attrs={
            "specimen": "grasshopper",
            "source": "nitime 0.12.1 (PyPI sdist), nitime/data",
            "licence": "BSD-3-Clause",
            "bin": bin,
        },
    )


def _run(folder: Path, number: int, bin: float) -> tuple[np.ndarray[Any, Any], ...]:
    """Return counts (n_bins, 1), centres of bins and amplitude in them, of one run."""
    (events, *_) = source_files(folder, f"grasshopper_spike_times{number}.txt")
    (sound, *_) = source_files(folder, f"grasshopper_stimulus{number}.txt")
    with read_errors(events):
        spikes = np.loadtxt(events) * 1e-6
        header = [line for line in events.read_text().splitlines() if "intensity (dB)" in line]
        loudest = float(header[0].split(":")[1])
    with read_errors(sound):
        time, pressure = np.loadtxt(sound).T
    rec = bin_spikes(
        {"time": spikes, "unit": np.zeros(len(spikes), int)}, bin=bin, start=0, stop=SECONDS
    )
    centre = rec["time"].values
    decibel = 20 * np.log10(pressure / HEARING_THRESHOLD)
    decibel += loudest - decibel.max()
    place = np.searchsorted(centre + bin / 2, time * 1e-6, side="right")
    kept = place < len(centre)
    n = np.bincount(place[kept], minlength=len(centre))
    if n.min() == 0:
        raise NisslError(
            f"a bin of {bin} s is shorter than a sample of the sound", do="give 0.0001 s or more"
        )
    total = np.bincount(place[kept], weights=decibel[kept], minlength=len(centre))
    return rec.values, centre, total / n
