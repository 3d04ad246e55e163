"""Matryoshka: nested dictionaries, of which each first part rebuilds activity by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.features.codes import Codes
from nissl.features.kinds.batch_topk import BatchTopK
from nissl.features.kinds.kind import Weights

__all__ = ["Matryoshka"]


@dataclass(frozen=True)
class Matryoshka(BatchTopK):
    """BatchTopK whose first features are to do by themselves, so that general ones come first.

    Parameters
    ----------
    k, revive : int, float
        As in `BatchTopK`.
    parts : tuple of float
        The first shares of the features that are to rebuild activity, up to 1.

    Notes
    -----
    Source: Bussmann et al. 2025, Learning multi-level features with Matryoshka SAEs.
    """

    parts: tuple[float, ...] = (1 / 16, 1 / 4, 1.0)
    name: ClassVar[str] = "matryoshka"

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))  # a file has lists

    def begin(self, dictionary: Weights) -> None:
        """Refuse parts that are no shares in their order."""
        super().begin(dictionary)
        parts = self.parts
        if not parts or list(parts) != sorted(parts) or parts[-1] != 1.0 or parts[0] <= 0:
            raise NisslError(f"parts={parts} do not grow up to 1", do="give (0.0625, 0.25, 1.0)")

    def error(self, dictionary: Weights, features: Tensor | Codes, y: Tensor) -> Tensor:
        """Return the mean squared error over the parts, shape (n_samples,)."""
        assert isinstance(features, Tensor)
        total, built, start = torch.zeros_like(y[:, 0]), dictionary.b_dec - y, 0
        for share in self.parts:
            end = max(start + 1, round(share * features.shape[1]))
            built = built + features[:, start:end] @ dictionary.w_dec[start:end]
            total, start = total + built.square().sum(-1), end
        return total / len(self.parts)
