"""JumpReLU: features above a threshold of their own, which is trained on how many there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nissl.features.codes import Codes
from nissl.features.kinds.kind import Kind, Weights, require_k

__all__ = ["JumpReLU"]

RATE = 10.0  # Adam moves a logarithm by its learning rate: thresholds are to move faster


@dataclass(frozen=True)
class JumpReLU(Kind):
    """Features above thresholds; how many there are is held near k.

    Parameters
    ----------
    k : int
        Features of a sample, on average.
    weight : float
        Of the squared share by which there are more or fewer.
    bandwidth : float
        Within which of a threshold its gradient is estimated.

    Notes
    -----
    Source: Rajamanoharan et al. 2024, Jumping ahead; the target in place of a coefficient is their
    appendix's.
    """

    k: int = 32
    weight: float = 0.3
    bandwidth: float = 0.1
    name: ClassVar[str] = "jump_relu"

    def begin(self, dictionary: Weights) -> None:
        """Add the thresholds, as parts of their logarithms."""
        require_k(self.k, dictionary)
        dictionary.log_threshold = nn.Parameter(torch.zeros(dictionary.n_features))

    def encode(self, dictionary: Weights, scaled: Tensor) -> Tensor:
        """Return the features."""
        threshold = _threshold(dictionary)
        found: Tensor = _Jump.apply(dictionary.scores(scaled), threshold, self.bandwidth)  # type: ignore[no-untyped-call]
        return found

    def penalty(
        self, dictionary: Weights, x: Tensor, y: Tensor, features: Tensor | Codes
    ) -> Tensor:
        """Return the squared share by which there are more features than k, or fewer."""
        threshold = _threshold(dictionary)
        steps: Tensor = _Step.apply(dictionary.scores(x), threshold, self.bandwidth)  # type: ignore[no-untyped-call]
        return self.weight * (steps.sum(-1).mean() / self.k - 1).square()


def _threshold(dictionary: Weights) -> Tensor:
    found: Tensor = (RATE * dictionary.log_threshold).exp()
    return found


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(x, threshold)
        ctx.bandwidth = bandwidth
        return x * (x > threshold)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, threshold = ctx.saved_tensors
        (g,) = gradients
        near = ((x - threshold).abs() < ctx.bandwidth / 2) / ctx.bandwidth
        return g * (x > threshold), -(threshold * near * g).sum(0), None


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(x, threshold)
        ctx.bandwidth = bandwidth
        return (x > threshold).to(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, threshold = ctx.saved_tensors
        (g,) = gradients
        near = ((x - threshold).abs() < ctx.bandwidth / 2) / ctx.bandwidth
        return None, -(near * g).sum(0), None
