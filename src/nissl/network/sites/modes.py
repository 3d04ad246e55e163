"""Modes of a model that change what hooks see: training, and computing again for gradients."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from weakref import WeakKeyDictionary

import torch
import torch.utils.checkpoint
from torch import nn
from torch.utils.hooks import RemovableHandle

from nissl.errors import NisslError

__all__ = [
    "evaluated",
    "guard_recomputation",
    "is_recomputed",
    "refuse_other_threads",
    "refuse_recomputed",
    "turn",
]

CHECKPOINT = torch.utils.checkpoint.__file__


class _Turn:
    """Whose turn it is to use a model: hooks and changes of weights act on every thread's calls."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.owner: int | None = None
        self.depth = 0
        self.edits = 0


_turns: WeakKeyDictionary[nn.Module, _Turn] = WeakKeyDictionary()
_turns_lock = threading.Lock()


@contextmanager
def turn(model: nn.Module, *, edit: bool = False) -> Iterator[None]:
    """Keep other threads from a model inside the block; wait until they are done with it.

    Parameters
    ----------
    model : nn.Module
        The model.
    edit : bool
        The block is an edit, for whose end no other thread waits: it may wait for them.

    Yields
    ------
    None
        What this thread does reaches no other's results.

    Raises
    ------
    NisslError
        Another thread has the model under an edit.
    """
    with _turns_lock:
        mine = _turns.setdefault(model, _Turn())
    me = threading.get_ident()
    with mine.changed:
        while mine.owner not in (None, me):
            if mine.edits:
                raise _elsewhere()
            mine.changed.wait()
        mine.owner = me
        mine.depth += 1
        mine.edits += edit
    try:
        yield
    finally:
        with mine.changed:
            mine.depth -= 1
            mine.edits -= edit
            if not mine.depth:
                mine.owner = None
            mine.changed.notify_all()


def refuse_other_threads(owner: int) -> None:
    """Raise where a model that one thread records or edits is called by another.

    Parameters
    ----------
    owner : int
        The thread at work.

    Raises
    ------
    NisslError
        This is another, and no part of a backward pass.
    """
    if threading.get_ident() != owner and not is_recomputed():
        raise _elsewhere()


def _elsewhere() -> NisslError:
    return NisslError(
        "another thread is running or editing this network, which would reach these results",
        do="call net.run instead of the model, and edit in the thread that runs it; or give each"
        " thread a network of its own: copy.deepcopy(net)",
    )


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Run a model as it is used, without dropout and statistics of the batch, inside the block.

    Other threads wait: see `turn`.

    Parameters
    ----------
    model : nn.Module
        The model; its modules are put back into training afterwards where they were.

    Yields
    ------
    None
        In evaluation mode.
    """
    with turn(model):
        training = [module for module in model.modules() if module.training]
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True


def is_recomputed() -> bool:
    """Tell whether what runs now is computed again for the backward pass (checkpointing)."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != CHECKPOINT:
        frame = frame.f_back
    return frame is not None


def refuse_recomputed(where: str) -> None:
    """Raise where what runs now is computed again for the backward pass.

    Parameters
    ----------
    where : str
        What is looked at.

    Raises
    ------
    NisslError
        It is under gradient checkpointing.
    """
    if is_recomputed():
        raise NisslError(
            "gradient checkpointing computes this place again, so that what it was has no gradient",
            where=where,
            do="call model.gradient_checkpointing_disable()",
        )


def guard_recomputation(modules: list[nn.Module], where: str) -> None:
    """Refuse to compute edited modules again for the backward pass once the edit is undone.

    Parameters
    ----------
    modules : list of Module
        Those that were edited under gradient checkpointing. The next call that is none of a
        backward pass takes the guard away.
    where : str
        The edits.

    Raises
    ------
    NisslError
        In the backward pass.
    """
    handles: list[RemovableHandle] = []

    def refuse(module: nn.Module, args: object) -> None:
        if torch._C._current_graph_task_id() == -1:
            for handle in handles:
                handle.remove()
            return
        raise NisslError(
            "gradient checkpointing computes modules again, and the edit is no longer in force",
            where=where,
            do="call backward() inside the `with` block",
        )

    handles += [module.register_forward_pre_hook(refuse) for module in dict.fromkeys(modules)]
