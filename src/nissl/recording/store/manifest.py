"""The manifest: what a store is expected to hold, so that what is missing is known to be missing.

Zarr reads a missing file as fill values. The manifest therefore names every shard with its size,
and says what was recorded (sites, samples, provenance), by which a store is resumed only by the run
that began it. It lies in the group ``nissl`` of the store, as zarr's listing warns of stray files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.labels import is_words
from nissl.recording.store._arrays import digest, write_json
from nissl.recording.store._layout import Layout

__all__ = ["FORMAT", "FORMAT_VERSION", "GROUP", "StoreMismatch", "is_store"]

FORMAT = "nissl store"
FORMAT_VERSION = 3
GROUP = "nissl"

Manifest = dict[str, Any]


class StoreMismatch(NisslError):
    """A store that was begun by another run than the one that resumes it.

    Parameters
    ----------
    fields : list of str
        What differs.
    where : str
        The store.
    """

    def __init__(self, fields: list[str], *, where: str) -> None:
        super().__init__(
            f"the store was made with other {', '.join(f.split(':')[0] for f in fields)}\n  "
            + "\n  ".join(fields),
            where=where,
            do="write to another folder, or remove this one",
        )
        self.fields = fields


def is_store(path: str | Path) -> bool:
    """Tell whether a folder is a store, complete or not.

    Parameters
    ----------
    path : str or Path
        A folder, or anything else.

    Returns
    -------
    bool
        True where it has a manifest.

    Examples
    --------
    >>> is_store("no such folder")
    False
    """
    return manifest_path(Path(path)).is_file()


def manifest_path(root: Path) -> Path:
    """Return where the manifest of the store in `root` lies."""
    return root / GROUP / "manifest.json"


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Write a manifest whole or not at all."""
    write_json(manifest_path(root), manifest | {"sha256": _own(manifest)}, durable=True)


def read_manifest(root: Path) -> Manifest:
    """Read the manifest of the store in `root`.

    Raises
    ------
    NisslError
        There is none, it is damaged, or another version of Nissl wrote it.
    """
    path = manifest_path(root)
    try:
        manifest = json.loads(path.read_bytes())
        found, version = manifest["format"], manifest["version"]
        kept = manifest.pop("sha256", None)
    except FileNotFoundError as error:
        raise NisslError(
            "there is no store here" if root.is_dir() else "there is no such folder",
            where=str(root),
            do="give the folder that `record` or `save` wrote",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise NisslError(
            f"the store's manifest cannot be read: {error}", where=str(path), do="record it again"
        ) from error
    if found != FORMAT or version != FORMAT_VERSION:
        raise NisslError(
            f"this is a {found} of version {version}; this Nissl reads version {FORMAT_VERSION}",
            where=str(root),
            do="pip install -U nissl, or record it again",
        )
    if kept != _own(manifest):
        raise NisslError(
            "the store's manifest is not as it was written",
            where=str(path),
            do="copy the store again, or record it again",
        )
    return dict(manifest)


def _own(manifest: Manifest) -> str:
    """Return the sha256 of a manifest, by which a change of any byte is noticed."""
    text = json.dumps(manifest, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def site_layout(manifest: Manifest, site: str) -> Layout:
    """Return the arithmetic of a site of the store."""
    entry = manifest["sites"][site]
    return Layout(
        manifest["axes"][entry["axis"]]["n_samples"],
        entry["n_units"],
        manifest["dtype"],
        **manifest["layout"],
    )


def fingerprint(values: Any, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what identifies a column: its length, type, sha256 of its values, and attributes."""
    values = np.asarray(values)
    dtype = "string" if is_words(values) else values.dtype.name
    return {"length": len(values), "dtype": dtype, "sha256": digest(values), "attrs": dict(attrs)}


def differences(old: Manifest, new: Manifest) -> list[str]:
    """Return what keeps a run described by `new` from resuming `old`: "field: old, not new"."""
    left, right = dict(_leaves(_identity(old))), dict(_leaves(_identity(new)))
    keys = dict.fromkeys([*left, *right])
    pairs = [(key, left.get(key, "absent"), right.get(key, "absent")) for key in keys]
    return [f"{key}: {_short(a)} in the store, {_short(b)} now" for key, a, b in pairs if a != b]


def _identity(manifest: Manifest) -> Manifest:
    """Leave out what changes while a store is written."""
    sites = {
        site: {key: value for key, value in entry.items() if key not in ("rows", "nonfinite")}
        for site, entry in manifest["sites"].items()
    }
    return {**manifest, "sites": sites, "complete": None}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        # Through JSON, as the other side was: a tuple is a list there, NaN is itself.
        yield path, json.dumps(value)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
