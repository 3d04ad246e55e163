"""Centred kernel alignment: the cosine of two kernels of the same stimuli."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nissl.alignment.measures.measure import Array, PairMeasure, of_norm_one
from nissl.errors import TooFewSamples
from nissl.statistics import gram

__all__ = ["CKA"]


@dataclass(frozen=True)
class CKA(PairMeasure):
    """Centred kernel alignment, without the bias that makes wide noise look alike.

    Parameters
    ----------
    kernel : {"linear", "rbf"}
        Of two patterns, as in `nissl.statistics.gram`.
    biased : bool
        As first published: of two independent arrays of noise, 50 stimuli by 500 units, 0.91.

    Notes
    -----
    Source: Kornblith et al. 2019; unbiased: Song et al. 2012, eq. 5, by the U-centred kernels of
    Szekely and Rizzo 2014.
    """

    kernel: str = "linear"
    biased: bool = False
    name = "cka"
    invariant = ("translation", "rotation", "scale")

    def prepare(self, x: Any) -> Array:
        """Return the kernel."""
        return gram(x, kernel=self.kernel, centre=self.kernel == "linear", progress=False)

    def normalise(self, prepared: Array) -> Array:
        """Return the kernel, centred, its norm one."""
        n = len(prepared)
        if n < 4:
            raise TooFewSamples(
                f"{n} stimuli are too few for CKA", do="give four or more, five for an interval"
            )
        if self.biased:
            rows = prepared.mean(0)
            made = prepared - rows - rows[:, None] + rows.mean()
        else:
            inner = prepared - np.diag(np.diag(prepared))
            rows = inner.sum(0) / (n - 2)
            made = inner - rows - rows[:, None] + rows.sum() / (n - 1)
            np.fill_diagonal(made, 0.0)
        return of_norm_one(made, least=1e-12 * float(np.linalg.norm(prepared)))
