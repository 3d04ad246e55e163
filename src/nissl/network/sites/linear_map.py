"""What a module of a model multiplies by: its weight, or what adapters around it make of that.

A module that wraps a projection (LoRA) has the weight of the projection, and adds to what that
gives; what counts is what the module as a whole does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nissl.errors import NisslError

__all__ = ["is_plain", "matrix_of", "require_linear", "without_hooks"]


def is_plain(module: nn.Module) -> bool:
    """Tell whether a module multiplies by its own weight, which is in memory, and no more.

    Parameters
    ----------
    module : nn.Module
        A projection.

    Returns
    -------
    bool
        False for wrapped, quantised and offloaded ones.
    """
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.device.type == "meta":
        return False
    return type(module).forward is nn.Linear.forward or type(module).__name__ == "Conv1D"


def matrix_of(module: nn.Module, width: int, like: Tensor, *, where: str) -> Tensor:
    """Return what a module multiplies by.

    Parameters
    ----------
    module : nn.Module
        A projection, or what wraps one.
    width : int
        How many values it reads.
    like : Tensor
        Whose type and device its input has.
    where : str
        What it is, for messages.

    Returns
    -------
    Tensor, shape (width, n_written)
        Its own weight where that is all; else what it makes of one value at a time.

    Raises
    ------
    NisslError
        It is not a linear map.
    """
    weight: Any = getattr(module, "weight", None)
    if is_plain(module):
        # Conv1D of GPT-2 keeps (in, out), Linear (out, in).
        own: Tensor = weight if type(module).__name__ == "Conv1D" else weight.T
        return own
    if callable(weight) and not isinstance(weight, Tensor):  # packed int8
        unpacked: Tensor = weight().dequantize()
        return unpacked.T
    one = torch.eye(width, dtype=like.dtype, device=like.device)
    probe = torch.linspace(-1, 1, width, dtype=like.dtype, device=like.device)[None]
    with without_hooks(module):
        rest = module.forward(torch.zeros_like(probe))
        matrix: Tensor = module.forward(one) - rest
        require_linear(probe @ matrix + rest, module.forward(probe), module, where=where)
    return matrix


def require_linear(sums: Tensor, whole: Tensor, module: nn.Module, *, where: str) -> None:
    """Raise where what a module makes of parts does not add up to what it makes of the whole."""
    size = float(whole.detach().abs().max())
    packed = callable(getattr(module, "weight", None))  # int8 rounds what it is given
    if packed or not torch.allclose(sums.detach(), whole.detach(), rtol=1e-3, atol=1e-3 * size):
        raise NisslError(
            f"{type(module).__name__} is no linear map, so that what it writes does not fall into "
            "the shares of its inputs",
            where=where,
            do="merge adapters into the weights; load quantised weights in floating point",
        )


@contextmanager
def without_hooks(module: nn.Module) -> Iterator[None]:
    """Call the parts of a module unseen inside the block."""
    parts: list[Any] = [part for part in module.modules() if part is not module]
    names = ("_forward_hooks", "_forward_pre_hooks")
    kept = [[getattr(part, name) for name in names] for part in parts]
    try:
        for part in parts:
            for name in names:
                setattr(part, name, OrderedDict())
        yield
    finally:
        for part, hooks in zip(parts, kept, strict=True):
            for name, own in zip(names, hooks, strict=True):
                setattr(part, name, own)
