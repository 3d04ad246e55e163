"""Linear readout: ridge regression, a penalty for each unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nissl.brain.readouts.readout import Array, Fitted, Readout
from nissl.statistics import ridge

__all__ = ["Linear"]


@dataclass(frozen=True)
class Linear(Readout):
    """Ridge regression from all features.

    Parameters
    ----------
    bands : tuple of str or int, optional
        The band of each feature: bands have weights of their own.
    """

    bands: tuple[Any, ...] | None = None

    def fit(self, x: Array, y: Array, *, groups: Any, seed: int = 0) -> Fitted:
        """Return the regression: see `nissl.statistics.ridge`."""
        bands = None if self.bands is None else np.asarray(self.bands)
        made: Fitted = ridge(x, y, folds=groups, bands=bands, seed=seed, progress=False)
        return made
