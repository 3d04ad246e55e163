"""Where training keeps what it has done: in memory, or in the cache, to be gone on with."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
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

    root, folder = cache_dir("trained"), cache_dir("trained", hashed)
    if not os.access(root, os.W_OK):  # what is there can be used, though it cannot be locked
        yield Keeper(folder)
        return
    with FileLock(root / f"{hashed}.lock"):
        yield Keeper(folder)


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

    def finished(self, checkpoints: Sequence[int]) -> np.ndarray[Any, Any] | None:
        """Return the losses where training has been finished before and is whole, or None."""
        if self.folder is None or not (self.folder / "losses.npy").exists():
            return None
        losses = _losses(self.folder / "losses.npy")
        if losses is not None and all(_is_whole(self._path(step)) for step in checkpoints):
            return losses
        warnings.warn(
            f"what was kept in {self.folder} is damaged, and is trained again", stacklevel=3
        )
        (self.folder / "losses.npy").unlink()
        return None

    def resume(self, state: State, checkpoints: Sequence[int]) -> None:
        """Bring the state to where an earlier training was interrupted, if there was one."""
        if self.folder is None or not _is_whole(self.folder / "progress.pt"):
            return
        kept = torch.load(self.folder / "progress.pt", map_location="cpu", weights_only=True)
        earlier = [step for step in checkpoints if step < len(kept["losses"])]
        if not all(_is_whole(self._path(step)) for step in earlier):
            return
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
            _write(self.folder / "losses.npy", lambda file: file.write(_with_checksum(losses)))
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


def _is_whole(path: Path) -> bool:
    """Tell whether a file of torch is there, by the checksums that a zip file has of its parts."""
    try:
        with zipfile.ZipFile(path) as parts:
            return parts.testzip() is None
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError):
        return False


def _with_checksum(losses: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, losses)
    # Behind an array numpy reads nothing.
    return file.getvalue() + zlib.crc32(file.getvalue()).to_bytes(4, "little")


def _losses(path: Path) -> np.ndarray[Any, Any] | None:
    """Return the losses that were kept, or None where they are damaged."""
    data = path.read_bytes()
    try:
        losses: np.ndarray[Any, Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError, MemoryError):
        return None
    whole = _with_checksum(losses)
    return losses if data in (whole, whole[:-4]) else None


def _write(path: Path, save: Callable[[Any], None]) -> None:
    """Write a file that is whole or absent."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)  # were it a link, what it names would be overwritten
        with partial.open("xb") as file:
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
