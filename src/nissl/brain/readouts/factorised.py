"""Factorised readout: a unit sees channels through one mask over places, its receptive field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from nissl.brain.readouts._torch import MapReadout

__all__ = ["Factorised", "FactorisedModule"]


class FactorisedModule(nn.Module):
    """Predicts from maps, shape (n_samples, n_places, n_channels)."""

    def __init__(self, n_places: int, n_channels: int, n_units: int) -> None:
        super().__init__()
        self.mask = nn.Parameter(torch.full((n_units, n_places), n_places**-0.5))
        self.weights = nn.Parameter(torch.zeros(n_units, n_channels))
        self.bias = nn.Parameter(torch.zeros(n_units))

    def forward(self, x: Tensor) -> Tensor:
        """Return responses, shape (n_samples, n_units)."""
        seen = torch.einsum("npc,uc->nup", x, self.weights)
        return (seen * self.mask).sum(-1) + self.bias


@dataclass(frozen=True)
class Factorised(MapReadout):
    """A mask over places times weights of channels, for each unit.

    Parameters
    ----------
    steps : int
        At most: each unit keeps the weights that predict best in an inner fold.
    learning_rate, weight_decay : float
        Of AdamW.

    Notes
    -----
    Source: Klindt et al. 2017, Neural system identification for large populations separating "what"
    and "where".
    """

    module: ClassVar[type[nn.Module]] = FactorisedModule
