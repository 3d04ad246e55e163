"""Effective features: how many features a site carries, by the entropy of their activity."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nissl.errors import NisslError
from nissl.methods import method
from nissl.network import Dictionary
from nissl.recording import Recording, as_recording, chunks

__all__ = ["effective_features"]


@method(system=44)
def effective_features(
    activity: Recording | np.ndarray[Any, Any], dictionary: Dictionary | None = None
) -> float:
    """Return how many features would be as diverse, were all active alike.

    Parameters
    ----------
    activity : array or Recording, shape (n_samples, n_features) or (n_samples, n_units)
        Features, or with a `dictionary` what it encodes; read a chunk at a time.
    dictionary : Dictionary, optional
        It is to have more features than are expected.

    Returns
    -------
    float
        The exponential of the entropy of each feature's share of all activation. More than there
        are units is superposition; but a dictionary finds features in noise too: compare with
        activity whose units were shuffled each by itself.

    Raises
    ------
    NisslError
        A value is not finite, or none is active. Source: Bereska et al. 2025.

    Examples
    --------
    >>> effective_features(np.eye(5).repeat(3, axis=0))
    5.0
    """
    total: Any = 0.0
    for chunk in chunks(as_recording(activity) if isinstance(activity, np.ndarray) else activity):
        x = chunk.values
        if dictionary is not None:
            x = dictionary.encode(torch.tensor(x).to(dictionary.directions)).numpy(force=True)
        total = total + np.abs(x).sum(0, dtype=np.float64)
    if not np.isfinite(total).all() or not np.sum(total) > 0:
        raise NisslError("features are not finite, or none is active", do="look at the dictionary")
    share = total[total > 0] / total.sum()
    return float(round(np.exp(-(share * np.log(share)).sum()), 9))
