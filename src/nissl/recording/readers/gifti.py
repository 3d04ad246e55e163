"""GIFTI: time series or maps over the vertices of a surface."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from nissl.errors import NisslError
from nissl.recording.free_memory import require_memory
from nissl.recording.readers._files import damaged, existing, library, reading
from nissl.recording.readers.nifti import as_run
from nissl.recording.recording import Recording, as_recording

__all__ = ["read_gifti"]

Array = np.ndarray[Any, Any]
SIZES = {"NIFTI_TYPE_UINT8": 1, "NIFTI_TYPE_INT32": 4, "NIFTI_TYPE_FLOAT32": 4}
POINTS, TRIANGLES = "NIFTI_INTENT_POINTSET", "NIFTI_INTENT_TRIANGLE"
LABEL, SERIES = "NIFTI_INTENT_LABEL", "NIFTI_INTENT_TIME_SERIES"


def read_gifti(
    path: Path | str,
    *,
    surface: Path | str | None = None,
    atlas: Path | str | None = None,
    events: Path | str | pd.DataFrame | None = None,
    tr: float | None = None,
    lag: float = 0.0,
) -> Recording:
    """Read values over the vertices of a surface into a Recording.

    Parameters
    ----------
    path : Path or str
        ``.func.gii`` or ``.shape.gii``: an array for each time point or map, or one of all.
    surface : Path or str, optional
        ``.surf.gii``, for where the vertices lie.
    atlas : Path or str, optional
        ``.label.gii``, for the regions they belong to.
    events : path or DataFrame, optional
        As in `read_nifti`; of a time series.
    tr : float, optional
        Seconds from one time point to the next: of a time series it has to be given, since
        programs write it in seconds or in milliseconds.
    lag : float
        As in `read_nifti`.

    Returns
    -------
    Recording, shape (n_samples, n_vertices)
        Unit coordinates: ``vertex``, ``x``, ``y``, ``z`` in mm (with a surface), ``region`` (with
        an atlas). Sample coordinates of a time series: ``volume``, ``time`` and those of `events`,
        quantity "bold"; of maps: ``map``, their names.

    Raises
    ------
    NisslError
        A file is missing, damaged or a surface alone; `tr` is not given; files have other vertices.

    Source: the GIFTI standard; nibabel reads it.

    Examples
    --------
    >>> import tempfile
    >>> import nibabel
    >>> array = nibabel.gifti.GiftiDataArray(np.ones(3, np.float32), intent="NIFTI_INTENT_SHAPE")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nibabel.save(nibabel.GiftiImage(darrays=[array]), Path(folder, "a.shape.gii"))
    ...     read_gifti(Path(folder, "a.shape.gii"))["unit"].values.tolist()
    ['vertex[0]', 'vertex[1]', 'vertex[2]']
    """
    nibabel = library("nibabel", reads="GIFTI")
    path, image = _opened(nibabel, path)
    wanted = [a for a in image.darrays if _intent(nibabel, a) not in (POINTS, TRIANGLES)]
    if not wanted:
        raise NisslError(
            "the file has a surface and no values over it",
            where=str(path),
            do="give it as surface= of a .func.gii or .shape.gii",
        )
    rows = [np.atleast_2d(a.data.T if a.data.ndim == 2 else a.data) for a in wanted]
    n = rows[0].shape[1]
    if any(row.ndim != 2 or row.shape[1] != n for row in rows):
        raise NisslError("its arrays have several numbers of vertices", where=str(path))
    values = np.concatenate(rows).astype(np.float32, copy=False)
    units = _units(nibabel, image, n, surface, atlas)
    if any(_intent(nibabel, a) == SERIES for a in wanted):
        if tr is None or not np.isfinite(tr) or tr <= 0:
            raise NisslError(
                "the time from one sample to the next is not stated",
                where=str(path),
                do="give tr=, in seconds",
            )
        return as_run(path, values, units, float(tr), events, lag)
    if events is not None:
        raise NisslError("maps have no time at which events are", where=str(path))
    names = [str(a.meta.get("Name", number)) for number, a in enumerate(wanted)]
    if len(names) != len(values):
        names = [str(number) for number in range(len(values))]
    return as_recording(values, samples={"map": names}, units=units, attrs={"source": path.name})


def _opened(nibabel: Any, path: Path | str) -> tuple[Path, Any]:
    path = existing(path)
    with reading(path, "GIFTI"):
        _check_sizes(path)
        image = nibabel.load(path)
    if not isinstance(image, nibabel.GiftiImage):
        raise damaged(path, "GIFTI", "it is of another format")
    return path, image


def _check_sizes(path: Path) -> None:
    """Refuse arrays that hold more than they state, or more than fits, before they are inflated."""
    total = 0
    for _, element in ElementTree.iterparse(path):
        if element.tag != "DataArray":
            continue
        shape = [
            int(element.get(f"Dim{i}", 1)) for i in range(int(element.get("Dimensionality", 1)))
        ]
        stated = SIZES.get(str(element.get("DataType")), 8)
        for size in shape:
            stated *= size
        total += stated
        require_memory(3 * total, "the file", where=str(path), do="cut it into shorter files")
        if element.get("Encoding") == "GZipBase64Binary":
            packed = base64.b64decode(element.findtext("Data") or "")
            if len(zlib.decompressobj().decompress(packed, stated + 1)) != stated:
                raise damaged(path, "GIFTI", f"an array of {stated:,} bytes has another number")
        element.clear()


def _intent(nibabel: Any, array: Any) -> str:
    return str(nibabel.nifti1.intent_codes.niistring[array.intent])


def _units(
    nibabel: Any, image: Any, n: int, surface: Path | str | None, atlas: Path | str | None
) -> dict[str, Any]:
    side = str(image.meta.get("AnatomicalStructurePrimary", "vertex"))
    for word in ("Left", "Right"):
        side = side.replace(word, f"_{word}")
    units: dict[str, Any] = {
        "unit": np.array([f"{side.lower()}[{vertex}]" for vertex in range(n)]),
        "vertex": np.arange(n),
    }
    if surface is not None:
        where = _only(nibabel, surface, POINTS, n)[0]
        units |= dict(zip("xyz", np.asarray(where, dtype=np.float64).T, strict=True))
    if atlas is not None:
        codes, labelled = _only(nibabel, atlas, LABEL, n)
        names = labelled.labeltable.get_labels_as_dict()
        units["region"] = np.array([names.get(int(code), str(int(code))) for code in codes])
    return units


def _only(nibabel: Any, given: Path | str, intent: str, n: int) -> tuple[Array, Any]:
    """Return the array of one intent, of as many vertices."""
    path, image = _opened(nibabel, given)
    found = [a.data for a in image.darrays if _intent(nibabel, a) == intent]
    if len(found) != 1 or len(found[0]) != n:
        said = f"{len(found[0])} vertices, not {n}" if len(found) == 1 else f"{len(found)} arrays"
        raise NisslError(
            f"the file has {said} of intent {intent.removeprefix('NIFTI_INTENT_').lower()}",
            where=str(path),
            do="give the surface or labels of the same hemisphere and mesh",
        )
    return found[0], image
