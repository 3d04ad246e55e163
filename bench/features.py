"""Dictionaries: an update of TopK, 576 units to 4,608 features, in encoder products; encoding.

The encoder's product alone is the limit: all scores have to be known before the largest are. The
batch comes from a store on disk, in the order of training; what that takes is a row by itself.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench.measure import Row, in_turn, one_thread, ratio
from nissl.cache import cache_dir
from nissl.features import TopK, TrainedDictionary
from nissl.features.fit import dictionary_loss
from nissl.network import load
from nissl.recording import as_recording, open_store, save
from nissl.training import ShuffledRows

WIDTH, FEATURES, K, BATCH = 576, 4608, 32, 4096


def run(rounds: int = 5) -> list[Row]:
    """Return the rows; about a minute on one core."""
    one_thread()
    torch.manual_seed(0)
    made = TrainedDictionary(TopK(K), FEATURES, WIDTH).train()
    with torch.no_grad():
        made.w_enc[:100] *= 0.1  # never among the largest: the auxiliary loss is at work
    optimiser = torch.optim.Adam(made.parameters(), lr=1e-4)
    x = torch.randn(BATCH, WIDTH)

    def update() -> None:
        made.silent[:100] = 10**9
        optimiser.zero_grad(set_to_none=True)
        dictionary_loss(made, (x,)).backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimiser.step()

    sizes = nn.ModuleList(
        TrainedDictionary(TopK(K), FEATURES * part // 8, WIDTH).train() for part in range(1, 9)
    )
    together = torch.optim.Adam(sizes.parameters(), lr=1e-4)

    def update_all() -> None:
        together.zero_grad(set_to_none=True)
        dictionary_loss(sizes, (x,)).backward()
        together.step()

    net = load("smollm2", progress=False)
    seen = net.with_dictionary(
        TrainedDictionary(TopK(K), FEATURES, WIDTH, site_in="blocks.29.resid_post").eval()
    )
    ids = np.random.default_rng(0).integers(0, 40_000, (1, 512)).tolist()

    def forward() -> None:
        with torch.inference_mode():
            net.run(ids, sites="blocks.29.resid_post")

    def encoding() -> None:
        with torch.inference_mode():
            seen.run(ids, sites="blocks.29.resid_post.sae")

    def product() -> None:
        with torch.no_grad():
            torch.addmm(made.b_enc, x, made.w_enc.T)

    # In the cache, not in /tmp, which is memory on many machines.
    with tempfile.TemporaryDirectory(dir=cache_dir("bench")) as folder:
        values = np.random.default_rng(0).standard_normal((1 << 17, WIDTH), np.float32)
        stored = open_store(save(as_recording(values), Path(folder) / "acts.zarr"))
        rows = ShuffledRows([stored], batch_size=BATCH)  # type: ignore[list-item]

        def pool() -> None:
            rows._pool = (-1, [], torch.empty(0))
            for step in range(rows.per_pool):
                rows(step)

        update()
        arms = {"update": update, "product": product, "pool": pool, "all": update_all}
        seconds = in_turn(arms, rounds=rounds)
        seconds |= in_turn({"forward": forward, "encoding": encoding}, rounds=rounds)
    value, spread = ratio(seconds["update"], seconds["product"])
    feeding = [pool / rows.per_pool for pool in seconds["pool"]]
    share, its_spread = ratio(feeding, seconds["update"])
    eight, eight_spread = ratio(seconds["all"], seconds["update"])
    encoded, encoded_spread = ratio(seconds["encoding"], seconds["forward"])
    return [
        Row(
            name="an update of a TopK dictionary, auxiliary loss at work",
            ratio=value,
            unit="x encoder product",
            target=1.42,
            limit=1.0,
            seconds=min(seconds["update"]),
            note=f"{WIDTH} to {FEATURES}, k {K}, batch {BATCH}; {spread}",
        ),
        Row(
            name="feeding it from a store, shuffled",
            ratio=share,
            unit="of the update",
            target=0.05,
            limit=None,
            seconds=min(feeding),
            note=its_spread,
        ),
        Row(
            name="eight sizes in one pass, 576 to 4608 features",
            ratio=eight,
            unit="x the largest by itself",
            target=5.0,
            limit=None,
            seconds=min(seconds["all"]),
            note=eight_spread,
        ),
        Row(
            name="encoding 4608 features while recording",
            ratio=encoded,
            unit="x forward",
            target=1.15,
            limit=1.0,
            seconds=min(seconds["encoding"]),
            note=f"SmolLM2, the last block; {encoded_spread}",
        ),
    ]
