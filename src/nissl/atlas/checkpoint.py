"""Save the accumulators every so often, so that a killed atlas resumes where it was."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError

__all__ = ["Checkpoint", "deferred_interrupt"]

Array = NDArray[Any]

SHARE = 0.03  # of the time, at most, is spent saving
LEAST = 600.0  # seconds between two savings, which are many times as large as the atlas


class Checkpoint:
    """The state of an atlas on disk, whole or absent.

    Parameters
    ----------
    path : Path
        The file.
    identity : mapping
        What the atlas is of: network, text, settings. A state of something else is refused.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     checkpoint = Checkpoint(Path(folder, "state"), {"network": "toy"})
    ...     checkpoint.save(3, lambda: {"count": np.arange(2)})
    ...     batch, state = checkpoint.load()
    >>> batch, state["count"].tolist()
    (3, [0, 1])
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]):
        self.path = path
        self.identity = json.dumps(identity, sort_keys=True, default=str)
        self._partial = path.with_name(f"{path.name}.partial")
        self._due = time.monotonic() + LEAST

    def load(self) -> tuple[int, dict[str, Array]]:
        """Return the batch to go on with and the state before it.

        Returns
        -------
        batch : int
            0 where nothing was saved.
        state : dict of arrays
            What was saved.

        Raises
        ------
        NisslError
            What was saved is of another network, text or setting, or cannot be read.
        """
        if not self.path.exists():
            return 0, {}
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="numpy") as file:
                about = file.metadata() or {}
                if about.get("identity") != self.identity:
                    raise NisslError(
                        "an atlas was begun here of another network, text or with other settings: "
                        + self._difference(about.get("identity", "{}")),
                        where=str(self.path),
                        do="choose another folder, or remove the file to begin anew",
                    )
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise NisslError(
                f"what was saved of an atlas cannot be read: {error}",
                where=str(self.path),
                do="remove the file to begin anew",
            ) from error
        return int(about["batch"]), state

    def save_if_due(self, batch: int, state: Callable[[], Mapping[str, Array]]) -> None:
        """Save, unless the last time was not long ago.

        Parameters
        ----------
        batch : int
            The batch to go on with.
        state : callable
            Returns the arrays.
        """
        began = time.monotonic()
        if began >= self._due:
            self.save(batch, state)
            took = time.monotonic() - began
            self._due = time.monotonic() + max(LEAST, took / SHARE)

    def save(self, batch: int, state: Callable[[], Mapping[str, Array]]) -> None:
        """Save; a process killed at any moment leaves the old state or the new one.

        Parameters
        ----------
        batch : int
            The batch to go on with.
        state : callable
            Returns the arrays.

        Raises
        ------
        NisslError
            The disk is full or cannot be written.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        partial = self._partial
        arrays = {name: np.asarray(array, order="C") for name, array in state().items()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)  # were it a link, it would be followed
            save_file(arrays, partial, {"identity": self.identity, "batch": str(batch)})
            partial.replace(self.path)
        except (OSError, SafetensorError) as error:
            with suppress(OSError):
                partial.unlink()
            raise NisslError(
                f"the accumulators cannot be saved: {error}",
                where=str(self.path),
                do="make room, or choose a folder that you may write",
            ) from error

    def clear(self) -> None:
        """Remove what was saved."""
        self.path.unlink(missing_ok=True)
        self._partial.unlink(missing_ok=True)

    def _difference(self, theirs: str) -> str:
        mine, other = json.loads(self.identity), json.loads(theirs)
        names = [k for k in sorted({*mine, *other}) if mine.get(k) != other.get(k)]
        return ", ".join(f"{k} {other.get(k)!r}, now {mine.get(k)!r}" for k in names)


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C wait until a batch is whole, so that what it leaves can be saved.

    Yields
    ------
    callable
        Returns whether Ctrl-C was pressed. Pressed again, it stops at once.

    Examples
    --------
    >>> with deferred_interrupt() as interrupted:
    ...     signal.raise_signal(signal.SIGINT)
    ...     interrupted()
    True
    """
    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    handler = signal.getsignal(signal.SIGINT)
    # Only the main thread may set handlers; one that is not Python's own is somebody else's wish.
    own = threading.current_thread() is threading.main_thread()
    own = own and handler is signal.default_int_handler
    try:
        if own:
            signal.signal(signal.SIGINT, note)
        yield lambda: bool(pressed)
    finally:
        if own:
            signal.signal(signal.SIGINT, handler)
