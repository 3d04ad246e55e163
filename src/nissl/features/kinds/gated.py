"""Gated: whether a feature is active, and how much, are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from nissl.features.codes import Codes
from nissl.features.kinds.kind import Kind, Weights

__all__ = ["Gated"]


@dataclass(frozen=True)
class Gated(Kind):
    """A gate opens a feature, a scale and a bias of its own say how large it is.

    Parameters
    ----------
    l1 : float
        Weight of the sum of what opens the gates, divided by the root of the width.

    Notes
    -----
    Source: Rajamanoharan et al. 2024, Improving dictionary learning with gated sparse autoencoders.
    """

    l1: float = 0.3
    name: ClassVar[str] = "gated"

    def begin(self, dictionary: Weights) -> None:
        """Add the scale, as a logarithm, and the bias."""
        dictionary.log_size = nn.Parameter(torch.zeros(dictionary.n_features))
        dictionary.b_size = nn.Parameter(torch.zeros(dictionary.n_features))

    def encode(self, dictionary: Weights, scaled: Tensor) -> Tensor:
        """Return the features."""
        scores = dictionary.scores(scaled)
        sizes = (scores - dictionary.b_enc) * dictionary.log_size.exp() + dictionary.b_size
        found: Tensor = sizes.relu() * (scores > 0)
        return found

    def penalty(
        self, dictionary: Weights, x: Tensor, y: Tensor, features: Tensor | Codes
    ) -> Tensor:
        """Return the sum of the gates' scores, and the error if they were the features."""
        gates, rows = dictionary.scores(x).relu(), dictionary.w_dec.detach()
        sizes: Tensor = gates @ rows.norm(dim=-1)
        off = y - gates @ rows - dictionary.b_dec.detach()
        share: Tensor = off.square().sum(-1).mean() / y.shape[1]
        return sizes.mean() * float(self.l1 / y.shape[1] ** 0.5) + share
