"""The end of a recording: every shard verified, what is not finite written down, then the word."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nissl.errors import NisslError
from nissl.recording.store._layout import Layout
from nissl.recording.store._nonfinite import NonfiniteCounter
from nissl.recording.store._schema import StoreSchema
from nissl.recording.store._shard import shard_path
from nissl.recording.store.manifest import Manifest, write_manifest

__all__ = ["finalize"]


def finalize(
    root: Path, schema: StoreSchema, manifest: Manifest, counters: Mapping[str, NonfiniteCounter]
) -> None:
    """Verify the shards of a store, and write down that it is whole.

    What is not finite in each site becomes columns of its units; the manifest is completed.
    """
    for site, layout in schema.layouts.items():
        for shard in range(layout.n_shards):
            _verify(shard_path(root / schema.arrays[site], shard), layout, shard)
    for site, counter in counters.items():
        entry = manifest["sites"][site]
        entry["rows"] = schema.layouts[site].n_samples
        if (total := counter.total()) is not None:
            entry["nonfinite"] = {
                "values": int(total[0].sum()),
                "units": int(np.count_nonzero(total[0])),
                "first_sample": int(total[1][total[1] >= 0].min()),
            }
            schema.units[site]["nonfinite"] = total[0], {}
            schema.units[site]["nonfinite_first"] = total[1], {}
    if any(entry["nonfinite"] for entry in manifest["sites"].values()):
        schema.write(root)
    schema.sync(root)
    manifest["complete"] = True
    write_manifest(root, manifest)
    for counter in counters.values():
        counter.remove()


def _verify(path: Path, layout: Layout, shard: int) -> None:
    expected = layout.index(shard)
    if path.exists() and path.stat().st_size == layout.shard_bytes(shard):
        with open(path, "rb") as file:
            file.seek(-len(expected), os.SEEK_END)
            if file.read() == expected:
                return
    raise NisslError(
        "a shard is not as it was written",
        where=str(path),
        do="run the same again: it resumes",
    )
