"""Recording one site of an early block, beside the model cut off there by hand.

The twin has the blocks up to that of the site and no final norm, and reads each batch right before
the network that is recorded does; the ratio is the median over these pairs.
"""

from __future__ import annotations

import torch

import nissl
from bench.measure import Row, one_thread
from bench.record import BATCH, LENGTH, Subject

SITES = {"blocks.0.mlp.neurons": 0, "blocks.4.resid_post": 4, "blocks.14.attn.z": 14}


def run(n: int = 6) -> list[Row]:
    """Return a row for each site."""
    one_thread()
    subject = Subject()
    blocks = subject.twin.layers
    subject.twin.norm = torch.nn.Identity()
    rows = []
    for site, block in SITES.items():
        subject.twin.layers = blocks[: block + 1]
        _record(subject, site, 1)
        with subject.paired() as pairs:
            _record(subject, site, n)
        note = f"once a recording {pairs.opening + pairs.closing:.2f} s"
        rows.append(pairs.row(f"record {site} of {len(blocks)} blocks", 1.15, 1.0, note))
    return rows


def _record(subject: Subject, site: str, n_batches: int) -> None:
    nissl.record(
        subject.net,
        subject.text(n_batches),
        sites=site,
        window=LENGTH,
        batch_size=BATCH,
        bos="never",
        progress=False,
    )
