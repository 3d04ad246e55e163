"""Modulated readout: what a stimulus holds as a whole scales channels and places of its maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from nissl.brain.readouts._torch import MapReadout
from nissl.brain.readouts.factorised import FactorisedModule
from nissl.methods import method

__all__ = ["Modulated"]


class _Modulated(FactorisedModule):
    def __init__(self, n_places: int, n_channels: int, n_units: int) -> None:
        super().__init__(n_places, n_channels, n_units)
        self.channels = nn.Parameter(torch.zeros(n_channels, n_channels))
        self.places = nn.Parameter(torch.zeros(n_channels, n_places))

    def forward(self, x: Tensor) -> Tensor:
        """Return responses, shape (n_samples, n_units)."""
        whole = x.mean(1) / x.shape[-1]  # steps alike for any channels
        scale = (1 + whole @ self.channels)[:, None] * (1 + whole @ self.places)[:, :, None]
        return super().forward(x * scale)


@method(system=48)
@dataclass(frozen=True)
class Modulated(MapReadout):
    """A factorised readout whose channels and places a stimulus scales by its pooled channels.

    Parameters
    ----------
    steps : int
        At most: each unit keeps the weights that predict best in an inner fold.
    learning_rate, weight_decay : float
        Of AdamW.

    Notes
    -----
    Scales are shared by all units. Source: Saha et al. 2025, semantic modulation of receptive
    fields and feature maps, which they do by a spatial transformer.
    """

    module: ClassVar[type[nn.Module]] = _Modulated
