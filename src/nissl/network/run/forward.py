"""One run of a network that returns the raw tensors of sites."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from nissl.errors import NisslError
from nissl.network.run.calls import Call, call_model, sequence_call, tensor_call
from nissl.network.run.inputs import read_inputs
from nissl.network.run.windows import single_windows
from nissl.network.sites.batch import Batch, watch_batch
from nissl.network.sites.hooks import Fired, visiting
from nissl.network.sites.modes import evaluated, refuse_recomputed
from nissl.network.sites.site import sides_of

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.site import Site

__all__ = ["run", "single_call", "visited"]

Visit: TypeAlias = "tuple[Site, Callable[[Site, Tensor], Tensor]]"


def run(
    net: BaseNetwork,
    inputs: Any,
    *,
    sites: str | Iterable[str],
    gradients: bool = False,
    padding: str = "right",
) -> dict[str, Tensor]:
    """Run a network once and return the raw tensors of sites.

    Parameters
    ----------
    net : Network
        The network.
    inputs : text, chat messages, token ids, images, tensor, or mapping of arguments
        All are one batch.
    sites : str or iterable of str
        What to return.
    gradients : bool
        Keep the graph.
    padding : {"right", "left"}
        Where shorter texts are filled up.

    Returns
    -------
    dict of str to Tensor, each shape (batch, place..., unit)
        By full name; of a site computed several times, shape (batch, call, ...).

    Raises
    ------
    NisslError
        A site never fired, or a text is longer than the context.
    """
    found = net.find(sites)
    call = single_call(net, inputs, padding=padding, sites=found)
    # The keys and values of a cache that the caller keeps must be filled to the last block.
    fills = call is not inputs and call.kwargs.get("past_key_values") is not None
    kept: dict[str, list[Tensor]] = {site.name: [] for site in found}

    def keep(site: Site, x: Tensor) -> Tensor:
        # A copy: what follows may change the tensor in place (ReLU(inplace=True), residual sums).
        kept[site.name].append(x.clone() if gradients else x.detach().clone())
        return x

    with visited(net, [(site, keep) for site in found], gradients=gradients) as fired:
        call_model(net, call, until=None if fills else found)
        fired.require(why="recorded")
    return {name: _joined(name, calls) for name, calls in kept.items()}


@contextmanager
def visited(
    net: BaseNetwork, visits: Iterable[Visit], *, gradients: bool = False
) -> Iterator[Fired]:
    """Call visitors at sites in every call of the model inside the block.

    Parameters
    ----------
    net : Network
        The network.
    visits : iterable of (Site, callable)
        ``visit(site, x)`` with x of shape (batch, place..., unit) returns x, or what replaces it.
    gradients : bool
        Keep the graph.

    Yields
    ------
    Fired
        Counts the calls of each site.
    """
    now: list[Batch] = []

    def with_graph(visit: Callable[[Site, Tensor], Tensor]) -> Callable[[Site, Tensor], Tensor]:
        def visited(site: Site, x: Tensor) -> Tensor:
            refuse_recomputed(site.name)
            return visit(site, x)

        return visited

    if gradients:
        visits = [(site, with_graph(visit)) for site, visit in visits]
    with (
        evaluated(net.model),
        torch.set_grad_enabled(gradients),
        watch_batch(net.model, net.body, now.append),
        visiting(net.model, visits, batch=lambda: now[-1] if now else None) as fired,
    ):
        yield fired


def single_call(
    net: BaseNetwork, inputs: Any, *, padding: str = "right", sites: Iterable[Site] = ()
) -> Call:
    """Make one call of all inputs, each text one window.

    Parameters
    ----------
    net : Network
        The network.
    inputs : text, chat messages, token ids, images, tensor, or mapping of arguments
        One batch.
    padding : {"right", "left"}
        Where shorter texts are filled up.
    sites : iterable of Site
        What is wanted: of an encoder-decoder its encoder alone, or not.

    Returns
    -------
    Call
        The arguments.

    Raises
    ------
    NisslError
        A text is longer than the context.
    """
    if isinstance(inputs, Call):
        return inputs
    given = read_inputs(net, inputs)
    if given.arguments is not None:
        return tensor_call(net, given.arguments)
    encoder = sides_of(net.model, [*sites, *net.editing]) == {"encoder"}
    ids = single_windows(net, given).ids
    return sequence_call(net, ids, padding=padding, encoder=encoder)


def _joined(name: str, calls: list[Tensor]) -> Tensor:
    if len(calls) == 1:
        return calls[0]
    if any(x.shape != calls[0].shape for x in calls):
        raise NisslError(f"the calls of '{name}' in one run have different shapes", where=name)
    return torch.stack(calls, 1)
