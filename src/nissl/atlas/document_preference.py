"""Which label of documents, such as their language, a unit prefers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.statistics import Test

__all__ = ["document_preference"]

Array = NDArray[Any]
FEWEST = 4  # documents of a label, and of all others
AT_ONCE = 16  # permutations in one product


def document_preference(means: Array, labels: Array, *, test: Test = Test()) -> dict[str, Array]:
    """Return for every unit the label of documents in which it is most active.

    Parameters
    ----------
    means : array, shape (n_documents, n_units)
        Mean activity of each unit in each document.
    labels : array of str, shape (n_documents,)
        Label of each document.
    test : Test
        Draws (1,000 permutations of labels over documents) and seed.

    Returns
    -------
    dict of arrays, each of shape (n_units,)
        ``label`` (empty where there are fewer than two labels of four documents), ``effect``
        (difference of means between the label's documents and all others in pooled deviations,
        Cohen's d), and ``q`` (of the label's rank sum, corrected by the maximum over all units
        and labels).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat(["english", "german"], 20)
    >>> means = rng.standard_normal((40, 2)) + np.outer(labels == "german", [0, 5])
    >>> found = document_preference(means, labels)
    >>> str(found["label"][1]), bool(found["q"][1] < 0.05), bool(found["q"][0] < 0.05)
    ('german', True, False)
    """
    rows = np.isfinite(means).all(axis=1) | (np.isfinite(means).mean(axis=1) > 0.5)
    means, labels = means[rows], np.asarray(labels)[rows]
    n_documents, n_units = means.shape
    names, counts = np.unique(labels, return_counts=True)
    names = names[(counts >= FEWEST) & (n_documents - counts >= FEWEST) & (names != "")]
    if not len(names):
        nothing = np.full(n_units, np.nan)
        return {"label": np.full(n_units, "", "U1"), "effect": nothing, "q": np.ones(n_units)}
    from scipy.stats import rankdata

    # Ranks have one distribution in all units, so none with heavy tails rules the maximum.
    z = rankdata(np.nan_to_num(means), axis=0)
    z -= (n_documents + 1) / 2
    z = (z / np.maximum(z.std(axis=0), 1e-12)).astype(np.float32)
    member = (labels[:, None] == names).astype(np.float32)
    # With z standardised this is a contrast of unit variance under the null, whatever the counts.
    weights = _contrasts(member)
    observed = weights.T @ z
    best = observed.argmax(axis=0)
    score = observed[best, np.arange(n_units)]
    rng, n_permutations = np.random.default_rng(test.seed), test.draws(1000)
    highest = np.empty(n_permutations)
    for first in range(0, n_permutations, AT_ONCE):
        several = range(first, min(first + AT_ONCE, n_permutations))
        drawn = np.stack([weights[rng.permutation(n_documents)].T for _ in several])
        product = drawn.reshape(-1, n_documents) @ z
        highest[first : first + len(several)] = product.reshape(len(several), -1).max(axis=1)
    exceed = n_permutations - np.searchsorted(np.sort(highest), score, side="left")
    effect = _cohens_d(np.nan_to_num(means), member)[best, np.arange(n_units)]
    return {
        "label": names[best],
        "effect": effect,
        "q": (1 + exceed) / (1 + n_permutations),
    }


def _contrasts(member: Array) -> Array:
    """Return weights of documents whose product with standardised means has variance one."""
    n_in = member.sum(axis=0)
    n = len(member)
    weights: Array = (member - n_in / n) * np.sqrt(n / (n_in * (n - n_in)))
    return weights.astype(np.float32)


def _cohens_d(means: Array, member: Array) -> Array:
    """Return the effect of each label on each unit, shape (n_labels, n_units)."""
    n, total, squares = len(means), means.sum(axis=0), (means**2).sum(axis=0)
    n_in = member.sum(axis=0)[:, None]
    inside, inside_squares = member.T @ means, member.T @ means**2
    outside = total - inside
    within = inside_squares - inside**2 / n_in
    within += squares - inside_squares - outside**2 / (n - n_in)
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = np.sqrt(np.maximum(within, 0) / (n - 2))
        d: Array = (inside / n_in - outside / (n - n_in)) / pooled
    return d
