"""Attention readout: a unit looks for its content, and reads channels where it is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from nissl.brain.readouts._torch import MapReadout
from nissl.methods import method

__all__ = ["Attention"]

WIDTH = 16  # of queries and keys


class _Attention(nn.Module):
    def __init__(self, n_places: int, n_channels: int, n_units: int) -> None:
        super().__init__()
        self.content = nn.Parameter(torch.zeros(n_channels, WIDTH))
        self.place = nn.Parameter(torch.zeros(n_places, WIDTH))
        self.queries = nn.Parameter(torch.randn(n_units, WIDTH) / 2)
        self.weights = nn.Parameter(torch.zeros(n_units, n_channels))
        self.bias = nn.Parameter(torch.zeros(n_units))

    def routing(self, x: Tensor) -> Tensor:
        """Return how much of each place goes to each unit, (n_samples, n_units, n_places)."""
        keys = x @ self.content / x.shape[-1] ** 0.5 + self.place  # steps alike for any channels
        return torch.einsum("npd,ud->nup", keys, self.queries).softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Return responses, shape (n_samples, n_units)."""
        seen = torch.einsum("npc,uc->nup", x, self.weights)
        return (seen * self.routing(x)).sum(-1) + self.bias


@method(system=43)
@dataclass(frozen=True)
class Attention(MapReadout):
    """Queries of units meet keys of places; a softmax over places routes channels to each unit.

    A key is a vector of the place and a projection of its channels.

    Parameters
    ----------
    steps : int
        At most: each unit keeps the weights that predict best in an inner fold.
    learning_rate, weight_decay : float
        Of AdamW.

    Notes
    -----
    ``fit(...).averaged(x, "routing")`` is what goes where, (n_samples, n_units, n_places).
    Source: Adeli et al. 2025, whose queries are of regions.
    """

    module: ClassVar[type[nn.Module]] = _Attention
