"""Effective features: how many features a site carries, by the entropy of their activity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nissl.errors import NisslError
from nissl.methods import method

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["effective_features"]


@method(system=44)
def effective_features(features: ArrayLike | Recording) -> float:
    """Return how many features would be as diverse, were all active alike.

    More than the site has units is superposition: units that the network simulates.

    Parameters
    ----------
    features : array or Recording, shape (n_samples, n_features)
        Activations of a dictionary of the site. It is to have more features than are expected.

    Returns
    -------
    float
        The exponential of the entropy of each feature's share of all activation.

    Raises
    ------
    NisslError
        A value is not finite, or none is active.

    Notes
    -----
    Source: Bereska et al. 2025, Superposition as lossy compression. A dictionary finds features in
    noise too: compare with one of activity whose units were shuffled each by itself.

    Examples
    --------
    >>> effective_features(np.eye(5).repeat(3, axis=0))
    5.0
    """
    x: Any = np.asarray(getattr(features, "values", features), dtype=np.float64)
    share = np.abs(x).sum(axis=0)
    if not np.isfinite(share).all() or not share.sum() > 0:
        raise NisslError("features are not finite, or none is active", do="look at the dictionary")
    share = share[share > 0] / share.sum()
    return float(round(np.exp(-(share * np.log(share)).sum()), 9))
