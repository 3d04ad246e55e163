"""Neurons of the experts of a mixture-of-experts layer.

Experts keep their weights in three-dimensional parameters and compute their neurons inside one
function, where no hook reaches. While a hook point is attached that function is replaced by the
plain loop over experts, which lets visitors read or replace the neurons of each; tests hold the two
equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nissl.errors import NisslError
from nissl.network.sites.hook_points import module_at

if TYPE_CHECKING:
    from nissl.network.sites.batch import Batch
    from nissl.network.sites.hook_points import Handle, Visit

__all__ = ["Expert"]

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
            gate, up = nn.functional.linear(hidden[tokens], experts.gate_up_proj[expert]).chunk(
                2, -1
            )
            neurons = experts.act_fn(gate) * up
            # Visited also where no token called it, so that every requested site fires.
            for visitor in visitors.get(expert, ()):
                neurons = visitor(neurons, tokens, len(hidden))
            out = nn.functional.linear(neurons, experts.down_proj[expert])
            out = out * top_weight[tokens, rank, None]
            total = total.index_add(0, tokens, out.to(total.dtype))
        return total

    return forward
