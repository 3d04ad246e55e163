"""CIFTI: time series of vertices and voxels, or of parcels, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.free_memory import require_memory

__all__ = ["read_cifti"]

Array = np.ndarray[Any, Any]


def read_cifti(path: Path, image: Any) -> tuple[Array, float, dict[str, Any]]:
    """Return the values, the seconds from one sample to the next, and the units' columns.

    Parameters
    ----------
    path : Path
        The file, for the error.
    image : nibabel.Cifti2Image
        Of kind ``dtseries`` (vertices and voxels) or ``ptseries`` (parcels).

    Returns
    -------
    values : array, shape (n_samples, n_units)
        float32, or float64 where the file has it.
    step : float
        Seconds.
    units : dict of str to array
        ``unit``, ``region`` (the structure, or the parcel); of vertices and voxels ``vertex`` (-1:
        none) and ``x``, ``y``, ``z`` in mm (NaN for vertices).

    Raises
    ------
    NisslError
        It is no time series.
    """
    kinds = [type(image.header.get_axis(i)).__name__ for i in range(image.ndim)]
    series = next((i for i, kind in enumerate(kinds) if kind == "SeriesAxis"), None)
    columns = {"BrainModelAxis": _brain, "ParcelsAxis": _parcels}
    if series is None or len(kinds) != 2 or kinds[1 - series] not in columns:
        raise NisslError(
            f"this CIFTI file has {' and '.join(kinds)}, which is no time series of units",
            where=str(path),
            do="give a dtseries or ptseries",
        )
    dtype = np.float64 if image.get_data_dtype().itemsize > 4 else np.float32
    n_bytes = int(np.prod(image.shape)) * np.dtype(dtype).itemsize * 2
    require_memory(n_bytes, "the run", where=str(path), do="cut it into shorter files")
    values = image.get_fdata(dtype=dtype, caching="unchanged")
    axis = image.header.get_axis(series)
    if str(axis.unit).upper() != "SECOND" or not axis.step > 0:
        raise NisslError(
            f"its samples are {axis.step:g} {str(axis.unit).lower()} apart, not seconds",
            where=str(path),
            do="give a time series",
        )
    units = columns[kinds[1 - series]](image.header.get_axis(1 - series))
    return np.ascontiguousarray(values if series == 0 else values.T), float(axis.step), units


def _brain(axis: Any) -> dict[str, Any]:
    names = [str(n).removeprefix("CIFTI_STRUCTURE_").lower() for n in axis.name]
    surface = np.asarray(axis.surface_mask)
    place = np.full((len(names), 3), np.nan)
    if not surface.all():
        mm = np.asarray(axis.voxel)[~surface] @ axis.affine[:3, :3].T + axis.affine[:3, 3]
        place[~surface] = mm
    where = [
        f"{name}[{vertex}]" if is_surface else f"{name}[{','.join(map(str, voxel))}]"
        for name, is_surface, vertex, voxel in zip(
            names, surface, axis.vertex, axis.voxel, strict=True
        )
    ]
    units: dict[str, Any] = {"unit": np.array(where), "region": np.array(names)}
    units["vertex"] = np.where(surface, axis.vertex, -1)
    return units | dict(zip("xyz", place.T, strict=True))


def _parcels(axis: Any) -> dict[str, Any]:
    names = np.array([str(name) for name in axis.name])
    return {"unit": np.array([f"parcel[{name}]" for name in names]), "region": names}
