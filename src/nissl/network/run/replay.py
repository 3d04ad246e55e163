"""Replay: modules that return what they returned before, so that a run can begin in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

__all__ = ["Prefix", "replaying", "watching"]


@dataclass
class Prefix:
    """What had been computed when a site came by.

    Parameters
    ----------
    outputs : dict of Module to list
        For each module that had returned, and none of whose parents had, its outputs call by call.
    complete : bool
        The site has come by; nothing more is kept.
    """

    outputs: dict[nn.Module, list[Any]] = field(default_factory=dict)
    complete: bool = False

    def share(self, blocks: list[nn.Module]) -> None:
        """Keep one output alone of modules that each are given what the one before returned.

        Parameters
        ----------
        blocks : list of Module
            The modules, in their order.
        """
        done = [block for block in blocks if block in self.outputs]
        for block in done[:-1]:
            self.outputs[block] = self.outputs[done[-1]]

    def before(self, module: nn.Module) -> Prefix | None:
        """Return what had been computed when one of the modules began; None where it is none."""
        if module not in self.outputs:
            return None
        modules = list(self.outputs)
        first = modules[: modules.index(module)]
        return Prefix({m: self.outputs[m] for m in first}, complete=True)

    def beyond(self, position: int, length: int) -> Prefix:
        """Return what modules returned from a position on, of texts of a length."""

        def later(x: Tensor) -> Tensor:
            return x[:, position:] if x.ndim > 1 and x.shape[1] == length else x

        shared: dict[int, list[Any]] = {}
        for outputs in self.outputs.values():
            if id(outputs) not in shared:
                shared[id(outputs)] = [tree_map_only(Tensor, later, y) for y in outputs]
        return Prefix({m: shared[id(y)] for m, y in self.outputs.items()}, complete=True)


@contextmanager
def watching(
    model: nn.Module, prefix: Prefix, *, needed: nn.Module
) -> Iterator[Callable[[], None]]:
    """Keep what modules return until a site comes by.

    Parameters
    ----------
    model : nn.Module
        The model; it is called once inside the block.
    prefix : Prefix
        Where the outputs are kept.
    needed : Module
        A module that must be called again, though it may have returned: the site's own.

    Yields
    ------
    callable
        To be called when the site comes by.
    """
    # The modules under way, outermost first, each with the calls that have returned inside it.
    frames: list[list[tuple[nn.Module, Any]]] = [[]]
    around = {module for module in model.modules() if needed in set(module.modules())}

    def enter(module: nn.Module, args: Any) -> None:
        if not prefix.complete:
            frames.append([])

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        if not prefix.complete:
            inside = frames.pop()
            frames[-1] += inside if module in around else [(module, _copied(output))]

    def stop() -> None:
        if prefix.complete:
            return
        prefix.complete = True
        for frame in frames:
            for module, output in frame:
                prefix.outputs.setdefault(module, []).append(output)

    handles: list[RemovableHandle] = []
    try:
        for module in model.modules():
            handles.append(module.register_forward_pre_hook(enter, prepend=True))
            handles.append(module.register_forward_hook(leave))
        yield stop
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaying(prefix: Prefix) -> Iterator[None]:
    """Let modules return what they returned before, as often as they had been called.

    Parameters
    ----------
    prefix : Prefix
        What they returned.

    Yields
    ------
    None
        For one call of the model.
    """
    own = {m: m.__dict__["forward"] for m in prefix.outputs if "forward" in m.__dict__}
    try:
        for module, outputs in prefix.outputs.items():
            module.__dict__["forward"] = _replayed(module, outputs)
        yield
    finally:
        for module in prefix.outputs:
            del module.__dict__["forward"]
        for module, forward in own.items():
            module.__dict__["forward"] = forward


def _replayed(module: nn.Module, outputs: list[Any]) -> Callable[..., Any]:
    compute, left = module.forward, list(outputs)

    def forward(*args: Any, **kwargs: Any) -> Any:
        # A copy each time: what follows may write into it.
        return _copied(left.pop(0)) if left else compute(*args, **kwargs)

    return forward


def _copied(output: Any) -> Any:
    return tree_map_only(Tensor, torch.clone, output)
