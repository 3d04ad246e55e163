"""Recovery: how many of the features that were planted a dictionary has found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment

from nissl.errors import NisslError

if TYPE_CHECKING:
    from nissl.network import Dictionary
    from nissl.specimens.planted import PlantedFeatures

__all__ = ["recovery"]

Array = np.ndarray[Any, Any]
SCORES = ("recovered", "cosine", "precision", "recall", "f1")


def recovery(
    found: Dictionary | Array,
    planted: PlantedFeatures,
    *,
    features: Array | None = None,
    n_bins: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """Match what was found to the features that were planted, and say how well it detects them.

    Parameters
    ----------
    found : Dictionary, or array, shape (n_directions, n_units)
        A dictionary, whose features are active above zero, trained on the first half of the
        samples; or directions, such as the components of a PCA.
    planted : PlantedFeatures
        The data and the truth.
    features : array, shape (n_samples, n_directions), optional
        How large each direction is in each sample; by default, its product with activity.
    n_bins : int
        Into how many bins of rate the true features are divided; 0 for no bins.
    seed : int
        Of the random directions.

    Returns
    -------
    DataFrame
        A row for all features, then one for each bin (``rate_low``, ``rate_high``, ``n``): the
        share ``recovered``, whose |cosine| to their match is at least 0.9; means of that ``cosine``
        and of ``precision``, ``recall`` and ``f1`` of detection; and, as ``random_recovered`` and
        so on, the same of as many random directions.

    Raises
    ------
    NisslError
        The shapes do not fit, or a value is not finite.

    Notes
    -----
    A true feature has one match at most, so that the sum of |cosine| is largest; without one its
    scores are zero. A direction, also a random one, is active above the threshold of the best F1 on
    the first half of the samples; the other half is scored. Directions are thus told what a
    dictionary is not, and chance is high where features are frequent: what is always active detects
    a feature of rate r with F1 2 r / (1 + r). Source of cosines: Sharkey et al. 2022.

    Examples
    --------
    >>> from nissl.specimens import load
    >>> planted = load("planted-zipf", n_samples=10_000)
    >>> known = recovery(planted.directions, planted, features=planted.features.values)
    >>> known.loc[0, ["recovered", "f1"]].tolist()
    [1.0, 1.0]
    """
    rate, activity = planted.features["rate"].values, planted.activity.values
    truth, half = planted.features.values > 0, len(activity) // 2
    rows = found if isinstance(found, np.ndarray) else found.directions.detach().cpu().numpy()
    given = np.zeros((len(activity), len(rows))) if features is None else features
    fits = rows.shape[1:] == activity.shape[1:] and given.shape == (len(activity), len(rows))
    if not (fits and np.isfinite(rows).all() and np.isfinite(given).all()):
        said = f"directions {rows.shape}, features {given.shape}, activity {activity.shape}"
        raise NisslError(f"shapes do not fit, or a value is not finite: {said}")
    drawn = np.random.default_rng(seed).standard_normal(rows.shape).astype(activity.dtype)
    scores = np.zeros((2, len(SCORES), truth.shape[1]))
    for directions, sizes, score in ((rows, features, scores[0]), (drawn, None, scores[1])):
        norms = np.linalg.norm(directions, axis=1)
        cosines = planted.directions @ directions.T / np.where(norms > 0, norms, 1)
        true, own = linear_sum_assignment(-np.abs(cosines))
        cosine, there = cosines[true, own], truth[:, true]
        if directions is rows and not isinstance(found, np.ndarray):
            parts = torch.from_numpy(activity[half:]).to(found.directions.device).split(8192)
            with torch.no_grad():
                on = torch.cat([(found.encode(x) > 0)[:, own].cpu() for x in parts]).numpy()
        else:
            used = activity @ directions[own].T if sizes is None else sizes[:, own]
            on = _above_best(used * np.sign(cosine), there)
        right, claims, is_on = (x.sum(0) for x in (on & there[half:], on, there[half:]))
        below = np.maximum((claims, is_on, (claims + is_on) / 2), 1)
        score[:, true] = np.abs(cosine) >= 0.9, np.abs(cosine), *(right / below)
    order = np.argsort(rate, kind="stable")
    bins = [order, *(np.array_split(order, min(n_bins, len(order))) if n_bins > 0 else ())]
    values = [
        (rate[x].min(), rate[x].max(), len(x), *scores[..., x].mean(-1).ravel()) for x in bins
    ]
    names = ["rate_low", "rate_high", "n", *SCORES, *(f"random_{name}" for name in SCORES)]
    return pd.DataFrame(values, columns=names)


def _above_best(sizes: Array, truth: Array) -> Array:
    """Return what is above the best threshold of the first half, in the other half."""
    half = len(truth) // 2
    order = np.argsort(-sizes[:half], axis=0)
    right = np.take_along_axis(truth[:half], order, 0).cumsum(0)
    f1 = right / (np.arange(1, half + 1)[:, None] + right[-1])
    last = f1.argmax(0)[None]
    ends = [np.take_along_axis(order, np.minimum(last + i, half - 1), 0) for i in (0, 1)]
    inside, outside = (np.take_along_axis(sizes, end, 0) for end in ends)
    return np.asarray(sizes[half:] >= (inside + outside) / 2)
