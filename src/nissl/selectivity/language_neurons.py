"""Language neurons: those open in one language, in several, or in all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.methods import method
from nissl.selectivity.members import joined
from nissl.selectivity.specificity import activation_rates, against_permuted, over_bar, specificity
from nissl.statistics import Finding, Test

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["language_neurons"]

LARGEST_WEIGHT, STEPS = 0.2, 12  # of the search for the weight of the largest share


@method(system=164)
def language_neurons(
    rec: Recording,
    *,
    labels: str = "language",
    top: float = 0.01,
    bar: float = 0.95,
    weight: float | None = None,
    test: Test = Test(),
) -> Finding:
    """Class every unit as specific to a language, related to several, or agnostic.

    The most specific units are taken, by one less the entropy of languages given that the unit is
    open, plus `weight` times how often it is open in its foremost language. Those languages are the
    unit's in which it is open more often than `bar` of all units are in all languages.

    Parameters
    ----------
    rec : Recording, shape (n_documents, n_units)
        Share of each document's tokens at which each unit is open (`document_activity`).
    labels : str
        Sample coordinate that names the language.
    top : float
        Share of all units taken as language neurons.
    bar : float
        The quantile of all shares, over units and languages.
    weight : float, optional
        Of how often a unit is open, against its entropy. By default the largest, up to 0.2, with
        which no language neuron is over the bar in all languages.
    test : Test
        Null, draws (200), tail, correction over all units, seed.
        ``PermutedLabels(within="article")`` permutes languages inside an article of a parallel
        text, so that what is said cannot pass for the language in which it is said.

    Returns
    -------
    Finding
        One row for each unit: ``specificity`` (one less the entropy, as a share of the largest),
        its effect, p and q; ``kind``: "specific" (one language), "related" (several),
        "agnostic" (over the bar in all) or ""; ``labels``: its languages, joined by "; ".
        A unit that is never open has p = 1 and a note.

    Raises
    ------
    TooFewSamples
        There is one language only, or a language has fewer than two documents.
    NisslError
        The values are no shares, or `top` or `bar` is no share.

    Notes
    -----
    Source: Zhang et al. 2025, section 3 (entropy and largest probability); Tang et al. 2024. The
    null is ours; kinds do not depend on it. A small network has few: of SmolLM2 (46,080 units) five
    are called specific, and with ``bar=0.8`` silencing its "English" units lowers the loss on
    English text. Ablate what is found (`nissl.behaviour.ablation_effect`) before it is believed.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> language = np.repeat(["french", "german", "thai"], 6)
    >>> shares = rng.uniform(0.1, 0.2, (18, 50))
    >>> shares[:, 7] = np.where(language == "thai", 0.9, 0.01)
    >>> found = language_neurons(as_recording(shares, samples={"language": language}), top=0.02)
    >>> found.significant().table[["unit", "kind", "labels"]].values.tolist()
    [['unit[7]', 'specific', 'thai']]
    """
    if not 0 < top < 1:
        raise NisslError(f"top={top} is no share", do="give a number between 0 and 1")
    shares = activation_rates(rec, labels)
    found = against_permuted(rec, shares, method="language_neurons", test=test)
    over = over_bar(shares, bar)
    n_top = max(round(top * over.shape[1]), 1)
    weight = _weight(shares.share, over, n_top) if weight is None else weight
    taken = np.zeros(over.shape[1], dtype=bool)
    taken[_most(shares.share, n_top, weight)] = True
    n_languages = over.sum(axis=0)
    kind = np.full(len(taken), "", dtype="<U8")
    kind[taken & (n_languages == 1)] = "specific"
    kind[taken & (n_languages > 1)] = "related"
    kind[n_languages == len(over)] = "agnostic"
    return found.assign(
        {"top": top, "bar": bar, "weight": weight},
        kind=kind,
        labels=joined(shares.kinds, over & (kind != "")),
    )


def _weight(share: NDArray[np.float64], over: NDArray[np.bool_], n_top: int) -> float:
    """Bisect the largest weight with which no unit that is taken is over the bar everywhere."""

    def fits(weight: float) -> bool:
        return not over[:, _most(share, n_top, weight)].all(axis=0).any()

    low, high = 0.0, LARGEST_WEIGHT
    if fits(high):
        return high
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _most(share: NDArray[np.float64], n_top: int, weight: float) -> NDArray[np.int64]:
    """Return the most specific units by the weighted score."""
    k = len(share)
    expected = (1 / np.arange(1, k + 1)).sum() / k  # of the largest of k parts of a broken stick
    score = specificity(share) + weight * share.max(axis=0) / expected
    score[~share.any(axis=0)] = -np.inf
    return np.argsort(-score, kind="stable")[:n_top]
