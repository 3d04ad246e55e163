"""What a store will hold: sites, sample axes and columns, checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.store._arrays import (
    Metadata,
    folder_name,
    group_metadata,
    site_metadata,
    write_column,
    write_json,
)
from nissl.recording.store._layout import BFLOAT16, Layout
from nissl.recording.store._shard import sync
from nissl.recording.store._tables import (
    Columns,
    plain_attrs,
    sample_columns,
    unit_columns,
    write_units,
)
from nissl.recording.store.manifest import FORMAT, FORMAT_VERSION, GROUP, Manifest, fingerprint

__all__ = ["SampleAxis", "StoreSchema"]

BFLOAT16_NOTE = "bfloat16 bit patterns: (x.astype('uint32') << 16).view('float32') are the numbers"


@dataclass(frozen=True, eq=False)
class SampleAxis:
    """The samples of sites that have others than the rest, such as places of a convolution map.

    `boundaries` are the rows there are after each batch; all axes have as many batches. Columns are
    of length `n_samples`.
    """

    n_samples: int
    boundaries: Sequence[int] | np.ndarray[Any, Any] | None = None
    samples: Mapping[str, Any] = field(default_factory=dict)


class StoreSchema:
    """Everything that is known of a store before its first number.

    `sites` gives the units of each; sites in `axes` have samples of their own, which they share
    where they share the object, the others those of `main`. `units` are the tables of each site's
    units, `attrs` provenance and quantity, `layout` other sizes of chunks and shards, for tests.
    """

    def __init__(
        self,
        *,
        sites: Mapping[str, int],
        main: SampleAxis,
        axes: Mapping[str, SampleAxis],
        dtype: str,
        units: Mapping[str, Mapping[str, Any]],
        attrs: Mapping[str, Any],
        layout: Mapping[str, int],
    ) -> None:
        if not sites:
            raise NisslError("no site is to be recorded", do="name at least one")
        for name in [*axes, *units]:
            if name not in sites:
                raise UnknownName("site", name, sites)
        self.dtype = _checked_dtype(dtype)
        self.attrs = plain_attrs(attrs)
        distinct = list(dict.fromkeys(axes.get(site, main) for site in sites))
        self.axes = [_Axis.of(axis, number) for number, axis in enumerate(distinct)]
        if len({len(axis.boundaries) for axis in self.axes}) > 1:
            raise NisslError("the sample axes have different numbers of batches")
        self.n_batches = len(self.axes[0].boundaries)
        self.axis_of = {site: distinct.index(axes.get(site, main)) for site in sites}
        self.layouts = {
            site: Layout(self.axes[self.axis_of[site]].n_samples, int(width), self.dtype, **layout)
            for site, width in sites.items()
        }
        taken = {GROUP, "units", *(c for axis in self.axes for c in axis.arrays.values())}
        self.arrays = {site: _array_name(site, taken) for site in sites}
        self.units: dict[str, Columns] = {}
        self._sources: dict[str, dict[str, str]] = {}
        for site, width in sites.items():
            self.units[site], self._sources[site] = unit_columns(site, width, units.get(site, {}))
        self._layout = dict(layout)

    @property
    def total_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(layout.total_bytes for layout in self.layouts.values())

    def manifest(self) -> Manifest:
        """Return the manifest of the store before its first number."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "complete": False,
            "dtype": self.dtype,
            "layout": self._layout,
            "provenance": self.attrs,
            "axes": [axis.manifest() for axis in self.axes],
            "sites": {site: self._site(site) for site in self.layouts},
        }

    def write(self, root: Path) -> None:
        """Write the metadata and both sides' tables; the root's ``zarr.json`` comes last."""
        members: dict[str, Metadata] = {}
        for site, layout in self.layouts.items():
            name = self.arrays[site]
            attrs = {"site": site} | ({"encoding": BFLOAT16_NOTE} if self.dtype == BFLOAT16 else {})
            dims = (self.axes[self.axis_of[site]].dim, f"unit:{name}")
            members[name] = site_metadata(layout, dims, attrs)
            (root / name / "c").mkdir(parents=True, exist_ok=True)
            write_json(root / name / "zarr.json", members[name])
        for axis in self.axes:
            for column, name in axis.arrays.items():
                values, attrs = axis.columns[column]
                members[name] = write_column(root / name, values, axis.dim, attrs)
        for group in ("units", GROUP):
            (root / group).mkdir(exist_ok=True)
            members[group] = group_metadata({})
            write_json(root / group / "zarr.json", members[group])
        for site, columns in self.units.items():
            folder = f"units/{self.arrays[site]}"
            for name, metadata in write_units(root / folder, columns).items():
                members[f"{folder}/{name}".rstrip("/")] = metadata
        coordinates = " ".join(name for axis in self.axes for name in axis.arrays.values())
        attrs = self.attrs | ({"coordinates": coordinates} if coordinates else {})
        write_json(root / "zarr.json", group_metadata(attrs, dict(sorted(members.items()))))

    def sync(self, root: Path) -> None:
        """Put on the disk what `write` wrote, before the store is called complete."""
        tables = [root / "units", *(root / n for axis in self.axes for n in axis.arrays.values())]
        for path in [path for table in tables for path in table.rglob("*")]:
            sync(path)
        for name in self.arrays.values():
            sync(root / name / "zarr.json")
        sync(root / "zarr.json")

    def _site(self, site: str) -> dict[str, Any]:
        layout = self.layouts[site]
        return {
            "array": self.arrays[site],
            "axis": self.axis_of[site],
            "n_units": layout.n_units,
            "columns": self._sources[site],
            "fingerprints": {name: fingerprint(*c) for name, c in self.units[site].items()},
            "shards": {f"c/{s}/0": layout.shard_bytes(s) for s in range(layout.n_shards)},
            "rows": None,
            "nonfinite": None,
        }


@dataclass(frozen=True)
class _Axis:
    """A sample axis with its place in the store."""

    dim: str
    n_samples: int
    boundaries: list[int]
    columns: Columns
    arrays: dict[str, str]

    @classmethod
    def of(cls, axis: SampleAxis, number: int) -> _Axis:
        n_samples = int(axis.n_samples)
        given = [n_samples] if axis.boundaries is None else axis.boundaries
        boundaries = [int(row) for row in given]
        rising = all(a <= b for a, b in zip([0, *boundaries], boundaries, strict=False))
        if n_samples < 0 or not rising or (boundaries or [0])[-1] != n_samples:
            raise NisslError(
                f"batch boundaries must rise to the {n_samples} samples", do="give cumulative rows"
            )
        columns = sample_columns(axis.samples, n_samples)
        # Zarr readers know one length to a dimension name and one array to a name.
        suffix = f".{number}" if number else ""
        taken = {GROUP, "units"}
        arrays = {column: _array_name(column + suffix, taken) for column in columns}
        return cls(f"sample{suffix}", n_samples, boundaries, columns, arrays)

    def manifest(self) -> dict[str, Any]:
        return {
            "dim": self.dim,
            "n_samples": self.n_samples,
            "boundaries": self.boundaries,
            "columns": self.arrays,
            "fingerprints": {name: fingerprint(*c) for name, c in self.columns.items()},
        }


def _checked_dtype(dtype: Any) -> str:
    name = str(dtype).removeprefix("torch.")
    if name == BFLOAT16:
        return name
    try:
        found = np.dtype(dtype if isinstance(dtype, (type, np.dtype)) else name)
    except TypeError as error:
        raise UnknownName("dtype", name, ["float32", "float16", "bfloat16", "float64"]) from error
    if found.kind not in "fiub" or found.itemsize > 8:
        raise NisslError(f"a store does not keep {found}", do="use float32, float16 or bfloat16")
    return found.name


def _array_name(site: str, taken: set[str]) -> str:
    """Return a folder's name for a site: its own, unless that would not be one."""
    name = folder_name(site) if site else "recording"
    while name in taken:
        name += "%"
    taken.add(name)
    return name
