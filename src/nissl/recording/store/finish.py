"""The end of a recording: every shard verified, what is not finite written down, then the word."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nissl.errors import NisslError
from nissl.recording.store.layout import Layout
from nissl.recording.store.manifest import Manifest, write_manifest
from nissl.recording.store.plan import Plan
from nissl.recording.store.shard import shard_path
from nissl.recording.store.tally import Tally

__all__ = ["finish"]


def finish(root: Path, plan: Plan, manifest: Manifest, tallies: Mapping[str, Tally]) -> None:
    """Verify the shards of a store, and write down that it is whole.

    Parameters
    ----------
    root : Path
        The store.
    plan : Plan
        What it holds.
    manifest : dict
        Its manifest, completed and written.
    tallies : mapping of str to Tally
        What is not finite in each site; becomes columns of its units.

    Raises
    ------
    NisslError
        A shard is not as it was written.
    """
    for site, layout in plan.layouts.items():
        for shard in range(layout.n_shards):
            _verify(shard_path(root / plan.arrays[site], shard), layout, shard)
    for site, tally in tallies.items():
        entry = manifest["sites"][site]
        entry["rows"] = plan.layouts[site].n_samples
        if (total := tally.total()) is not None:
            entry["nonfinite"] = {
                "values": int(total[0].sum()),
                "units": int(np.count_nonzero(total[0])),
                "first_sample": int(total[1][total[1] >= 0].min()),
            }
            plan.units[site]["nonfinite"] = total[0], {}
            plan.units[site]["nonfinite_first"] = total[1], {}
    if any(entry["nonfinite"] for entry in manifest["sites"].values()):
        plan.write(root)
    plan.sync(root)
    manifest["complete"] = True
    write_manifest(root, manifest)
    for tally in tallies.values():
        tally.remove()


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
