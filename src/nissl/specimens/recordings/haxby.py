"""Haxby: fMRI of ventral temporal cortex while a subject sees faces, houses and six more."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nissl.errors import NisslError
from nissl.recording import Recording, as_recording, units_table
from nissl.recording.readers import read_nifti
from nissl.specimens.recordings.source import folder_of, read_errors, source_files

__all__ = ["haxby"]

TR = 2.5


def haxby(folder: str | Path | None = None, *, progress: bool = True) -> Recording:
    """Return half a slice of subject 1: 1452 volumes of 530 voxels in 12 runs.

    Parameters
    ----------
    folder : path, optional
        Where the images and the table of attributes lie; fetched where not given.
    progress : bool
        Show how much has arrived, where the files are fetched.

    Returns
    -------
    Recording, shape (1452, 530)
        BOLD, in the scanner's arbitrary units. Samples: ``category`` (eight kinds of picture,
        and rest), ``run`` (0 to 11), ``time`` (seconds in the run). Units: ``x``, ``y``, ``z``
        (millimetres in the image's own space) and ``i``, ``j``, ``k`` (voxel).

    Raises
    ------
    NisslError
        A file cannot be read, or image and attributes differ in length.

    Examples
    --------
    >>> rec = haxby()  # doctest: +SKIP
    >>> rec.shape  # doctest: +SKIP
    (1452, 530)

    Source: Haxby et al. 2001, Science 293:2425, as shipped with PyMVPA 2.6.5 (MIT).
    """
    folder = folder_of("haxby", folder, progress=progress)
    (bold, *_) = source_files(folder, "mvpa2/data/bold.nii.gz")
    (mask, *_) = source_files(folder, "mvpa2/data/mask.nii.gz")
    (table, *_) = source_files(folder, "mvpa2/data/attributes_literal.txt")
    image = read_nifti(bold, mask=mask, tr=TR)
    with read_errors(table):
        labels = np.loadtxt(table, dtype=str)
        category, run = labels[:, 0], labels[:, 1].astype(np.int32)
    if len(category) != len(image):
        raise NisslError(
            f"there are {len(image)} volumes but {len(category)} labels", where=str(table)
        )
    starts = np.searchsorted(run, run)  # the runs follow one another
    return as_recording(
        image.values,
        samples={"category": category, "run": run, "time": TR * (np.arange(len(run)) - starts)},
        units=units_table(image),
        quantity="bold",
        attrs={
            "specimen": "haxby",
            "source": "pymvpa2 2.6.5 (PyPI sdist), mvpa2/data",
            "licence": "MIT",
            "subject": "1",
            "tr_s": TR,
        },
    )
