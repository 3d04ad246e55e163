"""Cold reads of a store: one unit, one token of one site, of all sites, and a long column.

The store is that of SmolLM2: 30 x 1536 neurons and 30 x 576 residuals, 8,192 tokens, and a second
one of a million tokens of one residual. Every read is the first of its process's view (so that all
checksums are verified) of files that are not in the system's cache. The other arms are the same
reads without verification and through plain xarray and zarr. The limit is what the chunks' bytes
take at the rate at which this disk reads one file from its beginning, measured in the same minute.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bench.measure import Row, interleaved, make_cold
from nissl.cache import cache_dir
from nissl.recording import Recording, open_store
from nissl.recording.store.writer import StoreWriter

SITES = {f"blocks.{i}.mlp.neurons": 1536 for i in range(30)} | {
    f"blocks.{i}.resid_post": 576 for i in range(30)
}
N_TOKENS, N_LONG = 8192, 1 << 20
UNIT, TOKEN = (slice(None), 400), (4321, slice(None))
NEURONS, RESIDUAL = "blocks.17.mlp.neurons", "blocks.17.resid_post"


def run(rounds: int = 7) -> list[Row]:
    """Return one row for each read: milliseconds, or seconds for the long column."""
    # In the cache, not in /tmp, which is memory on many machines: nothing would be cold.
    with tempfile.TemporaryDirectory(dir=cache_dir("bench")) as folder:
        store, long = Path(folder) / "store", Path(folder) / "long"
        write(store, SITES, N_TOKENS)
        write(long, {RESIDUAL: SITES[RESIDUAL]}, N_LONG)
        rate = bytes_per_second(long)
        return [
            *_rows("one unit of 8,192 tokens", store, NEURONS, UNIT, 15, rate, rounds),
            *_rows("one token of one site", store, NEURONS, TOKEN, 10, rate, rounds),
            *_rows("one token of all 60 sites", store, None, TOKEN, 30, rate, rounds),
            *_rows("one unit of a million tokens", long, RESIDUAL, UNIT, 1000, rate, 3),
        ]


def write(folder: Path, sites: dict[str, int], n_tokens: int) -> None:
    """Write normal numbers, the same in every batch: what they are does not matter here."""
    batch = 2048
    values = np.random.default_rng(0).standard_normal((batch, max(sites.values())), np.float32)
    ends = range(batch, n_tokens + 1, batch)
    with StoreWriter(folder, sites=sites, n_samples=n_tokens, boundaries=ends) as writer:
        for _ in ends:
            for site, width in sites.items():
                writer.append(site, values[:, :width])


def bytes_per_second(folder: Path) -> float:
    """Read the largest file of a folder from its beginning, cold: what the disk gives at best."""
    path = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    buffer = bytearray(4 << 20)

    def read() -> None:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    seconds = interleaved(
        {"read": read}, rounds=5, before=lambda: make_cold(folder), clock=time.perf_counter
    )
    return path.stat().st_size / seconds["read"]


def _rows(
    name: str,
    store: Path,
    site: str | None,
    key: tuple[Any, Any],
    target: float,
    rate: float,
    rounds: int,
) -> list[Row]:
    """Measure one selection; its limit is what its chunks take at the disk's own rate."""

    def ours(verify: bool) -> Callable[[], Any]:
        # Opened beforehand, and anew each round: nothing is known to be sound yet.
        views = iter([_open(store, site, verify) for _ in range(rounds)])
        return lambda: next(views)[key].values

    def plain() -> None:
        # One array after the other, as a Dataset reads them.
        for array in opened.values() if site is None else [opened[site]]:
            array[key].values  # noqa: B018

    opened = dict(xr.open_zarr(store, chunks=None).data_vars)
    seconds = interleaved(
        {"verified": ours(True), "by offset": ours(False), "plain xarray": plain},
        rounds=rounds,
        before=lambda: make_cold(store),
        clock=time.perf_counter,
    )
    return [
        Row(
            name=f"cold read of {name}" + ("" if arm == "verified" else f", {arm}"),
            ratio=1e3 * value,
            unit="ms",
            target=target if arm == "verified" else None,
            limit=1e3 * _bytes(store, site, key) / rate if arm == "verified" else None,
            seconds=value,
        )
        for arm, value in seconds.items()
    ]


def _bytes(store: Path, site: str | None, key: tuple[Any, Any]) -> int:
    """Return the bytes of the chunks that a selection needs."""
    array = xr.open_zarr(store, chunks=None)
    chunk = 256 * 192 * 4
    if key is UNIT:
        return int(chunk * array.sizes["sample"] // 256)
    widths = [a.shape[1] for a in array.values()] if site is None else [array[site].shape[1]]
    return int(chunk * sum(widths) // 192)


def _open(store: Path, site: str | None, verify: bool) -> Recording:
    rec = open_store(store, site, verify=verify)
    assert isinstance(rec, xr.DataArray)  # all sites have the same samples
    return rec
