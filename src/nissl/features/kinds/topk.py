"""TopK: the k largest features of each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nissl.features.codes import Codes, top_codes
from nissl.features.kinds.kind import Kind, Weights, require_k

__all__ = ["TopK", "revival"]


@dataclass(frozen=True)
class TopK(Kind):
    """The k largest features of each sample, those below zero at zero.

    Parameters
    ----------
    k : int
        Features of a sample.
    revive : float
        Weight of the auxiliary loss, by which features that are silent learn what is left.

    Notes
    -----
    Source: Gao et al. 2024, Scaling and evaluating sparse autoencoders.
    """

    k: int = 32
    revive: float = 1 / 32
    name: ClassVar[str] = "topk"

    def begin(self, dictionary: Weights) -> None:
        """Refuse more features of a sample than there are."""
        require_k(self.k, dictionary)

    def encode(self, dictionary: Weights, scaled: Tensor) -> Codes:
        """Return the codes."""
        return top_codes(scaled, dictionary.w_enc, dictionary.bias(), self.k)

    def penalty(
        self, dictionary: Weights, x: Tensor, y: Tensor, features: Tensor | Codes
    ) -> Tensor:
        """Return the auxiliary loss."""
        return self.revive * revival(dictionary, x, y, features)


def revival(dictionary: Weights, x: Tensor, y: Tensor, features: Tensor | Codes) -> Tensor:
    """Return the error of silent features at what is left, in shares of what is left.

    Parameters
    ----------
    dictionary : Weights
        Its ``silent`` counts samples since each feature was last active.
    x, y : Tensor, shape (n_samples, width)
        What is encoded, and what is to be decoded.
    features : Tensor or Codes
        What was found.

    Returns
    -------
    Tensor, shape ()
        Zero where no feature is silent.
    """
    silent = (dictionary.silent > dictionary.patience).nonzero().flatten()
    if not len(silent):
        return torch.zeros((), device=y.device)
    left = (y - dictionary.decoded(features)).detach()
    k = min(len(silent), max(x.shape[1] // 2, 1))
    bias = dictionary.bias()[silent].detach()
    w_enc, w_dec = dictionary.w_enc[silent], dictionary.w_dec[silent]
    if k < len(silent):
        built = top_codes(x, w_enc, bias, k).decode(w_dec)
    else:
        built = torch.nn.functional.linear(x, w_enc, bias).relu() @ w_dec
    off = left - built
    return (off.square().sum() / left.square().sum().clamp_min(1e-12)).nan_to_num()
