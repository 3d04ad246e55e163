"""The tables of both sides: sample columns in the root group, unit tables below `units`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.recording.labels import as_column
from nissl.recording.recording import NotARecording, as_recording
from nissl.recording.store._arrays import (
    Metadata,
    folder_name,
    group_metadata,
    write_column,
    write_json,
)

__all__ = [
    "Columns",
    "addresses",
    "plain_attrs",
    "sample_columns",
    "unit_columns",
    "write_units",
]

# Each column: its values and its attributes.
Columns = dict[str, tuple[np.ndarray[Any, Any], dict[str, Any]]]

# How a unit column comes back: read, or made from the site's name.
ARRAY, SITE, ADDRESS = "array", "site", "address"


def sample_columns(samples: Mapping[str, Any], n_samples: int) -> Columns:
    """Return the columns of the samples with their attributes."""
    rec = as_recording(np.empty((n_samples, 0), np.float32), samples=samples)
    return {n: (np.asarray(rec[n].values), plain_attrs(rec[n].attrs)) for n in samples}


def unit_columns(
    site: str, n_units: int, table: Mapping[str, Any]
) -> tuple[Columns, dict[str, str]]:
    """Return the columns of a site's units that must be written, and how each column comes back.

    The site's name and the units' addresses are made again, not written. The second mapping says of
    each column of the table, in its order: array, site or address.
    """
    table = dict(table)
    if site:
        table = {"unit": None, "site": None, "index": np.arange(n_units), **table}
    columns: Columns = {}
    sources: dict[str, str] = {}
    for name, given in table.items():
        if given is None:
            sources[name] = {"unit": ADDRESS, "site": SITE}[name]
            continue
        attrs = plain_attrs(getattr(given, "attrs", {}))
        column = as_column(given)
        if column.shape != (n_units,):
            raise NotARecording(
                f"unit column '{name}' has shape {column.shape}, but there are {n_units} units",
                where=site,
                do="give one value for each unit",
            )
        if name == "site" and site and np.all(column == site):
            sources[name] = SITE
        elif name == "unit" and site and np.array_equal(column, addresses(site, table["index"])):
            sources[name] = ADDRESS
        else:
            sources[name] = ARRAY
            columns[name] = column, attrs
    return columns, sources


def addresses(site: str, index: Any) -> np.ndarray[Any, Any]:
    """Return the addresses of a site's units: ``site[index]``."""
    return np.asarray([f"{site}[{i}]" for i in np.asarray(index).tolist()], dtype=str)


def write_units(folder: Path, columns: Columns) -> dict[str, Metadata]:
    """Write the table of a site's units; return the metadata of the group ("") and its columns."""
    folder.mkdir(parents=True, exist_ok=True)
    members = {
        folder_name(name): write_column(folder / folder_name(name), values, "unit", attrs)
        for name, (values, attrs) in columns.items()
    }
    members[""] = group_metadata({})
    write_json(folder / "zarr.json", members[""])
    return members


def plain_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as plain scalars and strings; refuse what is neither."""
    plain: dict[str, Any] = {}
    for name, value in attrs.items():
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, (list, tuple)):
            value = json.dumps(value)
        if not isinstance(value, (str, int, float, bool)):
            raise NotARecording(
                f"attribute '{name}' is a {type(value).__name__}",
                do="attributes are scalars or strings",
            )
        plain[str(name)] = value
    return plain
