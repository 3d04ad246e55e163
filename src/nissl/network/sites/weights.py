"""What a network's weights say with its norms folded in: what units read, and what they write.

A norm scales every dimension of the stream by a weight of its own. Put into the matrices beside it,
it lets directions that are read and written be compared with each other and with the unembedding.
What a norm divides by depends on the rest of the stream, and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nissl.errors import NisslError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.dictionary import Dictionary

__all__ = [
    "FoldedWeights",
    "dictionary_of",
    "folded_unembedding",
    "folded_weights",
    "output_weights_of",
]


@dataclass(frozen=True)
class FoldedWeights:
    """The weights of an MLP's neurons as they meet the residual stream.

    Parameters
    ----------
    read : Tensor, shape (n_units, d_model), float32
        Input weights, the norm before the MLP folded in.
    gate : Tensor or None, shape (n_units, d_model), float32
        Gate weights, likewise; None where the MLP has no gate.
    write : Tensor, shape (n_units, d_model), float32
        Output weights, the norm after the MLP folded in where there is one and it was asked for.
    """

    read: Tensor
    gate: Tensor | None
    write: Tensor


def folded_weights(net: BaseNetwork, site: str, *, after: bool = True) -> FoldedWeights:
    """Return input, gate and output weights of neurons in the coordinates of the stream.

    Parameters
    ----------
    net : Network
        The network.
    site : str
        ``blocks.L.mlp.neurons``.
    after : bool
        Fold in the norm after the MLP too, where there is one (Gemma); else only the one before.

    Returns
    -------
    FoldedWeights
        The matrices, one row a neuron.

    Raises
    ------
    NisslError
        The site has no such weights.

    Notes
    -----
    A norm that subtracts a mean cannot let weights see it, so their mean is taken off.
    """
    read, gate = net.input_weights(site).float(), net.gate_weights(site)
    write = net.output_weights(site).float()
    found = net.find(site)[0]
    architecture = net.stack_of(found)
    if architecture is None or architecture.matrices is None or found.layer is None:
        raise NisslError(f"no weights are known for the units of '{site}'")
    block = net.block(found.layer, architecture.stack)
    modules = dict(block.named_modules())
    before = next((modules[name] for name in architecture.matrices.norm if name in modules), None)
    if before is not None:
        read = _folded(net, before, read)
        gate = None if gate is None else _folded(net, before, gate.float())
    if after and architecture.norms[1]:
        write = write * _scale(net, block.get_submodule(architecture.norms[1]), write)
    return FoldedWeights(read, None if gate is None else gate.float(), write)


def folded_unembedding(net: BaseNetwork) -> Tensor | None:
    """Return the unembedding with the final norm's scale, and its taking off of the mean, in it.

    Parameters
    ----------
    net : Network
        The network.

    Returns
    -------
    Tensor or None, shape (n_tokens, d_model), float32
        None where the network has no unembedding. Its product with a direction in the stream says
        which tokens the direction promotes (the logit lens on weights; Geva et al. 2022).
    """
    try:
        unembedding = net.unembedding.float()
    except NisslError:
        return None
    try:
        point: Any = net.find("final_norm")[-1].hook_point  # the decoder's, where there are two
    except NisslError:
        return unembedding
    return _folded(net, net.model.get_submodule(point.path), unembedding)


def output_weights_of(net: BaseNetwork, site: str) -> Tensor | None:
    """Return what each unit of a site writes into the residual stream.

    Parameters
    ----------
    net : Network
        The network.
    site : str
        Full name of a site.

    Returns
    -------
    Tensor or None, shape (n_units, d_model), float32
        None where the site's units are not written by a matrix. A feature's are its direction,
        written on by the site that it is decoded to. Before any norm on the way.
    """
    dictionary = dictionary_of(net, site)
    if dictionary is not None:
        directions: Tensor = dictionary.directions.detach().float()
        onward = asked(net.output_weights, dictionary.site_out)
        return directions if onward is None else directions @ onward.to(directions)
    return asked(net.output_weights, site)


def dictionary_of(net: BaseNetwork, site: str) -> Dictionary | None:
    """Return the dictionary whose features a site's units are.

    Parameters
    ----------
    net : Network
        The network.
    site : str
        Full name of a site.

    Returns
    -------
    Dictionary or None
        None where they are no features.
    """
    found: Dictionary | None = getattr(net.find(site)[0].hook_point, "dictionary", None)
    return found


def asked(weights: Callable[[str], Tensor | None], site: str) -> Tensor | None:
    """Return weights of a site, None where it has none.

    Parameters
    ----------
    weights : callable
        `Network.output_weights` or its like.
    site : str
        Full name of a site.

    Returns
    -------
    Tensor or None, shape (n_units, d_model), float32
        The weights.
    """
    try:
        found = weights(site)
    except NisslError:
        return None
    return None if found is None else found.float()


def _folded(net: BaseNetwork, norm: nn.Module, weights: Tensor) -> Tensor:
    """Put a norm's scale into weights that read what it gives, shape (n, d_model)."""
    folded = weights * _scale(net, norm, weights)
    if _takes_mean_off(net, norm, weights):
        folded = folded - folded.mean(dim=1, keepdim=True)
    return folded


def _takes_mean_off(net: BaseNetwork, norm: nn.Module, weights: Tensor) -> bool:
    """Tell whether a norm gives the same of what differs by a constant, whatever its class."""
    if isinstance(norm, torch.nn.LayerNorm):
        return True
    row = torch.linspace(-1, 1, weights.shape[1], dtype=net.dtype, device=weights.device)[None]
    with torch.no_grad():
        moved, turned = (norm(row) - norm(other) for other in (row + 1, -row))
        return bool(moved.abs().max() < 0.05 * turned.abs().max())


def _scale(net: BaseNetwork, norm: nn.Module, weights: Tensor) -> Tensor:
    """Return a norm's scale, shape (1, d_model), whatever the norm calls it."""
    # Half ones, half minus ones: mean 0 and root mean square 1, so every kind of norm gives back
    # its scale; the difference of the two takes its bias off.
    probe = torch.ones(1, weights.shape[1], dtype=net.dtype, device=weights.device)
    probe[:, 1::2] = -1
    with torch.no_grad():
        scale: Tensor = ((norm(probe) - norm(-probe)) * probe / 2).float()
    return scale
