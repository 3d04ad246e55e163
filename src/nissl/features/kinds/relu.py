"""ReLU: features above zero, made few by the sum of their sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nissl.features.codes import Codes
from nissl.features.kinds.kind import Kind, Weights

__all__ = ["ReLU"]


@dataclass(frozen=True)
class ReLU(Kind):
    """Features above zero; their sizes, times the norms of their rows, are added to the loss.

    Parameters
    ----------
    l1 : float
        Weight of the sum, divided by the root of the width.

    Notes
    -----
    Source: Bricken et al. 2023; Cunningham et al. 2023; norms of rows in place of a constraint,
    Conerly et al. 2024, Update on how we train SAEs.
    """

    l1: float = 0.3
    name: ClassVar[str] = "relu"

    def encode(self, dictionary: Weights, scaled: Tensor) -> Tensor:
        """Return the features."""
        return dictionary.scores(scaled).relu()

    def penalty(
        self, dictionary: Weights, x: Tensor, y: Tensor, features: Tensor | Codes
    ) -> Tensor:
        """Return the sum of sizes, a mean over samples."""
        assert isinstance(features, Tensor)
        sizes: Tensor = features @ dictionary.w_dec.norm(dim=-1)
        return sizes.mean() * float(self.l1 / y.shape[1] ** 0.5)
