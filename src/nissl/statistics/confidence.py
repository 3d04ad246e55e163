"""Confidence: whether a network is right as often as it says."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nissl.errors import NisslError

__all__ = ["calibration_error"]


def calibration_error(confidence: ArrayLike, correct: ArrayLike, *, n_bins: int = 15) -> float:
    """Return the expected calibration error: how far confidence is from accuracy.

    Parameters
    ----------
    confidence : array, shape (n,)
        The probability given to each answer, from 0 to 1.
    correct : array of bool, shape (n,)
        Whether it was right.
    n_bins : int
        Bins of equal width, by confidence.

    Returns
    -------
    float
        The mean over answers of the distance between the mean confidence of their bin and its
        accuracy: 0 is best, 1 worst.

    Raises
    ------
    NisslError
        There is nothing, lengths differ, a confidence is no probability, or there is no bin.

    Notes
    -----
    Few answers in a bin make it larger: compare networks on the same number of answers.
    Source: Guo et al. 2017, equation 3.

    Examples
    --------
    >>> round(calibration_error([0.9, 0.9, 0.6, 0.6], [True, True, True, False]), 3)
    0.1
    """
    p, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if p.ndim != 1 or p.shape != right.shape or not len(p):
        raise NisslError(
            f"confidences of shape {p.shape} do not fit answers of shape {right.shape}",
            do="give one of each for each answer",
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise NisslError("a confidence is not between 0 and 1", do="give probabilities")
    if n_bins < 1:
        raise NisslError(f"n_bins={n_bins} leaves no bin", do="give n_bins=1 or more")
    bins = np.minimum((p * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, weights=p - right, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(p))
