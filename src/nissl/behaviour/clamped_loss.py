"""Clamped training: heads attend as they are told to, or units are as in another network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from nissl.methods import method

__all__ = ["clamped_loss"]


@method(system=67)
def clamped_loss(
    loss: Callable[[nn.Module, Any], Tensor], clamp: Any, *more: Any
) -> Callable[[nn.Module, Any], Tensor]:
    """Return a loss of a network that is clamped: what `nissl.training.train` is given.

    Parameters
    ----------
    loss : callable
        ``loss(model, batch)`` returns a scalar.
    clamp, *more : Edit, list of Edit, or callable
        What is held, such as ``attend("blocks.0.attn.z[head 1]", "previous_token")`` or
        ``ablate("blocks.0.attn.z[head 2]")``; or ``clamp(batch)`` returns it, such as
        ``patch(finished.run(batch[0], sites="blocks.0.attn.pattern"), heads=1)``.

    Returns
    -------
    callable
        The loss under these edits. Gradients go past what is clamped as they go past any edit: to
        what a clamped head reads and writes, and not to what its pattern was computed from.

    Notes
    -----
    Source: Singh et al. 2024, section 4: activity is clamped throughout training.

    Examples
    --------
    >>> import torch
    >>> from nissl.network import clamp
    >>> from nissl.training import Batches, train
    >>> model, x = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), torch.ones(4, 1)
    >>> loss = clamped_loss(lambda model, batch: model(batch[0]).square().mean(),
    ...                     clamp(sites="0", to=0.0))
    >>> before = model[0].weight.item()
    >>> done = train(model, Batches(x, batch_size=4), loss=loss, steps=2, cache=False,
    ...              progress=False)
    >>> done.model[0].weight.item() == before  # nothing that it does has an effect
    True
    """
    return _Clamped(loss, (clamp, *more))


@dataclass(frozen=True)
class _Clamped:
    loss: Callable[[nn.Module, Any], Tensor]
    clamps: tuple[Any, ...]

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        from nissl.network import Network

        # A network is in evaluation mode, training is not.
        modes = {module: module.training for module in model.modules()}
        net = Network(model)
        for module, mode in modes.items():
            module.training = mode
        edits = [c if hasattr(c, "writes") or not callable(c) else c(batch) for c in self.clamps]
        with net.edit(*edits):
            return self.loss(model, batch)
