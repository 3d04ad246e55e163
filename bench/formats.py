"""Reading EDF, NIfTI and NWB, beside MNE, nibabel and pynwb alone.

Each file gives about a gigabyte of numbers, and lies in the system's cache: what is measured is the
processor's work. The library alone gives the same numbers in an array that it lays out as it likes;
a Recording has samples in rows, with their times, and the units' columns.
"""

from __future__ import annotations

import datetime
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nissl
from bench.measure import Row, in_turn, one_thread, ratio
from nissl.cache import cache_dir

EDF = (64, 256, 7600)  # channels, Hz, seconds
NIFTI = (64, 64, 40, 3000)
NWB = (1_900_000, 128)
CONVERSION = 1.5e-7


def run(rounds: int = 9) -> list[Row]:
    """Return a row for each format."""
    one_thread()
    rows = []
    for name, (write, alone, peer) in FORMATS.items():
        with tempfile.TemporaryDirectory(dir=cache_dir("bench")) as folder:
            path = Path(folder) / f"recording.{name}"
            write(path)
            rows.append(_row(path, alone, peer, rounds))
    return rows


def _row(path: Path, alone: Callable[[Path], Any], peer: str, rounds: int) -> Row:
    rec, expected = nissl.read(path), alone(path)
    if rec.shape != expected.shape or not np.allclose(
        rec.values[::997], expected[::997], rtol=1e-6
    ):
        raise AssertionError(f"{path.suffix}: nissl and {peer} read different numbers")
    size, stored = rec.nbytes / 2**30, path.stat().st_size / 2**30
    del rec, expected  # each takes a gigabyte
    seconds = in_turn(
        {"nissl": lambda: nissl.read(path), "alone": lambda: alone(path)}, rounds=rounds
    )
    # What the system takes for a gigabyte of fresh memory varies tenfold: it is least at best.
    value = min(seconds["nissl"]) / min(seconds["alone"])
    _, spread = ratio(seconds["nissl"], seconds["alone"])
    return Row(
        name=f"read {path.suffix[1:].upper()}: {size:.2f} GiB of numbers, {stored:.2f} on the disk",
        ratio=value,
        unit=f"x {peer}",
        target=1.1,
        limit=1.0,
        note=f"of the quickest readings; {spread}",
    )


def write_edf(path: Path) -> None:
    n, rate, seconds = EDF
    fields = [
        (16, [f"EEG {i:03d}" for i in range(n)]),
        (80, [""] * n),
        (8, ["uV"] * n),
        (8, ["-3276.8"] * n),
        (8, ["3276.7"] * n),
        (8, ["-32768"] * n),
        (8, ["32767"] * n),
        (80, [""] * n),
        (8, [rate] * n),
        (32, [""] * n),
    ]
    start = (
        f"{'0':8}{'X X X X':80}{'Startdate X X X X':80}01.01.2001.01.01{256 * (n + 1):<8}{'':44}"
    )
    header = f"{start}{seconds:<8}{1:<8}{n:<4}"
    header += "".join(f"{value:<{width}}" for width, values in fields for value in values)
    record = _noise(n * rate)
    with path.open("wb") as file:
        file.write(header.encode("ascii"))
        for i in range(seconds):
            file.write(np.roll(record, i).tobytes())


def _mne(path: Path) -> Any:
    import mne

    return mne.io.read_raw_edf(path, preload=False, verbose="error").get_data().T


def write_nifti(path: Path) -> None:
    import nibabel

    volumes = np.resize(_noise(1 << 22) | 1, NIFTI)
    volumes[_outside()] = 0
    image = nibabel.Nifti1Image(volumes, np.diag([3, 3, 3, 1]))
    image.header.set_zooms((3, 3, 3, 2))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


def _nibabel(path: Path) -> Any:
    import nibabel

    values = nibabel.load(path).get_fdata(dtype=np.float32, caching="unchanged")
    return values[~_outside()].T


def _outside() -> np.ndarray[Any, Any]:
    """Return the corners, half of all voxels, in which there is no brain."""
    i, j, k = (np.linspace(-1, 1, n) for n in NIFTI[:3])
    return np.asarray(i[:, None, None] ** 2 + j[:, None] ** 2 + k**2 > 0.97)


def write_nwb(path: Path) -> None:
    import pynwb

    day = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    file = pynwb.NWBFile(
        session_description="a session", identifier="mouse 1", session_start_time=day
    )
    series = pynwb.TimeSeries(
        name="field",
        data=np.resize(_noise(1 << 22), NWB),
        unit="volts",
        rate=1000.0,
        conversion=CONVERSION,
    )
    file.add_acquisition(series)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)


def _pynwb(path: Path) -> Any:
    import pynwb

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pynwb.NWBHDF5IO(path, "r", load_namespaces=True) as io:
            series = io.read().acquisition["field"]
            return series.data[:].astype(np.float32) * np.float32(series.conversion)


def _noise(n: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(-2000, 2000, n).astype(np.int16)


FORMATS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any], str]] = {
    "edf": (write_edf, _mne, "MNE"),
    "nii": (write_nifti, _nibabel, "nibabel"),
    "nwb": (write_nwb, _pynwb, "pynwb"),
}
