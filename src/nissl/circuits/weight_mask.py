"""Weight masks: the few weights that do a task, found by training gates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nissl.errors import UnknownName
from nissl.methods import method
from nissl.training import train

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["weight_mask"]

START = 2.0  # of the gates' logits: a weight begins as kept
SHARPNESS, BEYOND = 2 / 3, 0.1  # of the hard concrete distribution, and how far it is stretched


@method(system=267)
def weight_mask(
    net: Network,
    batches: Callable[[int], Any],
    *,
    loss: Callable[[nn.Module, Any], Tensor],
    parameters: Iterable[str] | None = None,
    penalty: float = 1.0,
    steps: int = 300,
    learning_rate: float = 0.05,
    progress: bool = True,
) -> dict[str, Tensor]:
    """Train gates of weights, open or shut, until few are left that do a task.

    Parameters
    ----------
    net : Network
        Its weights stay as they are.
    batches : callable
        ``batches(step)``, as `nissl.training.train` takes them; it keeps what was trained on a
        `Batches`.
    loss : callable
        ``loss(model, batch)``: what the network is to do with the weights that are kept, such as
        to give each next token the frequency with which it follows the current one.
    parameters : iterable of str, optional
        Which are masked; by default every matrix but those of embedding and unembedding.
    penalty : float
        What the mean chance that a gate is open adds to the loss: the larger, the fewer are kept.
    steps, learning_rate : int, float
        Of Adam.
    progress : bool
        Show a bar.

    Returns
    -------
    dict of str to Tensor of bool
        Which weights are kept, by parameter, for `nissl.network.keep_weights`.

    Raises
    ------
    UnknownName
        There is no such parameter.

    Notes
    -----
    Source: Chang and Bergen 2025 (with continuous sparsification); gates here are drawn from the
    hard concrete distribution of Louizos et al. 2018, and kept where more open than shut.

    Examples
    --------
    >>> from nissl.network import Network
    >>> net = Network(nn.Linear(2, 1, bias=False))
    >>> x, wanted = torch.eye(2), torch.stack([net.model.weight[0, :1].detach(), torch.zeros(1)])
    >>> weight_mask(net, lambda step: x, penalty=0.01, progress=False,
    ...             loss=lambda model, x: (model(x) - wanted).square().sum())["weight"].tolist()
    [[True, False]]
    """
    named = dict(net.model.named_parameters())
    ends = [getattr(net.model, f"get_{k}_embeddings", lambda: None)() for k in ("input", "output")]
    left_out = {id(p) for end in ends if end is not None for p in end.parameters()}
    usual = (name for name, p in named.items() if p.ndim > 1 and id(p) not in left_out)
    names = list(usual if parameters is None else parameters)
    for name in names:
        if name not in named:
            raise UnknownName("parameter", name, named)
    model = _Masked(net.model, names)

    def cost(masked: nn.Module, batch: Any) -> Tensor:
        logits = torch.cat([g.flatten() for g in model.logits])
        is_open = (logits + SHARPNESS * math.log((1 + BEYOND) / BEYOND)).sigmoid()
        return loss(masked, batch) + penalty * is_open.mean()

    how: Any = {"optimiser": "adam", "learning_rate": learning_rate, "progress": progress}
    how |= {"cache": hasattr(batches, "fingerprint"), "key": f"{names} {net.weights_hash}"}
    train(model, batches, loss=cost, steps=steps, **how)
    return {name: g.detach() > 0 for name, g in zip(names, model.logits, strict=True)}


class _Masked(nn.Module):
    """A model whose weights are multiplied by gates, which alone are trained."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.named = {name: p.detach() for name, p in model.named_parameters()}
        self.names, self.of = names, (model,)  # in a tuple: no part of this module
        self.logits = nn.ParameterList(torch.full_like(self.named[name], START) for name in names)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model with weights times gates drawn anew."""
        weights = dict(self.named)
        for name, logits in zip(self.names, self.logits, strict=True):
            noise = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6).logit()
            soft = ((logits + noise) / SHARPNESS).sigmoid()
            weights[name] = weights[name] * (soft * (1 + 2 * BEYOND) - BEYOND).clamp(0, 1)
        return torch.func.functional_call(self.of[0], weights, args, kwargs)
