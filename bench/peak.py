"""Peak memory of recording to disk: ten times more text should need no more.

Each recording runs in a process of its own, whose largest resident set the system keeps.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import Row, one_thread

BATCH, LENGTH = 4, 256
N_BATCHES = 2


def run() -> list[Row]:
    """Return the ratio of the two peaks."""
    little, much = (_peak(n) for n in (N_BATCHES, 10 * N_BATCHES))
    return [
        Row(
            name=f"peak memory of recording {10 * N_BATCHES * BATCH * LENGTH:,} tokens to disk "
            f"instead of {N_BATCHES * BATCH * LENGTH:,}",
            ratio=much / little,
            unit="x memory",
            target=1.05,
            limit=1.0,
            note=f"{little / 2**20:.2f} and {much / 2**20:.2f} GiB, network and all",
        )
    ]


def _peak(n_batches: int) -> int:
    """Return the largest resident set, in KiB, of a process that records so many batches."""
    command = [sys.executable, "-m", "bench.peak", str(n_batches)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _record(n_batches: int) -> None:
    import nissl
    from bench.record import SITES, full_windows
    from nissl.cache import cache_dir

    one_thread()
    net = nissl.load("smollm2", progress=False)
    # All the text is read in both, so that only what is recorded differs.
    ids = full_windows(net)[: n_batches * BATCH]
    with tempfile.TemporaryDirectory(dir=cache_dir("bench")) as folder:
        nissl.record(
            net,
            ids,
            sites=SITES,
            store=Path(folder) / "store",
            window=LENGTH,
            batch_size=BATCH,
            bos="never",
            progress=False,
        )
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    _record(int(sys.argv[1]))
