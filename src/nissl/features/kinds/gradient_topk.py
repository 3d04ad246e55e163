"""Gradient TopK: the k features of each sample that are large and that the loss depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.features.codes import Codes
from nissl.features.kinds.kind import Weights
from nissl.features.kinds.topk import TopK

__all__ = ["GradientTopK"]


@dataclass(frozen=True)
class GradientTopK(TopK):
    """The k features of each sample whose activation, raised by its gradient, is largest.

    Features are chosen by activation x (1 + weight x |gradient|), the gradient that of the
    network's loss along the feature's decoder row, in shares of its mean over the batch. After
    training, without gradients, it takes the k largest, as TopK does.

    Parameters
    ----------
    k, revive
        As in `TopK`.
    weight : float
        Of the gradient: 0 is TopK.

    Notes
    -----
    The gradient is of the next token, which activity cannot know: what is measured with gradients
    knows part of the answer. Source: Olmo et al. 2024, Features that make a difference; that the
    gradient is divided by its mean, so that the weight has no unit, is ours.
    """

    weight: float = 1.0

    name: ClassVar[str] = "gradient_topk"

    def encode(self, dictionary: Weights, scaled: Tensor, gradients: Tensor | None = None) -> Codes:
        """Return the codes."""
        if gradients is None:
            if dictionary.training:
                raise NisslError("gradient_topk learns from gradients", do="use gradient_sae")
            return super().encode(dictionary, scaled)
        features = dictionary.scores(scaled).relu()
        slope = (gradients.to(scaled) @ dictionary.w_dec.detach().T).abs()
        slope /= slope.mean().clamp(min=torch.finfo(slope.dtype).tiny)
        chosen = (features.detach() * (1 + self.weight * slope)).topk(self.k, sorted=False).indices
        return Codes(features.gather(-1, chosen), chosen, dictionary.n_features)
