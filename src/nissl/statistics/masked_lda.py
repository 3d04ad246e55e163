"""Masked discriminants: PCA and LDA on the units in which training classes differ most."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError

__all__ = ["masked_lda"]

Array = NDArray[np.floating[Any]]


def masked_lda(n_units: int | None = 20, *, n_features: int = 1, variance: float = 0.9) -> Any:
    """Return a classifier: a mask of units, principal components, linear discriminants.

    Parameters
    ----------
    n_units : int or None
        How many units the mask keeps: those of which the classes explain most variance. None: all.
    n_features : int
        How many blocks the columns are, each with a column for every unit; a unit is kept or
        dropped in all of them, by the mean over them.
    variance : float
        Share of the variance that components keep.

    Returns
    -------
    scikit-learn Pipeline
        With ``fit`` and ``predict``; columns are standardised. All of it, the mask too, is chosen
        on what it is fitted to.

    Raises
    ------
    NisslError
        A number is out of its range; when fitted, columns are no blocks of equal size.

    Examples
    --------
    >>> x, y = np.random.default_rng(0).standard_normal((60, 50)), np.arange(60) % 2
    >>> x[:, 7] += 4 * y
    >>> bool(masked_lda(1).fit(x[:40], y[:40]).score(x[40:], y[40:]) > 0.9)
    True

    Source: Dey et al. 2012 (system 13), whose mask is of voxels; the measure of a unit is ours.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.feature_selection import SelectKBest
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if (n_units is not None and n_units < 1) or n_features < 1 or not 0 < variance < 1:
        raise NisslError(
            f"n_units={n_units}, n_features={n_features}, variance={variance}",
            where="masked_lda",
            do="give one unit and one feature or more, and a share between 0 and 1",
        )
    kept: Any = "all" if n_units is None else n_units * n_features
    mask = SelectKBest(partial(_between, n_features=n_features), k=kept)
    return make_pipeline(StandardScaler(), mask, PCA(variance), LinearDiscriminantAnalysis())


def _between(x: Array, y: NDArray[Any], *, n_features: int) -> Array:
    """Return the share of standardised columns' variance between classes, the mean over blocks."""
    if x.shape[1] % n_features:
        raise NisslError(
            f"{x.shape[1]} columns are no {n_features} blocks of equal size", where="n_features"
        )
    between = np.zeros(x.shape[1])
    for name in np.unique(y):
        between += (y == name).mean() * x[y == name].mean(axis=0) ** 2
    return np.tile(between.reshape(n_features, -1).mean(axis=0), n_features)
