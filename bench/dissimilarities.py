"""Dissimilarity matrices beside rsatoolbox's arithmetic: 1,000 stimuli, 5,000 units, one thread.

What its rdm/calc.py computes is written out here, without its data sets and copies of labels; the
package was not run, nor this form compared with a released version. Correlations are an unoptimised
einsum of normalised rows. Squared Euclidean distances are a product (a symmetric one, as numpy
sees) of which nine tenths of the peer's time are: what patterns share is taken off before ours,
so that no digits are lost about a large mean, and that row's target, to be no slower, is missed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.measure import Row, in_turn, ratio
from nissl.statistics import dissimilarities

N_STIMULI, N_UNITS = 1000, 5000


def run(rounds: int = 5) -> list[Row]:
    """Return one row for each measure and precision, as multiples of the peer's speed."""
    x = np.random.default_rng(0).standard_normal((N_STIMULI, N_UNITS)).astype(np.float32)
    rows = []
    for measure, peer, target in (
        ("correlation", correlation, 10.0),
        ("euclidean", euclidean, 1.0),
    ):
        for values in (x, x.astype(np.float64)):
            arms = {
                "peer": lambda peer=peer, x=values: peer(x),
                "ours": lambda m=measure, x=values: dissimilarities(x, measure=m, progress=False),
            }
            arms["ours"]()  # what is imported once
            seconds = in_turn(arms, rounds=rounds)
            times, said = ratio(seconds["peer"], seconds["ours"])
            exact = peer(x.astype(np.float64))
            wrong = abs(dissimilarities(values, measure=measure, progress=False) - exact)
            rows.append(
                Row(
                    name=f"{measure}, {values.dtype}",
                    ratio=times,
                    unit="x rsatoolbox",
                    target=target,
                    limit=None,
                    seconds=float(np.median(seconds["ours"])),
                    more_is_better=True,
                    note=f"{said}; off by {wrong.max():.1g}",
                )
            )
    return rows


def correlation(x: Any) -> Any:
    """Return correlation distances as rsatoolbox's calc_rdm_correlation does."""
    x = x - x.mean(axis=1, keepdims=True)
    x /= np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    return 1 - np.einsum("ik,jk", x, x)


def euclidean(x: Any) -> Any:
    """Return squared distances as rsatoolbox's calc_rdm_euclidean does."""
    squares = np.sum(x**2, axis=1, keepdims=True)
    return (squares + squares.T - 2 * np.dot(x, x.T)) / x.shape[1]
