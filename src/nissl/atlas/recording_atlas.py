"""The atlas of a recording: statistics, tuning, extremes and neighbours of every unit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.recording import Recording, check
from nissl.statistics import Test

if TYPE_CHECKING:
    import pandas as pd

    from nissl.atlas.finished_batches import FinishedBatches
    from nissl.statistics import Extremes

__all__ = ["recording_atlas"]

N_EXAMPLES = 20  # extremes kept at each end
N_NEIGHBOURS = 10  # of each unit


def recording_atlas(
    rec: Recording,
    out: str | Path,
    *,
    labels: Sequence[str] | None = None,
    exchange: str | Sequence[str] | None = None,
    n_bins: int | None = None,
    test: Test = Test(),
    batch_size: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Look at every unit of a recording and write what each one is.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        In memory or lazy; read in batches of samples or of units.
    out : path
        The folder, made if it is missing; `nissl.atlas.tables` says what is in it. Tables of an
        earlier atlas there are replaced when the new ones are whole. What was stopped goes on
        with the same call: finished tests are kept in ``tuning.partial``.
    labels : sequence of str, optional
        Sample coordinates to test; all that can be tested where not given.
    exchange : str or sequence of str, optional
        Coordinates of exchangeability blocks, from large to small; found by name where not given.
    n_bins : int, optional
        Bins of circular and continuous coordinates.
    test : Test
        As for `tuning`.
    batch_size : int, optional
        Units tested at a time.
    progress : bool
        Show a bar.

    Returns
    -------
    dict
        What ``atlas.json`` holds: the counts, the rules, what was permuted for which coordinate,
        which were skipped and why, versions, seed and seconds.

    Raises
    ------
    NotARecording
        `rec` is not a Recording.
    UnknownName
        There is no such coordinate.
    NisslError
        There is nothing in the recording, or the folder cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.random.default_rng(0).standard_normal((30, 2)),
    ...                 samples={"trial": range(30), "side": np.tile(["left", "right"], 15)})
    >>> with TemporaryDirectory() as out:
    ...     made = recording_atlas(rec, out, progress=False)
    >>> made["n_units"], made["skipped"]
    (2, {'trial': 'its values are exchangeability blocks'})
    """
    from nissl.atlas.finished_batches import identity_of
    from nissl.atlas.recording_tables import summary, tuned_counts
    from nissl.atlas.tuning import tuning

    check(rec)
    if 0 in rec.shape:
        raise NisslError(
            f"there is nothing to look at in a recording of shape {rec.shape}",
            do="give at least one sample and one unit",
        )
    began, test = time.perf_counter(), test.own()
    moments, extremes, rule = summary(rec, k=min(N_EXAMPLES, rec.sizes["sample"]))
    asked: dict[str, Any] = {
        "labels": labels,
        "exchange": exchange,
        "n_bins": n_bins,
        "test": test,
        "batch_size": batch_size,
    }
    finished = _finished(Path(out), identity_of(rec, moments, asked))
    found = tuning(rec, **asked, finished=finished, progress=progress)
    tables, neighbours = _tables(rec, moments, extremes, found.finding.table)
    arrays, drawn = _arrays(rec, moments)
    about = {
        **_about(rec, tables["units"]),
        **tuned_counts(tables["tuning"]),
        "skipped": found.skipped,
        "rules": _rules(rule),
        "neighbours": neighbours,
        "n_permutations": test.draws(1000),
        "correction": test.correction,
        "seed": test.seed,
        **drawn,
        **_versions(),
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.perf_counter() - began, 1),
    }
    _write(Path(out), tables, arrays, about)
    finished.remove()
    return about


def _tables(
    rec: Recording, moments: dict[str, NDArray[Any]], extremes: Extremes, tuned: pd.DataFrame
) -> tuple[dict[str, pd.DataFrame], str]:
    """Return the tables of the atlas, and how neighbours were found."""
    from nissl.atlas.neighbours import neighbours_of
    from nissl.atlas.recording_tables import example_table, unit_table

    neighbours, r, inside = neighbours_of(rec, k=min(N_NEIGHBOURS, rec.sizes["unit"]))
    units = unit_table(rec, moments, tuned, neighbours, r)
    tables = {"units": units, "tuning": tuned, "examples": example_table(rec, extremes)}
    return tables, f"Pearson correlation{f', centred inside each {inside}' if inside else ''}"


def _arrays(
    rec: Recording, moments: dict[str, NDArray[Any]]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays of the atlas; which coordinates span a plane, and what rows are."""
    from nissl.atlas.raster import raster
    from nissl.atlas.rate_map import rate_map
    from nissl.atlas.recording_tables import histograms

    counts, edges = histograms(rec, moments)
    arrays: dict[str, NDArray[Any]] = {"histogram": counts, "edges": edges}
    about: dict[str, Any] = {}
    if (plane := rate_map(rec)) is not None:
        arrays |= {"rate_map": plane.values, "rate_map_x": plane.x, "rate_map_y": plane.y}
        about["rate_map"] = list(plane.names)
    rows = raster(rec)
    if isinstance(rows, str):
        return arrays, about | {"raster": {"left_out": rows}}
    arrays |= {"raster": rows.levels, "raster_range": rows.ranges, "raster_mean": rows.mean}
    arrays |= {"raster_start": rows.starts, "raster_edges": rows.edges}
    told = {"rows": rows.rows, "n": rows.n, "each": rows.each, "measure": rows.measure}
    return arrays, about | {"raster": told}


def _rules(active: str) -> dict[str, str]:
    from nissl.atlas.recording_tables import ENOUGH, Q

    return {
        "active": active,
        "dead": f"its activity never changes, over at least {ENOUGH} samples",
        "tuned": f"eta squared for a coordinate of the samples exceeds its null, q ≤ {Q:g}",
        "unexplained": "no coordinate that was asked explains it",
        "untested": "no coordinate of the samples could be tested for it",
    }


def _about(rec: Recording, units: pd.DataFrame) -> dict[str, Any]:
    """Say what was looked at, and count what was found."""
    return {
        "name": str(rec.attrs.get("specimen", "recording")),
        **{str(key): _plain(value) for key, value in rec.attrs.items()},
        "n_samples": rec.sizes["sample"],
        "n_units": rec.sizes["unit"],
        "kinds": {str(kind): int(n) for kind, n in units["kind"].value_counts().items()},
    }


def _finished(out: Path, identity: str) -> FinishedBatches:
    from nissl.atlas.finished_batches import FinishedBatches

    with _writing(out):
        return FinishedBatches(out / "tuning.partial", identity)


def _write(
    out: Path,
    tables: dict[str, Any],
    arrays: dict[str, NDArray[Any]],
    about: dict[str, Any],
) -> None:
    """Write beside what is there, and put it in place when it is whole."""
    import shutil

    import zarr

    from nissl.atlas.writer import put_in_place

    partial = out / "atlas.partial"
    with _writing(out):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, table in tables.items():
            table.to_parquet(partial / f"{name}.parquet", index=False)
        group = zarr.open_group(partial / "arrays.zarr", mode="w")
        for name, array in arrays.items():
            # Of a raster, what cannot be read later is no number.
            nothing = np.nan if name.startswith("raster_") else 0
            group.create_array(name, data=array, fill_value=nothing)
        (partial / "atlas.json").write_text(json.dumps(about, indent=1, ensure_ascii=False))
        put_in_place(partial, out)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NisslError(
            f"the atlas cannot be written: {error.strerror or error}",
            where=str(out),
            do="give --out a folder that you may write, on a disk with room",
        ) from error


def _versions() -> dict[str, str]:
    import pandas as pd
    import xarray as xr

    from nissl._version import __version__

    return {
        "version": __version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "xarray": xr.__version__,
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
