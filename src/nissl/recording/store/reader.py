"""The reader of a store: a lazy Recording over its sites, read by offset and verified."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from nissl.errors import NisslError, UnknownName
from nissl.recording.labels import is_words, lacking
from nissl.recording.recording import Recording
from nissl.recording.store._arrays import folder_name, read_column
from nissl.recording.store._lazy_arrays import LazyColumn, LazyValues
from nissl.recording.store._resume import rows_on_disk, whole_batches
from nissl.recording.store._site_reader import SiteReader
from nissl.recording.store._tables import ADDRESS, ARRAY, SITE, addresses
from nissl.recording.store.manifest import Manifest, read_manifest, site_layout

__all__ = ["open_store"]


def open_store(
    path: str | Path, sites: str | Iterable[str] | None = None, *, verify: bool = True
) -> Recording | dict[str, Recording]:
    """Open a store as a lazy Recording; nothing but the units' table is read.

    A chunk is verified against its checksum the first time this Recording reads of it, for which
    all of it is read; after that, few rows of it are read alone.

    Parameters
    ----------
    path : str or Path
        The store's folder.
    sites : str or iterable of str, optional
        Sites to open, in this order; ``*`` stands for anything. All by default.
    verify : bool
        False reads few rows alone from the start, and finds no damage.

    Returns
    -------
    Recording, shape (n_samples, n_units), or dict of str to Recording
        All units of the sites side by side; by site where their samples differ. bfloat16 comes as
        float32. A store that is not complete comes with the samples of its whole batches, a warning
        and the attribute ``complete`` false.

    Raises
    ------
    NisslError
        There is no store, or a shard is missing or truncated; when read: damaged.
    UnknownName
        There is no such site.

    Examples
    --------
    >>> import tempfile
    >>> from nissl.recording import as_recording, save
    >>> path = save(as_recording(np.eye(3), samples={"trial": [0, 0, 1]}), tempfile.mkdtemp())
    >>> rec = open_store(path)
    >>> rec[:, 1].values.tolist(), rec["trial"].values.tolist()
    ([0.0, 1.0, 0.0], [0, 0, 1])
    """
    root = Path(path).expanduser()
    manifest = read_manifest(root)
    chosen = _chosen(sites, manifest)
    n_samples = [axis["n_samples"] for axis in manifest["axes"]]
    if manifest["complete"]:
        _check_shards(root, manifest, chosen)
    else:
        n_samples = _whole_samples(root, manifest)
    axes = list(dict.fromkeys(manifest["sites"][site]["axis"] for site in chosen))
    if len(axes) == 1:
        return _open(root, manifest, chosen, n_samples[axes[0]], verify=verify)
    return {
        site: _open(
            root, manifest, [site], n_samples[manifest["sites"][site]["axis"]], verify=verify
        )
        for site in chosen
    }


def _open(
    root: Path, manifest: Manifest, sites: list[str], n_samples: int, *, verify: bool
) -> Recording:
    entries = [manifest["sites"][site] for site in sites]
    readers = [
        SiteReader(root / entry["array"], site, site_layout(manifest, site), verify=verify)
        for site, entry in zip(sites, entries, strict=True)
    ]
    axis = manifest["axes"][entries[0]["axis"]]
    coords: dict[str, xr.Variable] = {}
    for name, array in axis["columns"].items():
        described = axis["fingerprints"][name]
        column = indexing.LazilyIndexedArray(LazyColumn(root / array, described, n_samples))
        coords[name] = xr.Variable(("sample",), column, described["attrs"])
    coords |= _unit_coords(root, sites, entries)
    values = LazyValues(readers, n_samples)
    return xr.DataArray(
        xr.Variable(("sample", "unit"), indexing.LazilyIndexedArray(values)),
        coords=coords,
        attrs=_attrs(manifest, entries),
    )


def _attrs(manifest: Manifest, entries: list[dict[str, Any]]) -> dict[str, Any]:
    attrs = dict(manifest["provenance"])
    if not manifest["complete"]:
        attrs["complete"] = False
    # Never silent: who opens a store with NaN or infinity in it is told.
    if count := sum(entry["nonfinite"]["values"] for entry in entries if entry["nonfinite"]):
        attrs["nonfinite"] = count
    return attrs


def _unit_coords(
    root: Path, sites: list[str], entries: list[dict[str, Any]]
) -> dict[str, xr.Variable]:
    """Put the sites' tables one below the other; what a site lacks is NaN, -1 or empty."""
    tables = [_unit_table(root, s, entry) for s, entry in zip(sites, entries, strict=True)]
    coords = {}
    for name in dict.fromkeys(name for table in tables for name in table):
        like = next(table[name] for table in tables if name in table)
        parts = [
            table[name].values if name in table else lacking(like, entry["n_units"])
            for table, entry in zip(tables, entries, strict=True)
        ]
        coords[name] = xr.Variable(("unit",), np.concatenate(parts), like.attrs)
    return coords


def _unit_table(root: Path, site: str, entry: Mapping[str, Any]) -> dict[str, xr.Variable]:
    folder, n_units = root / "units" / entry["array"], entry["n_units"]
    table: dict[str, xr.Variable] = {}
    for name, source in entry["columns"].items():
        if source == ARRAY:
            described = entry["fingerprints"][name]
            values = read_column(folder / folder_name(name), described)
            values = values.astype(str) if is_words(values) else values
            table[name] = xr.Variable(("unit",), values, described["attrs"])
        elif source == SITE:
            table[name] = xr.Variable(("unit",), np.full(n_units, site))
    if entry["columns"].get("unit") == ADDRESS:
        index = table["index"].values if "index" in table else np.arange(n_units)
        table["unit"] = xr.Variable(("unit",), addresses(site, index))
    return {name: table[name] for name in entry["columns"]}


def _chosen(sites: str | Iterable[str] | None, manifest: Manifest) -> list[str]:
    known = list(manifest["sites"])
    if sites is None:
        return known
    chosen: dict[str, None] = {}
    for asked in [sites] if isinstance(sites, str) else sites:
        pattern = re.compile(re.escape(asked).replace(r"\*", ".*"))
        found = [asked] if asked in known else [s for s in known if pattern.fullmatch(s)]
        if not found:
            raise UnknownName("site", asked, known, do="open the store without `sites` to see all")
        chosen |= dict.fromkeys(found)
    if not chosen:
        raise NisslError("no site is asked for", do=f"the store has: {', '.join(known[:5])}")
    return list(chosen)


def _check_shards(root: Path, manifest: Manifest, sites: list[str]) -> None:
    for site in sites:
        entry = manifest["sites"][site]
        for name, size in entry["shards"].items():
            path = root / entry["array"] / name
            try:
                found = path.stat().st_size
            except FileNotFoundError:
                found = -1
            if found != size:
                what = "missing" if found < 0 else f"of {found} bytes instead of {size}"
                raise NisslError(
                    f"a shard of '{site}' is {what}",
                    where=str(path),
                    do="copy the store again, or run what recorded it again: it records what is"
                    " missing",
                )


def _whole_samples(root: Path, manifest: Manifest) -> list[int]:
    """Return the samples of each axis that all sites of an incomplete store hold."""
    rows = {
        site: rows_on_disk(root / entry["array"], site_layout(manifest, site), entry["rows"])
        for site, entry in manifest["sites"].items()
    }
    batch = whole_batches(manifest, rows)
    n_batches = len(manifest["axes"][0]["boundaries"])
    warnings.warn(f"{root} is not complete: it holds {batch} of {n_batches} batches", stacklevel=3)
    return [axis["boundaries"][batch - 1] if batch else 0 for axis in manifest["axes"]]
