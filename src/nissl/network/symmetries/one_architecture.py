"""Whether two networks are of one architecture: the same weights by name, the same operations."""

from __future__ import annotations

from itertools import zip_longest

import torch
from torch import nn

from nissl.errors import NisslError
from nissl.network.symmetries.trace import Trace, weights_of

__all__ = ["require_same_operations", "require_same_weights"]


def require_same_weights(a: nn.Module, b: nn.Module) -> None:
    """Refuse networks whose weights have other names or shapes, or are not finite.

    Parameters
    ----------
    a, b : nn.Module
        The networks.
    """
    first, second = weights_of(a), weights_of(b)
    for name in [*first, *second]:
        if name not in first or name not in second:
            raise NisslError(
                f"only {'the first' if name in first else 'the second'} network has '{name}'",
                do="give two networks of one architecture",
            )
        x, y = first[name], second[name]
        if x.shape != y.shape:
            raise NisslError(
                f"the networks have '{name}' of shapes {tuple(x.shape)} and {tuple(y.shape)}",
                do="give two networks of one architecture and width",
            )
        if not bool(torch.isfinite(x).all() and torch.isfinite(y).all()):
            raise NisslError("weights are not finite", where=name)


def require_same_operations(one: Trace, two: Trace) -> None:
    """Refuse two runs whose operations differ.

    Parameters
    ----------
    one, two : Trace
        Of the networks, on the same example.
    """
    for x, y in zip_longest(one.operations, two.operations, fillvalue="nothing"):
        if x != y:
            raise NisslError(
                f"the networks compute differently: {x} in the first where {y} is in the second",
                do="give two networks of one architecture",
            )
