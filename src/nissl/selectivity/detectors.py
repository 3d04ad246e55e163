"""Detectors: units that fire at few tokens or n-grams, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.statistics.ngrams import Firings, NgramText

__all__ = ["detected", "triggers"]

DETECTORS = ("token", "bigram", "trigram")
NO_NGRAM = "not tested: it never fires, or no n-gram is frequent enough"


def detected(
    counts: ArrayLike, fired: ArrayLike, occurrences: ArrayLike, *, most: int, coverage: float
) -> tuple[NDArray[np.bool_], NDArray[np.floating[Any]]]:
    """Say which n-grams each unit detects: at most `most`, with a share `coverage` of both kinds.

    From how often units fired at n-grams, shape (n_labels, n_units), and in all, and how often
    n-grams occur; with the share of a unit's firings at those it detects, or else at its `most`
    commonest.

    Examples
    --------
    >>> which, covered = detected([[9, 9], [0, 9], [1, 9]], [10, 90], [9, 9, 90],
    ...                           most=1, coverage=0.9)
    >>> which.tolist(), covered.tolist()
    ([[True, False], [False, False], [False, False]], [0.9, 0.1])
    """
    found, total = np.asarray(counts), np.maximum(np.asarray(fired), 1)
    reliable = found >= coverage * np.maximum(np.asarray(occurrences), 1)[:, None]
    candidates = np.where(reliable, found, 0)
    n = min(most, len(found))
    best = np.argpartition(-candidates, n - 1, axis=0)[:n]
    which = np.zeros(found.shape, bool)
    np.put_along_axis(which, best, np.take_along_axis(candidates, best, axis=0) > 0, axis=0)
    covered = np.where(which, found, 0).sum(axis=0) / total
    detects = covered >= coverage
    commonest = -np.partition(-found, n - 1, axis=0)[:n]
    return which & detects, np.where(detects, covered, commonest.sum(axis=0) / total)


def triggers(
    firings: Firings, texts: Any, n_units: int, *, most: int, coverage: float, q: float
) -> dict[str, Any]:
    """Return the columns of `ngram` from ``covered`` to ``note``: what the units of a site fire at.

    `texts` gives the texts of token ids; the correction is over the `n_units` of all sites.
    """
    text, counts = firings.text, firings.counts()
    preferred = firings.preference.result(k=1, n_units=n_units)
    label, effect = preferred["label"][:, 0], preferred["effect"][:, 0]
    tested = (label >= 0) & (firings.fired > 0)
    # The bound is for one label; all were looked at.
    p = np.where(tested, np.minimum(preferred["p"][:, 0] * len(text.order), 1.0), 1.0)
    corrected = np.where(tested, preferred["q"][:, 0], 1.0)
    sure = corrected < q
    kind = np.full(len(label), "other", "U10")
    covered = np.zeros(len(label))
    which = np.zeros(counts.shape, bool)
    for n in range(1, int(text.order.max()) + 1):
        rows = np.flatnonzero(text.order == n)
        if not len(rows):
            continue
        found, share = detected(
            counts[rows], firings.fired, text.occurrences[rows], most=most, coverage=coverage
        )
        new = found.any(axis=0) & sure & (kind == "other")
        covered = np.where(new | (n == 1), share, covered)
        kind[new] = DETECTORS[n - 1] if n <= len(DETECTORS) else f"{n}-gram"
        which[np.ix_(rows, np.flatnonzero(new))] = found[:, new]
    some = np.where(which.any(axis=0), np.where(which, counts, -1).argmax(axis=0), label)
    return {
        "covered": covered,
        "effect": np.where(tested, effect, 0.0),
        "p": p,
        "q": corrected,
        "kind": kind,
        "trigger": np.where(some >= 0, text.ngrams[some, -1], -1),
        "triggers": _names(which, text, texts),
        # Of the activity there, less the unit's mean.
        "sign": np.where(
            tested, np.sign(firings.preference.sums[some, np.arange(len(some))]), 0
        ).astype(int),
        "note": np.where(tested, "", NO_NGRAM),
    }


def _names(which: NDArray[np.bool_], text: NgramText, texts: Any) -> list[str]:
    """Return the text of the n-grams each unit detects, with bars between them."""
    names = {}
    for label in np.flatnonzero(which.any(axis=1)):
        ids = text.ngrams[label]
        names[label] = "".join(texts(ids[ids >= 0]))
    return ["|".join(names[label] for label in np.flatnonzero(column)) for column in which.T]
