"""Modes of a model that change what hooks see: training, and computing again for gradients."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.utils.checkpoint
from torch import nn
from torch.utils.hooks import RemovableHandle

from nissl.errors import NisslError

__all__ = ["evaluated", "guard_recomputation", "is_recomputed", "refuse_recomputed"]

CHECKPOINT = torch.utils.checkpoint.__file__


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Run a model as it is used, without dropout and statistics of the batch, inside the block.

    Parameters
    ----------
    model : nn.Module
        The model; its modules are put back into training afterwards where they were.

    Yields
    ------
    None
        In evaluation mode.
    """
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
