"""NIfTI: the volumes of an fMRI run within a mask or an atlas."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.free_memory import require_memory
from nissl.recording.labels import apart, as_column, is_words
from nissl.recording.readers._cifti import read_cifti
from nissl.recording.readers._files import IN_CACHE, damaged, existing, gunzip, library, reading
from nissl.recording.recording import Recording, as_recording

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_run", "read_nifti"]

SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6, "unknown": 1.0}
#: Coordinates of the units, which no column of events may be called as.
OWN = ("unit", "x", "y", "z", "i", "j", "k", "region", "n_voxels", "vertex")


def read_nifti(
    path: Path | str,
    *,
    mask: Any = None,
    atlas: Any = None,
    regions: Mapping[int, str] | None = None,
    by: Literal["voxel", "region"] = "voxel",
    events: Path | str | pd.DataFrame | None = None,
    tr: float | None = None,
    lag: float = 0.0,
) -> Recording:
    """Read a four-dimensional image into a Recording of voxels or regions.

    Parameters
    ----------
    path : Path or str
        ``.nii`` or ``.nii.gz`` with axes (i, j, k, volume); or a CIFTI time series
        (``.dtseries.nii``, ``.ptseries.nii``), whose units are vertices, voxels or parcels, with
        their structure as ``region``.
    mask : path, image or array of shape (n_i, n_j, n_k), optional
        Voxels that are not zero are read: of a mask of shares (0.3, 0.5) give the ones wanted, such
        as ``mask > 0.5``. Without mask or atlas: those that are not zero in every volume.
    atlas : path, image or array of shape (n_i, n_j, n_k), optional
        Whole numbers that say to which region a voxel belongs; 0 is none, and is left out.
    regions : mapping of int to str, optional
        The regions' names; without it their numbers are their names.
    by : {"voxel", "region"}
        With an atlas: one unit a voxel, or one a region, the mean of its voxels.
    events : path or DataFrame, optional
        A table with a row for each volume, or one with columns ``onset`` and ``duration`` in
        seconds (BIDS). Its other columns become sample coordinates.
    tr : float, optional
        Seconds from one volume to the next; the header's, where it states them. A header that
        states 1 of no unit has not been filled in, and states nothing.
    lag : float
        Seconds by which the response follows an event: labels are moved that much later.

    Returns
    -------
    Recording, shape (n_volumes, n_units)
        Quantity "bold"; float64 where the file is float64 or wide integers, else float32. Unit
        coordinates: ``x``, ``y``, ``z`` in mm (the mean of its voxels for a region), ``i``,
        ``j``, ``k`` (voxels only), ``region`` (with an atlas). Sample coordinates: ``volume``,
        ``time`` in seconds (the volume's start), and those of `events`; of onsets also ``event``,
        the row of the event in which the volume's middle lies, or that begins in it (-1: none;
        of several the last). A column that is called as one of these becomes ``events_...``.

    Raises
    ------
    NisslError
        A file is missing or damaged; the image has other than four dimensions; mask or atlas lie
        on another grid; nothing is left inside; the repetition time is not known; `events` do not
        fit; the library is not installed.

    Source: the NIfTI-1 standard; nibabel reads it.

    Examples
    --------
    >>> import tempfile
    >>> import nibabel
    >>> image = nibabel.Nifti1Image(np.ones((2, 2, 1, 5), np.float32), np.diag([3, 3, 3, 1]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nibabel.save(image, Path(folder, "bold.nii.gz"))
    ...     rec = read_nifti(Path(folder, "bold.nii.gz"), mask=np.eye(2)[..., None], tr=2.0)
    >>> rec.shape, rec["unit"].values.tolist(), rec["x"].values.tolist()
    ((5, 2), ['voxel[0,0,0]', 'voxel[1,1,0]'], [0.0, 3.0])
    """
    nibabel = library("nibabel", reads="NIfTI")
    path = existing(path)
    if by not in ("voxel", "region"):
        raise UnknownName("way of reading", by, ["voxel", "region"], do="by='voxel' or 'region'")
    if by == "region" and atlas is None:
        raise NisslError("by='region' needs to know the regions", do="give atlas=")
    with reading(path, "NIfTI"):
        image = nibabel.load(path)
        shape = tuple(image.shape)
        if isinstance(image, nibabel.Cifti2Image):
            if mask is not None or atlas is not None:
                raise NisslError(
                    "a CIFTI file knows its places, and takes no mask or atlas",
                    where=str(path),
                    do="read all of it, and select units by region",
                )
            volumes, step, units = read_cifti(path, image)
            return as_run(path, volumes, units, tr or step, events, lag)
        if len(shape) != 4 or 0 in shape:
            raise NisslError(
                f"the image has {len(shape)} dimensions, {shape}, not four of some size",
                where=str(path),
                do="give a run of volumes; a mask or atlas goes into mask= or atlas=",
            )
        stored = image.get_data_dtype().newbyteorder("=")
        if stored.kind not in "fiub":
            raise NisslError(
                f"the image holds {stored}, not one number a voxel",
                where=str(path),
                do="save its magnitude, or one of its parts",
            )
        wide = stored.itemsize > 4 or stored in (np.dtype(np.int32), np.dtype(np.uint32))
        dtype = np.dtype(np.float64 if wide else np.float32)
        n_values = math.prod(shape)
        n_bytes = n_values * (dtype.itemsize * 2 + stored.itemsize)
        require_memory(n_bytes, "the run", where=str(path), do="cut it into shorter files")
        image = _whole(image, path, n_values * stored.itemsize)
        step = _repetition_time(path, image, tr)
        if mask is None:
            inside = np.zeros(shape[:3], dtype=bool, order="F")
            for _, some in _blocks(nibabel, image, dtype):
                inside |= (some != 0).any(axis=3)
    if mask is not None:
        shares = _on_grid(nibabel, image, mask, "mask")
        inside = np.asarray((shares != 0) & ~np.isnan(shares))
    codes = None if atlas is None else _codes(_on_grid(nibabel, image, atlas, "atlas"))
    if codes is not None:
        inside &= codes != 0
    if not inside.any():
        raise NisslError("no voxel is left inside", where=str(path), do="look at mask= and atlas=")
    with reading(path, "NIfTI"):
        volumes = _within(nibabel, image, inside, dtype)
    units = _voxels(inside, image.affine, codes, regions)
    if by == "region":
        volumes, units = _by_region(volumes, units, np.asarray(codes)[inside])
    return as_run(path, volumes, units, step, events, lag)


def as_run(
    path: Path,
    volumes: np.ndarray[Any, Any],
    units: Mapping[str, Any],
    step: float,
    events: Any,
    lag: float,
) -> Recording:
    """Return volumes at equal times, labelled by events.

    Parameters
    ----------
    path : Path
        The file.
    volumes : array, shape (n_volumes, n_units)
        The values.
    units : mapping of str to array
        Columns of the units.
    step, lag : float
        Seconds from one volume to the next, and by which a response follows an event.
    events : path, DataFrame or None
        As in `read_nifti`.

    Returns
    -------
    Recording, shape (n_volumes, n_units)
        Quantity "bold".
    """
    n = len(volumes)
    samples: dict[str, Any] = {"volume": np.arange(n), "time": np.arange(n) * step}
    if events is not None:
        samples |= _events(events, n, step, lag)
    attrs: dict[str, str | float] = {"source": path.name, "repetition_time": step}
    return as_recording(volumes, samples=samples, units=units, quantity="bold", attrs=attrs)


def _whole(image: Any, path: Path, n_bytes: int) -> Any:
    """Return the image with all of its bytes there, and those of a gzip file compared."""
    stated = int(image.dataobj.offset) + n_bytes
    packed = path.suffix.lower() == ".gz"
    data = gunzip(path, "NIfTI", keep=stated) if packed else b""
    there = len(data) if packed else path.stat().st_size
    if there < stated:
        raise damaged(path, "NIfTI", f"it holds {there:,} bytes where its header states {stated:,}")
    return type(image).from_bytes(data) if packed else image


def _repetition_time(path: Path, image: Any, tr: float | None) -> float:
    if tr is None:
        units = str(image.header.get_xyzt_units()[1])
        stated = float(image.header.get_zooms()[3])
        # 1 of no unit is what libraries write where nobody has said anything.
        unsaid = units == "unknown" and stated == 1.0
        tr = 0.0 if unsaid else stated * SECONDS.get(units, 0.0)
        if np.isfinite(tr) and tr > 0 and (units == "unknown" or not 0.05 <= tr <= 30):
            unit = "no unit of time" if units == "unknown" else f"'{units}'"
            warnings.warn(
                f"{path}: the header states {stated:g} of {unit} from one volume to the next, which"
                f" is read as {tr:g} s; give tr= if it is not",
                stacklevel=5,
            )
    if not np.isfinite(tr) or tr <= 0:
        raise NisslError(
            "the time from one volume to the next is not stated",
            where=str(path),
            do="give tr=, in seconds",
        )
    return float(tr)


def _blocks(
    nibabel: Any, image: Any, dtype: np.dtype[Any]
) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """Yield volumes, (i, j, k, volume), as many as stay in the processor's cache, and the first."""
    stored, shape = image.dataobj, image.shape
    n_voxels = math.prod(shape[:3])
    step = max(1, IN_CACHE // n_voxels)
    for first in range(0, shape[3], step):
        n = min(step, shape[3] - first)
        offset = stored.offset + first * n_voxels * stored.dtype.itemsize
        spec = ((*shape[:3], n), stored.dtype, offset, stored.slope, stored.inter)
        some = nibabel.arrayproxy.ArrayProxy(stored.file_like, spec, mmap=False)
        yield first, np.asarray(some, dtype=dtype)


def _within(
    nibabel: Any, image: Any, inside: np.ndarray[Any, Any], dtype: np.dtype[Any]
) -> np.ndarray[Any, Any]:
    """Return the voxels inside, in the order of `numpy.argwhere`, volume by volume."""
    place = np.ravel_multi_index(tuple(np.argwhere(inside).T), inside.shape, order="F")
    volumes = np.empty((image.shape[3], inside.sum()), dtype)
    for first, some in _blocks(nibabel, image, dtype):
        for i in range(some.shape[3]):
            flat = some[..., i].reshape(-1, order="F")
            np.take(flat, place, out=volumes[first + i], mode="clip")
    return volumes


def _on_grid(nibabel: Any, image: Any, other: Any, kind: str) -> np.ndarray[Any, Any]:
    """Return the numbers of a mask or atlas, if it lies on the grid of the image."""
    where, affine = kind, image.affine
    if isinstance(other, (str, Path)):
        other = existing(other)
        where = str(other)
        with reading(other, "NIfTI"):
            loaded = nibabel.load(other)
            codes, affine = np.asanyarray(loaded.dataobj), loaded.affine
    elif hasattr(other, "dataobj"):
        codes, affine = np.asanyarray(other.dataobj), other.affine
    else:
        codes = np.asarray(other)
    codes = codes[..., 0] if codes.ndim == 4 and codes.shape[3] == 1 else codes
    if codes.shape != image.shape[:3] or not np.allclose(affine, image.affine, atol=1e-3):
        raise NisslError(
            f"the {kind} lies on another grid than the image: {codes.shape} voxels where the "
            f"image has {image.shape[:3]}, or another affine",
            where=where,
            do="resample it, with nilearn.image.resample_to_img(..., interpolation='nearest')",
        )
    return np.asarray(codes)


def _codes(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the whole numbers of an atlas; not a number is outside."""
    numbers = np.nan_to_num(numbers)
    codes = np.asarray(np.rint(numbers), dtype=np.int64)
    # An atlas that was saved as floats is rounded back; one that was interpolated is no atlas.
    off = np.abs(numbers - codes)
    if off.max(initial=0.0) > 1e-3:
        raise NisslError(
            f"the atlas holds {numbers.flat[int(off.argmax())]:g}, the number of no region",
            where="atlas",
            do="resample it with interpolation='nearest', or give shares as mask=",
        )
    return codes


def _voxels(
    inside: np.ndarray[Any, Any],
    affine: np.ndarray[Any, Any],
    codes: np.ndarray[Any, Any] | None,
    regions: Mapping[int, str] | None,
) -> dict[str, Any]:
    place = np.argwhere(inside)
    mm = place @ affine[:3, :3].T + affine[:3, 3]
    units: dict[str, Any] = {"unit": np.array([f"voxel[{i},{j},{k}]" for i, j, k in place])}
    units |= dict(zip("xyz", mm.T, strict=True)) | dict(zip("ijk", place.T, strict=True))
    if codes is not None:
        written, which = np.unique(codes[inside], return_inverse=True)
        known = {} if regions is None else {int(c): str(n) for c, n in regions.items()}
        units["region"] = np.array([known.get(int(c), str(c)) for c in written])[which]
    return units


def _by_region(
    volumes: np.ndarray[Any, Any], units: Mapping[str, Any], codes: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    written, first, which = np.unique(codes, return_index=True, return_inverse=True)
    members = [which == c for c in range(len(written))]
    mean = [volumes[:, m].mean(axis=1, dtype=np.float64) for m in members]
    regions: dict[str, Any] = {
        "unit": np.array([f"region[{c}]" for c in written]),
        "region": np.asarray(units["region"])[first],
        "n_voxels": np.bincount(which),
    }
    regions |= {axis: np.array([units[axis][m].mean() for m in members]) for axis in "xyz"}
    return np.stack(mean, axis=1).astype(volumes.dtype), regions


def _events(events: Any, n: int, step: float, lag: float) -> dict[str, Any]:
    """Return a column for each of the table's, with a value for each volume."""
    import pandas as pd

    where = "events"
    if isinstance(events, (str, Path)):
        path = existing(events)
        where = str(path)
        separator = {".tsv": "\t", ".csv": ","}.get(path.suffix.lower(), r"\s+")
        with reading(path, "table"):
            events = pd.read_csv(path, sep=separator)
    table = pd.DataFrame(events)
    if "onset" not in table:
        if len(table) != n:
            raise NisslError(
                f"the table has {len(table)} rows, the run {n} volumes, and there are no onsets",
                where=where,
                do="give a row for each volume, or columns onset and duration in seconds",
            )
        return apart({str(name): table[name] for name in table}, {"volume", "time", *OWN}, "events")
    onset = _seconds(table["onset"], where) + lag
    duration = 0 * onset
    if "duration" in table:
        duration = np.nan_to_num(_seconds(table["duration"], where, missing=True))
    row = np.full(n, -1)
    for i in np.argsort(onset, kind="stable"):
        # A volume belongs to the event in which its middle lies; 0.3 / 0.2 is one and a half.
        first = _from(onset[i] / step - 0.5)
        last = _from((onset[i] + duration[i]) / step - 0.5)
        if last <= first:
            first = int(np.floor(onset[i] / step + 1e-9))
            last = first + 1
        row[max(first, 0) : max(last, 0)] = i
    columns: dict[str, Any] = {}
    for name in table.columns.drop(["onset", "duration"], errors="ignore"):
        column = as_column(table[name])
        if is_words(column):
            columns[str(name)] = np.where(row >= 0, column[row], "")
        else:
            columns[str(name)] = np.where(row >= 0, column[row].astype(float), np.nan)
    return {"event": row, **apart(columns, {"event", "volume", "time", *OWN}, "events")}


def _from(volume: float) -> int:
    return int(np.ceil(volume - 1e-9))


def _seconds(column: Any, where: str, *, missing: bool = False) -> np.ndarray[Any, Any]:
    """Return a column of seconds; what is none is named with its line."""
    import pandas as pd

    seconds = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    wrong = ~np.isfinite(seconds) & (column.notna().to_numpy() if missing else True)
    if wrong.any():
        row = int(np.argmax(wrong))
        cell = column.iloc[row]
        said = "nothing" if pd.isna(cell) else repr(cell)
        raise NisslError(
            f"column '{column.name}' holds {said}, not seconds",
            where=f"{where}, line {row + 2}",
            do="mend the cell, or drop the row",
        )
    return np.asarray(seconds)
