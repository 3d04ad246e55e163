"""How the benchmarks measure: arms interleaved in one process, medians, each row beside its target.

A benchmark is a module of this folder with a function ``run() -> list[Row]``; it is found by its
name. Shared machines stretch wall time, so ratios are of process CPU time; what waits for the disk
is timed by the clock on the wall, and the median of several rounds taken.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict


class Row(TypedDict):
    """One line of the table.

    ``ratio`` is what was measured, in ``unit``; ``target`` and ``limit`` are in the same unit, and
    smaller is better unless ``more_is_better``. ``seconds`` is what the work took by itself.
    """

    name: str
    ratio: float
    unit: str
    target: float | None
    limit: float | None
    seconds: NotRequired[float]
    more_is_better: NotRequired[bool]
    note: NotRequired[str]


def interleaved(
    arms: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 5,
    before: Callable[[], Any] | None = None,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Run the arms in turn, `rounds` times, and return the median seconds of each."""
    seconds = in_turn(arms, rounds=rounds, before=before, clock=clock)
    return {name: statistics.median(values) for name, values in seconds.items()}


def in_turn(
    arms: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 5,
    before: Callable[[], Any] | None = None,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Run the arms in turn, `rounds` times, and return the seconds of each round."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, arm in arms.items():
            if before is not None:
                before()
            start = clock()
            arm()
            seconds[name].append(clock() - start)
    return seconds


def ratio(work: Sequence[float], limit: Sequence[float]) -> tuple[float, str]:
    """Return the median of the rounds' ratios, and their range in words.

    What the machine does to one round it does to both arms of it: their ratio holds where the
    seconds do not.
    """
    ratios = sorted(a / b for a, b in zip(work, limit, strict=True))
    return statistics.median(ratios), f"{ratios[0]:.3f} to {ratios[-1]:.3f} in {len(ratios)} pairs"


def make_cold(folder: Path) -> None:
    """Drop the files of a folder from the system's cache, written out first."""
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            try:
                os.fsync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


def one_thread() -> None:
    """Hold torch to one thread: spinning threads make two slower than one on a busy machine."""
    import torch

    torch.set_num_threads(1)
