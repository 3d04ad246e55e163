"""Gradients of a number with respect to the activity of sites."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.run.calls import call_model
from nissl.network.run.forward import single_call, visited

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.site import Site

__all__ = ["Gradients", "gradients"]


@dataclass(frozen=True)
class Gradients:
    """Gradients of a metric at sites, and the activity at which they were taken.

    Parameters
    ----------
    metric : Tensor, shape ()
        The number.
    gradients : dict of str to Tensor, each shape (batch, place..., unit)
        Its derivative with respect to every value of each site, by full name.
    values : dict of str to Tensor, each shape (batch, place..., unit)
        The values.
    """

    metric: Tensor
    gradients: dict[str, Tensor]
    values: dict[str, Tensor]

    def __getitem__(self, site: str) -> Tensor:
        return self.gradients[site]


def gradients(
    net: BaseNetwork,
    inputs: Any,
    *,
    sites: str | Iterable[str],
    metric: Callable[[Any], Tensor],
    padding: str = "right",
) -> Gradients:
    """Differentiate a number with respect to the activity of sites.

    At each site a zero is added to the activity, and the derivative taken with respect to that
    zero; so it means the same at every site that can be written, features of a Dictionary and
    heads among them. Edits in force act before it.

    Parameters
    ----------
    net : Network
        The network.
    inputs : text, chat messages, token ids, images, tensor, or mapping of arguments
        One batch.
    sites : str or iterable of str
        Where.
    metric : callable
        Given the logits, shape (batch, position, vocabulary) or (batch, class), or what the model
        returns where it has none, returns one number. A sum over the batch gives each item its own
        gradient.
    padding : {"right", "left"}
        Where shorter texts are filled up.

    Returns
    -------
    Gradients
        ``found["blocks.3.mlp.neurons"]`` is a gradient, shape (batch, place..., unit); of a site
        that is computed several times, shape (batch, call, ...). Zero where nothing depends on it.

    Raises
    ------
    NisslError
        A site never fires, or the metric is not one number.

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network
    >>> net = Network(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
    >>> found = gradients(net, torch.ones(1, 2), sites="1", metric=lambda y: y.sum())
    >>> found["1"].tolist()
    [[1.0, 1.0, 1.0]]
    """
    found = net.find(sites)
    probes: dict[str, list[Tensor]] = {site.name: [] for site in found}
    values: dict[str, list[Tensor]] = {site.name: [] for site in found}

    def probe(site: Site, x: Tensor) -> Tensor:
        zero = torch.zeros_like(x, requires_grad=True)
        probes[site.name].append(zero)
        values[site.name].append(x.detach().clone())
        return x + zero

    call = single_call(net, inputs, padding=padding, sites=found)
    with visited(net, [(site, probe) for site in found], gradients=True) as fired:
        output = call_model(net, call)
        fired.require(why="differentiated")
    number = metric(getattr(output, "logits", output))
    if not isinstance(number, Tensor) or number.numel() != 1:
        shape = tuple(number.shape) if isinstance(number, Tensor) else type(number).__name__
        raise NisslError(f"the metric gives {shape}, not one number", do="sum or average it")
    flat = [zero for name in probes for zero in probes[name]]
    taken: tuple[Tensor | None, ...] = (None,) * len(flat)
    if number.requires_grad:
        taken = torch.autograd.grad(number.reshape(()), flat, allow_unused=True)
    each = iter(torch.zeros_like(z) if g is None else g for z, g in zip(flat, taken, strict=True))
    by_site = {name: _joined([next(each) for _ in zeros]) for name, zeros in probes.items()}
    seen = {name: _joined(calls) for name, calls in values.items()}
    return Gradients(number.detach().reshape(()), by_site, seen)


def _joined(calls: list[Tensor]) -> Tensor:
    return calls[0] if len(calls) == 1 else torch.stack(calls, 1)
