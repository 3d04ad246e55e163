"""Units of two atlases of one text that are high at the same places, against chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.places import Places

__all__ = ["NULL", "Shared", "matched_places", "shared_places"]

Array = NDArray[Any]

DOCUMENTS = 5  # the fewest over which units can be exchanged
FEWEST, DRAWS = 3, 20
#: Every place of the second atlas stays where it is; in each document it becomes that of another
#: unit, a number of units further on that is drawn anew for the document.
NULL = "UnitsShiftedByDocument()"


@dataclass(frozen=True)
class Shared:
    """How many places pairs of units share.

    Parameters
    ----------
    rows, partners : array of int, shape (n_pairs,)
        Units of the first and the second atlas.
    shared : array of int, shape (n_pairs,)
        Places at which both are highest.
    jaccard : array of float, shape (n_pairs,)
        Those, of the places at which either is.
    null : array, shape (n_draws, n_tested), optional
        The Jaccard index of what was searched, with units exchanged; None where the text has too
        few documents.
    n_tested : int
        How many units were searched.
    """

    rows: Array
    partners: Array
    shared: Array
    jaccard: Array
    null: Array | None
    n_tested: int

    @property
    def mean_null(self) -> float:
        """The mean index of those that find a partner under the null; 0 where none does."""
        found = np.zeros(0) if self.null is None else self.null[self.null > 0]
        return float(found.mean()) if len(found) else 0.0

    def tested(self) -> dict[str, Array]:
        """Return the columns of a test, null_mean, effect, p and q; none without a null.

        Returns
        -------
        dict of arrays, each of shape (n_pairs,)
            P is the share of all units and draws under the null that reach the index; q is
            corrected over the units searched, of which those without a partner have p = 1.
        """
        from nissl.statistics.correction import benjamini_hochberg

        if self.null is None:
            return {}
        drawn = np.sort(self.null.ravel())
        reached = len(drawn) - np.searchsorted(drawn, self.jaccard, side="left")
        p = np.ones(max(self.n_tested, len(reached)))
        p[: len(reached)] = (1 + reached) / (1 + len(drawn))
        mean = np.full(len(reached), drawn.mean())
        n = len(reached)
        return {
            "null_mean": mean,
            "effect": self.jaccard - mean,
            "p": p[:n],
            "q": np.asarray(benjamini_hochberg(p))[:n],
        }


def matched_places(
    a: Places, b: Places, document: Array, *, seed: int = 0, tell: Callable[[str], None]
) -> Shared:
    """Pair units of two atlases, each the best of the other by the places they share.

    Parameters
    ----------
    a, b : Places
        Of the same text.
    document : array of int, shape (n_samples,)
        Document of each sample.
    seed : int
        Of the draws.
    tell : callable
        Is told what is being done.

    Returns
    -------
    Shared
        The pairs that are mutual, and the same search with units of `b` exchanged.

    Notes
    -----
    The null keeps how many units are high at every sample, which two networks may have in common,
    and what lies together in a document. What it takes away is that a unit is one and the same in
    all documents.
    """
    from nissl.atlas._places_kernel import best_overlaps, pair_overlaps

    tell("Matching units by the places they share")
    n_samples, unit = len(document), b.unit
    order = np.argsort(b.samples, kind="stable")
    sample, unit = b.samples[order], unit[order]
    at_sample = np.r_[0, np.cumsum(np.bincount(sample, minlength=n_samples))]

    def search(shift: Array) -> tuple[Array, Array]:
        """Return the partner of each unit, -1 where it is not mutual, and their overlap."""
        moved = ((unit + shift[document[sample]]) % len(b.sizes)).astype(np.int32)
        sizes = np.bincount(moved, minlength=len(b.sizes))
        partner, overlap, back = best_overlaps(a.starts, a.samples, at_sample, moved, sizes)
        mutual = (partner >= 0) & (back[partner] == np.arange(len(partner)))
        return np.where(mutual, partner, -1), np.where(mutual, overlap, 0.0)

    still = np.zeros(int(document.max(initial=0)) + 1, np.int64)
    partner, overlap = search(still)
    rows = np.flatnonzero(partner >= 0)
    lines = np.full(len(partner), 0, np.int32)
    lines[rows] = partner[rows]
    shared = pair_overlaps(a.starts, a.samples, b.starts, b.samples, lines, document, still)
    searched = a.sizes > 0
    null = _drawn(
        lambda shift: search(shift)[1][searched],
        document,
        len(b.sizes),
        n=_draws(len(a.sizes)),
        seed=seed,
        tell=tell,
    )
    return Shared(rows, partner[rows], shared[rows], overlap[rows], null, int(searched.sum()))


def shared_places(
    a: Places,
    b: Places,
    document: Array,
    pairs: tuple[Array, Array],
    *,
    seed: int = 0,
    tell: Callable[[str], None],
) -> Shared:
    """Count the places that given pairs of units share.

    Parameters
    ----------
    a, b : Places
        Of the same text.
    document : array of int, shape (n_samples,)
        Document of each sample.
    pairs : tuple of arrays of int, each of shape (n_pairs,)
        Units of the first and the second atlas.
    seed, tell
        As in `matched_places`.

    Returns
    -------
    Shared
        The pairs, and the same with units of `b` exchanged.
    """
    from nissl.atlas._places_kernel import pair_overlaps

    tell("Counting the places that matched units share")
    rows, partners = pairs
    some = Places(np.r_[0, np.cumsum(a.sizes[rows])], _taken(a, rows))
    sample, unit = b.samples, b.unit

    def count(shift: Array) -> tuple[Array, Array]:
        moved = (unit + shift[document[sample]]) % len(b.sizes)
        sizes = np.bincount(moved, minlength=len(b.sizes))[partners]
        shared = pair_overlaps(
            some.starts, some.samples, b.starts, b.samples, partners, document, shift
        )
        return shared, shared / np.maximum(1, some.sizes + sizes - shared)

    shared, jaccard = count(np.zeros(int(document.max(initial=0)) + 1, np.int64))
    null = _drawn(
        lambda shift: count(shift)[1],
        document,
        len(b.sizes),
        n=_draws(len(rows)),
        seed=seed,
        tell=tell,
    )
    return Shared(rows, partners, shared, jaccard, null, len(rows))


def _draws(n_units: int) -> int:
    """Of many units few draws are enough: they are pooled."""
    return int(np.clip(100_000 // max(1, n_units), FEWEST, DRAWS))


def _taken(a: Places, rows: Array) -> Array:
    """Return the samples of some units, one unit after the other."""
    sizes = a.sizes[rows]
    before = np.r_[0, np.cumsum(sizes)[:-1]] if len(rows) else sizes
    places = np.repeat(a.starts[rows] - before, sizes) + np.arange(sizes.sum())
    return np.asarray(a.samples[places])


def _drawn(
    search: Callable[[Array], Array],
    document: Array,
    n_units: int,
    *,
    n: int,
    seed: int,
    tell: Callable[[str], None],
) -> Array | None:
    """Return what is found with units exchanged in every document, in each of n draws."""
    if len(np.unique(document)) < DOCUMENTS or n_units < 2:
        return None
    found = []
    for draw in range(n):
        tell(f"Matching with units exchanged, {draw + 1} of {n}")
        shift = np.random.default_rng([seed, draw]).integers(n_units, size=document.max() + 1)
        found.append(search(shift))
    return np.stack(found)
