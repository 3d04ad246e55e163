"""Where training keeps what it has done: in memory, or in the cache, to be gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nissl.cache import cache_dir
from nissl.errors import NisslError
from nissl.fingerprint import fingerprint

__all__ = ["Keeper", "State", "configuration_hash", "keeper"]

SECONDS = 60.0  # of work that an interruption may cost
FORMAT = 1  # to be raised where the loop changes what it computes


@dataclass
class State:
    """Training as it stands.

    Parameters
    ----------
    model : nn.Module
        With its weights of now.
    optimiser : Optimizer
        With its moments.
    losses : list of float
        One for each step that was taken.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    losses: list[float]

    @property
    def step(self) -> int:
        """How many steps were taken."""
        return len(self.losses)


def configuration_hash(
    model: nn.Module, batches: Any, loss: Callable[..., Any], options: Mapping[str, Any]
) -> str:
    """Return a hash of all that the result of training depends on.

    Parameters
    ----------
    model : nn.Module
        Its architecture, as it is printed and configured, and its first weights.
    batches : Batches or callable
        Its ``fingerprint``, or its code.
    loss : callable
        Its code, what it closes over and what it holds.
    options : mapping
        Anything JSON can hold.

    Returns
    -------
    str
        Sixteen hexadecimal digits.

    Examples
    --------
    >>> one, other = nn.Linear(2, 1), nn.Linear(2, 1)
    >>> configuration_hash(one, len, len, {}) == configuration_hash(other, len, len, {})
    False
    """
    config: Any = getattr(model, "config", None)
    parts = [
        FORMAT,
        type(model).__qualname__,
        repr(model),
        config.to_json_string() if hasattr(config, "to_json_string") else "",
        # The key says what a callable closes over, which may change while it is called.
        getattr(batches, "fingerprint", None) or fingerprint(getattr(batches, "__code__", None)),
        fingerprint(loss),
        dict(options),
    ]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


@contextmanager
def keeper(hashed: str | None) -> Iterator[Keeper]:
    """Open the place of one training, which no other process has at the same time.

    Parameters
    ----------
    hashed : str or None
        The hash of its configuration; None keeps it in memory.

    Yields
    ------
    Keeper
        What keeps it.
    """
    if hashed is None:
        yield Keeper(None)
        return
    from filelock import FileLock

    root = cache_dir("trained")
    with FileLock(root / f"{hashed}.lock"):
        yield Keeper(cache_dir("trained", hashed))


class Keeper:
    """Keeps checkpoints and progress.

    Parameters
    ----------
    folder : Path or None
        Where to; None keeps checkpoints in memory, and no progress.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._memory: dict[int, dict[str, Tensor]] = {}
        self._saved = time.monotonic()

    def finished(self) -> np.ndarray[Any, Any] | None:
        """Return the losses where training has been finished before, or None."""
        if self.folder is None or not (self.folder / "losses.npy").exists():
            return None
        losses: np.ndarray[Any, Any] = np.load(self.folder / "losses.npy")
        return losses

    def resume(self, state: State) -> None:
        """Bring the state to where an earlier training was interrupted, if there was one."""
        if self.folder is None or not (self.folder / "progress.pt").exists():
            return
        kept = torch.load(self.folder / "progress.pt", map_location="cpu", weights_only=True)
        state.model.load_state_dict(kept["model"])
        state.optimiser.load_state_dict(kept["optimiser"])
        state.losses[:] = kept["losses"]

    def checkpoint(self, state: State) -> None:
        """Keep the weights of now, and where training stands."""
        weights = {k: v.detach().cpu().clone() for k, v in state.model.state_dict().items()}
        if self.folder is None:
            self._memory[state.step] = weights
            return
        _write(self._path(state.step), lambda file: torch.save(weights, file))
        self._progress(state)

    def progress(self, state: State) -> None:
        """Keep where training stands, once in a while."""
        if self.folder is not None and time.monotonic() - self._saved > SECONDS:
            self._progress(state)

    def finish(self, state: State) -> np.ndarray[Any, Any]:
        """Mark the training as finished; return its losses."""
        losses = np.asarray(state.losses)
        if self.folder is not None:
            _write(self.folder / "losses.npy", lambda file: np.save(file, losses))
            (self.folder / "progress.pt").unlink(missing_ok=True)
        return losses

    def weights(self, step: int) -> Mapping[str, Tensor]:
        """Return the weights of a checkpoint."""
        if self.folder is None:
            return self._memory[step]
        kept: dict[str, Tensor] = torch.load(
            self._path(step), map_location="cpu", weights_only=True
        )
        return kept

    def _path(self, step: int) -> Path:
        assert self.folder is not None
        return self.folder / f"step-{step:08d}.pt"

    def _progress(self, state: State) -> None:
        assert self.folder is not None
        kept = {
            "model": state.model.state_dict(),
            "optimiser": state.optimiser.state_dict(),
            "losses": state.losses,
        }
        _write(self.folder / "progress.pt", lambda file: torch.save(kept, file))
        self._saved = time.monotonic()


def _write(path: Path, save: Callable[[Any], None]) -> None:
    """Write a file that is whole or absent."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            save(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise NisslError(
            f"what was trained cannot be kept: {error.strerror or error}",
            where=str(path),
            do="make room on the disk, or set NISSL_CACHE to a folder with more",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
