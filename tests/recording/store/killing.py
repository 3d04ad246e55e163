"""A writer that is killed: run as a program, so that it can be forked and ended at any moment."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nissl.recording.store import _direct_file as direct_file
from nissl.recording.store._schema import SampleAxis
from nissl.recording.store.writer import StoreWriter

SITES = {"a": 100, "b": 3, "places": 2}  # row groups of the first are nearly a page
LAYOUT = {"chunk_rows": 8, "chunk_units": 40, "shard_rows": 32}
N = 70
BOUNDARIES = [*range(11, N, 11), N]
STEP = 3
CALLS = ("pwrite", "replace", "ftruncate", "truncate", "unlink")


def values(site: str) -> np.ndarray:
    scale = 2 if site == "places" else 1
    array = np.random.default_rng(SITES[site]).normal(size=(N * scale, SITES[site]))
    array[[3, 40, 41, 69], [0, 1, 1, 0]] = np.nan, np.inf, np.nan, -np.inf
    return array.astype("float32")


def write(folder: Path, *, pause: float = 0.0) -> None:
    places = SampleAxis(2 * N, [2 * b for b in BOUNDARIES], {"place": np.arange(2 * N)})
    with StoreWriter(
        folder,
        sites=SITES,
        n_samples=N,
        boundaries=BOUNDARIES,
        samples={"token": np.arange(N)},
        axes={"places": places},
        provenance={"network": "planted", "seed": 0},
        _layout=LAYOUT,
    ) as writer:
        for batch in range(writer.batch, len(BOUNDARIES)):
            for site in SITES:
                scale = 2 if site == "places" else 1
                first = BOUNDARIES[batch - 1] if batch else 0
                writer.append(site, values(site)[scale * first : scale * BOUNDARIES[batch]])
            if pause:
                time.sleep(pause)


def in_child(task: Callable[[], None], *, seconds: float | None = None) -> bool:
    """Run a task in a fork, killed after some seconds; tell whether it came to its end."""
    child = os.fork()
    if child == 0:
        task()
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def killed_at_random(folder: Path, kills: int) -> int:
    """Kill a writer at random moments until it has been killed so often; then let it end."""
    moments = random.Random(0)
    killed = 0
    while killed < kills:
        killed += not in_child(lambda: write(folder, pause=0.02), seconds=moments.uniform(0, 0.15))
    in_child(lambda: write(folder))
    return killed


def killed_at_every_call(folder: Path) -> int:
    """Kill a writer at its first change of a file, another at its fourth, ...; resume each."""
    call = 1 - STEP
    while True:
        call += STEP
        store = folder / str(call)
        if in_child(lambda store=store, call=call: dying(store, call)):
            return call
        if not in_child(lambda store=store: write(store)):
            raise SystemExit(f"not resumed after call {call}")


def dying(folder: Path, call: int) -> None:
    """Write until the change of number `call`, of which half happens if it writes."""
    counted = 0
    originals = {name: getattr(os, name) for name in CALLS}

    def counting(name: str) -> Callable[..., object]:
        def replacement(*args: object, **options: object) -> object:
            nonlocal counted
            counted += 1
            if counted == call:
                if name == "pwrite":
                    file, data, offset = args
                    originals["pwrite"](file, data[: len(data) // 2], offset)
                os.kill(os.getpid(), signal.SIGKILL)
            return originals[name](*args, **options)

        return replacement

    for name in CALLS:
        setattr(os, name, counting(name))
    write(folder)


if __name__ == "__main__":
    # A kill loses nothing that the system has taken: what is written need not reach the disk.
    os.fsync = lambda file: None
    # What is imported at the first use would be imported again in every fork.
    with tempfile.TemporaryDirectory() as warm:
        write(Path(warm))
    mode, target, direct_file.DIRECT_BYTES = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    print(killed_at_random(target, 10) if mode == "random" else killed_at_every_call(target))
