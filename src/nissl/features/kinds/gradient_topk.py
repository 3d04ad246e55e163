"""Gradient TopK: the k features of each sample that the loss depends on most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nissl.features.codes import Codes
from nissl.features.kinds.kind import Weights
from nissl.features.kinds.topk import TopK

__all__ = ["GradientTopK"]


@dataclass(frozen=True)
class GradientTopK(TopK):
    """The k features of each sample whose activation times gradient is largest in size.

    Without gradients, as after training, it takes the k largest, as TopK does.

    Parameters
    ----------
    k, revive
        As in `TopK`.

    Notes
    -----
    The gradient of a feature is that of the network's loss at the site, times the feature's decoder
    row. It is of the next token, which activity cannot know: what is measured with gradients knows
    part of the answer. Source: Olmo et al. 2024, Features that make a difference.
    """

    name: ClassVar[str] = "gradient_topk"

    def encode(self, dictionary: Weights, scaled: Tensor, gradients: Tensor | None = None) -> Codes:
        """Return the codes."""
        if gradients is None:
            return super().encode(dictionary, scaled)
        features = dictionary.scores(scaled).relu()
        effect = features.detach() * (gradients.to(scaled) @ dictionary.w_dec.detach().T)
        chosen = effect.abs().topk(self.k, sorted=False).indices
        return Codes(features.gather(-1, chosen), chosen, dictionary.n_features)
