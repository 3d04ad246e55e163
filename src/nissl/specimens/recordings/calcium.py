"""Calcium: two-photon traces of the regions of interest that suite2p found."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nissl.recording import Recording, as_recording
from nissl.recording.readers import read_nwb
from nissl.specimens.recordings.source import folder_of, read_errors, source_files

__all__ = ["calcium"]

NEUROPIL = 0.7  # share of the neuropil's fluorescence taken off, as suite2p does


def calcium(folder: str | Path | None = None, *, progress: bool = True) -> Recording:
    """Return fluorescence, less 0.7 of the neuropil's, over 200 seconds.

    Parameters
    ----------
    folder : path, optional
        Where the NWB file lies; fetched into the cache where not given.
    progress : bool
        Show how much has arrived, where the file is fetched.

    Returns
    -------
    Recording, shape (2000, 219)
        Fluorescence in arbitrary units. Samples: ``time`` (seconds). Units: ``index``,
        ``accepted`` (1 for the 20 that suite2p took for cells) and ``probability`` that it is one.
        Some regions do not vary. The file tells neither the area nor the task.

    Raises
    ------
    NisslError
        The file cannot be read.

    Examples
    --------
    >>> calcium().sizes["unit"]  # doctest: +SKIP
    219

    Source: recording A0662/2022_08_08, shipped with the tests of pynapple (MIT).
    """
    folder = folder_of("calcium", folder, progress=progress)
    (path, *_) = source_files(folder, "suite2p/**/2022_08_08.nwb")
    cells, around = (read_nwb(path, series=name) for name in ("Fluorescence", "Neuropil"))
    with read_errors(path):
        import h5py

        with h5py.File(path) as file:
            told = file["processing/ophys/ImageSegmentation/PlaneSegmentation/iscell"][:]
    return as_recording(
        (cells.values - NEUROPIL * around.values).astype(np.float32),
        samples={"time": cells["time"].values},
        units={
            "unit": [f"roi[{i}]" for i in range(len(told))],
            "index": np.arange(len(told)),
            "accepted": told[:, 0].astype(np.int64),
            "probability": told[:, 1],
        },
        quantity="calcium",
        attrs={
            "specimen": "calcium",
            "source": "pynapple 0.11.4 (PyPI sdist), suite2p/pynapplenwb/2022_08_08.nwb",
            "licence": "MIT",
        },
    )
