"""Weights in another order of units."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nissl.network.symmetries.axis import Axis
from nissl.network.symmetries.trace import weights_of

__all__ = ["Permutations", "permuted", "reordered", "rewritten"]

Permutations = Mapping[str, NDArray[np.intp]]


def permuted(
    weights: Mapping[str, Tensor],
    axes: Mapping[str, tuple[Axis, ...]],
    permutations: Permutations,
) -> dict[str, Tensor]:
    """Return weights in another order of units.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Parameters and buffers.
    axes : mapping of str to tuple of Axis
        Of those that take part, what each of their axes is made of.
    permutations : mapping of str to array
        One of every group.

    Returns
    -------
    dict of str to Tensor
        New tensors, where they take part.
    """
    moved = {name: reordered(weights[name], x, permutations) for name, x in axes.items()}
    return {**weights, **moved}


def reordered(
    x: Tensor, axes: Iterable[Axis], permutations: Permutations, *, keep: tuple[int, str] = (-1, "")
) -> Tensor:
    """Return a tensor with its axes in another order.

    Parameters
    ----------
    x : Tensor
        Any.
    axes : iterable of Axis
        What each of its axes is made of.
    permutations : mapping of str to array
        One of every group.
    keep : tuple of int and str
        An axis, and the group that keeps its order along it.

    Returns
    -------
    Tensor
        A new one, where it takes part.
    """
    for d, axis in enumerate(axes):
        held = keep[1] if d == keep[0] else ""
        if any(leaf.name and leaf.name != held for leaf in axis.leaves()):
            x = x.index_select(d, torch.from_numpy(axis.order(permutations, held)).to(x.device))
    return x


def rewritten(model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of a model with other weights.

    Parameters
    ----------
    model : nn.Module
        Any.
    weights : mapping of str to Tensor
        Parameters and buffers, by name.

    Returns
    -------
    nn.Module
        In the mode that the model is in.
    """
    made = copy.deepcopy(model)
    with torch.no_grad():
        for name, x in weights_of(made).items():
            x.copy_(weights[name])
    return made
