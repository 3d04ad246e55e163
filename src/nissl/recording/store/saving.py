"""Keep any Recording as a store, so that it is opened again as it was."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from nissl.progress import progress_bar
from nissl.recording.recording import Recording, check
from nissl.recording.store.writer import StoreWriter

__all__ = ["save"]

ROWS = 8192


def save(
    rec: Recording,
    path: str | Path,
    *,
    dtype: str | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Path:
    """Write a Recording, in memory or lazy, as a store that `open_store` gives back.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Its values are read in row groups of 8,192 samples.
    path : str or Path
        A new or empty folder.
    dtype : str, optional
        What is kept; by default what the Recording has.
    resume : bool
        Go on with a store that an earlier call began.
    progress : bool
        Show a bar.

    Returns
    -------
    Path
        The store.

    Raises
    ------
    NotARecording
        `rec` is not a Recording.
    NisslError
        The folder holds something, cannot be written, or the disk has too little room.

    Examples
    --------
    >>> import tempfile
    >>> from nissl.recording import as_recording
    >>> from nissl.recording.store.reader import open_store
    >>> rec = as_recording(np.eye(2), units={"region": ["V1", "V2"]}, quantity="calcium")
    >>> open_store(save(rec, tempfile.mkdtemp())).identical(rec)
    True
    """
    check(rec)
    n_samples = rec.sizes["sample"]
    starts = range(0, n_samples, ROWS)
    runs = _sites(rec)
    attrs = {**rec.attrs, **{str(n): c.item() for n, c in rec.coords.items() if c.ndim == 0}}
    writer = StoreWriter(
        path,
        sites={site: run.stop - run.start for site, run in runs.items()},
        n_samples=n_samples,
        boundaries=[min(start + ROWS, n_samples) for start in starts],
        dtype=dtype or rec.dtype.name,
        samples=_side(rec, "sample", slice(None)),
        units={site: _side(rec, "unit", run) for site, run in runs.items()},
        provenance=attrs,
        resume=resume,
    )
    with (
        writer,
        progress_bar("Saving", total=n_samples, unit="samples", progress=progress) as advance,
    ):
        for start in starts[writer.batch :]:
            values = np.asarray(rec[start : start + ROWS].values)
            for site, run in runs.items():
                writer.append(site, values[:, run])
            advance(len(values))
    return Path(path)


def _sites(rec: Recording) -> dict[str, slice]:
    """Return the units of each site, or all as one where the sites are not in runs."""
    whole = {"": slice(0, rec.sizes["unit"])}
    if "site" not in rec.coords or rec["site"].dims != ("unit",) or not rec.sizes["unit"]:
        return whole
    names = np.asarray(rec["site"].values).astype(str)
    edges = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
    runs = {str(names[a]): slice(a, b) for a, b in pairwise(edges)}
    return runs if len(runs) == len(edges) - 1 and "" not in runs else whole


def _side(rec: Recording, side: str, run: slice) -> dict[str, Any]:
    return {
        str(name): coord.variable[run]
        for name, coord in rec.coords.items()
        if coord.dims == (side,)
    }
