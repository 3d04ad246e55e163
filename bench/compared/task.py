"""A piece of work that a library and Nissl both do, and how it is measured.

Nothing of nissl or of a peer is imported here: what an arm imports is part of what it costs.
"""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Work = Callable[[], Any]
Arms = tuple[Callable[["Given"], Work], Callable[["Given"], Work]]


@dataclass(frozen=True)
class Given:
    """What is made once for all arms.

    Parameters
    ----------
    folder : Path
        Where it lies.
    """

    folder: Path

    @property
    def model(self) -> str:
        """The folder of SmolLM2."""
        return str((self.folder / "model").resolve())

    @property
    def haxby(self) -> Path:
        """The folder of the recording's files."""
        return (self.folder / "haxby").resolve()

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        return np.load(self.folder / f"{name}.npy")


@dataclass(frozen=True)
class Task:
    """Work that both do.

    Parameters
    ----------
    name : str
        In words.
    theirs, ours : callable
        Import and load what they need, and return the work. Each returns arrays that are compared.
    tolerance : float
        The largest difference that is still the same result, in root mean squares of the peer's.
    rounds : int
        How often the two are timed in turn.
    note : str
        What differs in how they do it.
    """

    name: str
    theirs: Callable[[Given], Work]
    ours: Callable[[Given], Work]
    tolerance: float
    rounds: int = 3
    note: str = ""


def apart(theirs: Any, ours: Any) -> float:
    """Return the largest difference of two results, in root mean squares of the first."""
    if isinstance(theirs, list):
        if len(theirs) != len(ours):
            raise SystemExit(f"{len(theirs)} arrays and {len(ours)}")
        return max(apart(a, b) for a, b in zip(theirs, ours, strict=True))
    a, b = np.asarray(theirs, np.float64), np.asarray(ours, np.float64)
    return float(abs(a - b.reshape(a.shape)).max() / np.sqrt(np.square(a).mean()))


def compared(task: Task, given: Given) -> dict[str, Any]:
    """Compare the results of both in one process, then time them in turn."""
    try:
        work = {"theirs": task.theirs(given), "ours": task.ours(given)}
        with quiet():
            found = apart(work["theirs"](), work["ours"]())
    except Exception as error:  # whatever a peer raises is what is told of it
        return {"refused": f"does not run: {type(error).__name__}: {error}"[:200]}
    row: dict[str, Any] = {"apart": found, "tolerance": task.tolerance}
    if not found <= task.tolerance:
        return {**row, "refused": f"results differ by {found:.2g} root mean squares"}
    for name in work:
        row[name] = {"cpu": [], "wall": []}
    for number in range(task.rounds):
        for name in list(work)[:: 1 - 2 * (number % 2)]:
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            with quiet():
                kept = work[name]()
            row[name]["cpu"].append(time.process_time() - cpu)
            row[name]["wall"].append(time.perf_counter() - wall)
            del kept
    return row


def alone(arm: Callable[[Given], Work], given: Given) -> dict[str, float]:
    """Do the work once in a process that does nothing else: its seconds of CPU, and its memory.

    What is imported or loaded only while it works is counted so.
    """
    with quiet():
        arm(given)()
    # Of this process alone: what getrusage says is also of the one that started it.
    status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
    return {"first": time.process_time(), "mib": int(status.split()[0]) / 1024}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Bars of progress go nowhere."""
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


@cache
def language_model(given: Given) -> Any:
    """Return the network as transformers has it, weights in memory of their own."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    made = transformers.AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32)
    return unmapped(made.eval())


@cache
def network(given: Given) -> Any:
    """Return the network as Nissl has it, weights in memory of their own."""
    import nissl

    net = nissl.load(given.model, progress=False)
    unmapped(net.model)
    return net


def unmapped(model: Any) -> Any:
    """Copy weights that are mapped from their file: they are slower by some per cent."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model
