"""Neurons of the experts of a mixture-of-experts layer, and the scores that choose among them.

Experts keep their weights in three-dimensional parameters and compute their neurons inside one
function, where no hook reaches. While a hook point is attached that function is replaced by the
plain loop over experts, which lets visitors read or replace the neurons of each; tests hold the two
equal. A router returns its scores beside what it made of them: where they are replaced it is called
again, and its one product gives what replaces them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nissl.errors import NisslError
from nissl.network.sites.hook_points import module_at
from nissl.network.sites.layout import layout_of

if TYPE_CHECKING:
    from nissl.network.sites.batch import Batch
    from nissl.network.sites.hook_points import Handle, Visit

__all__ = ["Expert", "Router"]

VISITORS = "_nissl_expert_visitors"


@dataclass(frozen=True)
class Expert:
    """The neurons of one expert, shape (batch, position, unit); NaN where it was not called.

    Parameters
    ----------
    path : str
        Path of the module that holds all experts of the layer.
    expert : int
        Which expert.
    """

    path: str
    expert: int

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        """Replace the experts' function by a loop that calls the visitor."""

        def visitor(neurons: Tensor, tokens: Tensor, n_tokens: int) -> Tensor:
            whole = neurons.new_full((n_tokens, neurons.shape[-1]), torch.nan)
            whole = whole.index_copy(0, tokens, neurons)
            now = batch()
            positions = None if now is None else now.positions
            view = whole if positions is None else whole.unflatten(0, (-1, positions.shape[1]))
            new = visit(view)
            return neurons if new is view else new.flatten(0, -2)[tokens]

        return [_Attached(module_at(model, self.path), self.expert, visitor)]


@dataclass(frozen=True)
class Router:
    """Scores of the experts, shape (batch, position, expert), from which weights and choice follow.

    Parameters
    ----------
    path : str
        Path of the router, which returns the scores first.
    """

    path: str

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        """Hook the router's output, and call it again where its scores are replaced."""
        module = module_at(model, self.path)
        layout = layout_of(model, module, self.path, 0, axis=-1, flat=True)

        def hook(_: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
            view = layout.there(output[0], module, batch() if layout.asks else None)
            new = visit(view)
            if new is view:
                return None
            given = _Given(layout.back(new, output[0], module))
            with given:
                again = module.forward(*args, **kwargs)
            if given.used != 1:
                raise NisslError(
                    f"{type(module).__name__} does not make its scores by one product, so that "
                    "they cannot be replaced",
                    where=self.path,
                    do=f"edit what it returns: '{self.path}:1' are the weights",
                )
            return again

        return [module.register_forward_hook(hook, with_kwargs=True)]


class _Given(TorchFunctionMode):
    """Gives the scores of a router in the place of its product."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores, self.used = scores, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.linear:
            self.used += 1
            return self.scores
        return func(*args, **(kwargs or {}))


class _Attached:
    """One visitor of one expert; removing the last puts the experts' own function back."""

    def __init__(self, module: nn.Module, expert: int, visitor: Callable[..., Tensor]) -> None:
        self.module, self.key, self.visitor = module, expert, visitor
        if VISITORS not in module.__dict__:
            if "forward" in module.__dict__:
                raise NisslError(
                    "another library replaced the experts' own function",
                    where=type(module).__name__,
                    do="load the model without offloading it (device_map)",
                )
            module.__dict__["forward"] = _forward(module)
        visitors = module.__dict__.setdefault(VISITORS, {})
        visitors.setdefault(expert, []).append(visitor)

    def remove(self) -> None:
        """Take the visitor away, and the loop with the last of them."""
        visitors = self.module.__dict__[VISITORS]
        visitors[self.key].remove(self.visitor)
        if not any(visitors.values()):
            del self.module.__dict__["forward"], self.module.__dict__[VISITORS]


def _forward(module: nn.Module) -> Callable[..., Tensor]:
    experts: Any = module

    def forward(hidden: Tensor, top_index: Tensor, top_weight: Tensor) -> Tensor:
        total = torch.zeros_like(hidden)
        visitors = module.__dict__[VISITORS]
        for expert in range(experts.num_experts):
            tokens, rank = torch.where(top_index == expert)
            neurons = experts._apply_gate(_product(experts, "gate_up_proj", expert, hidden[tokens]))
            # Visited also where no token called it, so that every requested site fires.
            for visitor in visitors.get(expert, ()):
                neurons = visitor(neurons, tokens, len(hidden))
            out = _product(experts, "down_proj", expert, neurons)
            out = out * top_weight[tokens, rank, None]
            total = total.index_add(0, tokens, out.to(total.dtype))
        return total

    return forward


def _product(experts: Any, name: str, expert: int, x: Tensor) -> Tensor:
    """Multiply by the matrix of one expert, as its module keeps it, and add its bias."""
    weight = getattr(experts, name)[expert]
    if getattr(experts, "is_transposed", False):
        out: Tensor = x @ weight
    else:
        out = nn.functional.linear(x, weight)
    return (
        out + getattr(experts, f"{name}_bias")[expert]
        if getattr(experts, "has_bias", False)
        else out
    )
