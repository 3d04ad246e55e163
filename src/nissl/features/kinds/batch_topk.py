"""BatchTopK: the largest features of a whole batch, k for each sample on average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nissl.features.codes import Codes
from nissl.features.kinds.kind import Kind, Weights, require_k
from nissl.features.kinds.topk import revival

__all__ = ["BatchTopK"]

MEMORY = 0.99  # of the threshold, from batch to batch


@dataclass(frozen=True)
class BatchTopK(Kind):
    """The largest features of a batch; afterwards those above the threshold that this was.

    Parameters
    ----------
    k : int
        Features of a sample, on average.
    revive : float
        Weight of the auxiliary loss.

    Notes
    -----
    Source: Bussmann et al. 2024, BatchTopK sparse autoencoders.
    """

    k: int = 32
    revive: float = 1 / 32
    name: ClassVar[str] = "batch_topk"

    def begin(self, dictionary: Weights) -> None:
        """Add the threshold, which is below zero until there is one."""
        require_k(self.k, dictionary)
        dictionary.register_buffer("threshold", torch.full((), -1.0))

    def encode(self, dictionary: Weights, scaled: Tensor) -> Tensor:
        """Return the features; in training the threshold is followed."""
        features = dictionary.scores(scaled).relu()
        threshold: Tensor = dictionary.threshold
        if not dictionary.training:
            return features * (features > threshold)
        n = min(self.k * len(features), features.numel())
        bar = features.detach().flatten().topk(n, sorted=False).values.min()
        if bar > 0:
            new = bar if threshold < 0 else MEMORY * threshold + (1 - MEMORY) * bar
            threshold.copy_(new)
        return features * (features >= bar)

    def penalty(
        self, dictionary: Weights, x: Tensor, y: Tensor, features: Tensor | Codes
    ) -> Tensor:
        """Return the auxiliary loss."""
        return self.revive * revival(dictionary, x, y, features)
