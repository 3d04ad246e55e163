"""Programming-language neurons: those that programming languages share, and those of one alone."""

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
    from nissl.selectivity.specificity import ActivationRates

__all__ = ["programming_neurons"]


@method(system=192)
def programming_neurons(
    rec: Recording,
    *,
    labels: str = "language",
    n_per_label: int = 100,
    bar: float = 0.95,
    test: Test = Test(),
) -> Finding:
    """Find the neurons of each programming language, shared with others or its own alone.

    A language's neurons are those of the lowest entropy over languages among the units that are
    open in it more often than `bar` of all units are in all languages: equally many for each, so
    that a language whose constructs are common to many has neurons too. Those that are in one
    language's list alone are exclusive.

    Parameters
    ----------
    rec : Recording, shape (n_documents, n_units)
        Share of each document's tokens at which each unit is open (`document_activity`).
    labels : str
        Sample coordinate that names the language.
    n_per_label : int
        Neurons of each language.
    bar : float
        The quantile of all shares, over units and languages.
    test : Test
        Null, draws (200), tail, correction over all units, seed.
        ``PermutedLabels(exchange="file")`` permutes whole files, where documents are parts of one.

    Returns
    -------
    Finding
        One row for each unit: ``specificity`` (one less the entropy, as a share of the largest),
        its effect, p and q; ``kind``: "exclusive" (in one language's list), "shared" (in several)
        or ""; ``labels``: those languages, joined by "; ". A unit that is never open has p = 1 and
        a note.

    Raises
    ------
    TooFewSamples
        There is one language only, or a language has fewer than two documents.
    NisslError
        The values are no shares, `bar` is no share, or `n_per_label` is less than one.

    Notes
    -----
    Source: Kargaran et al. 2025, section 3.3, after Tang et al. 2024. The null is ours; kinds do
    not depend on it.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> language = np.repeat(["c", "java", "python"], 6)
    >>> shares = rng.uniform(0.1, 0.2, (18, 50))
    >>> shares[:, 7] = np.where(language == "python", 0.9, 0.01)
    >>> shares[:, 8] = np.where(language == "python", 0.01, 0.9)
    >>> rec = as_recording(shares, samples={"language": language})
    >>> found = programming_neurons(rec, n_per_label=1)
    >>> found.table[found.table["kind"] != ""][["unit", "kind", "labels"]].values.tolist()
    [['unit[7]', 'exclusive', 'python'], ['unit[8]', 'shared', 'c; java']]
    """
    if n_per_label < 1:
        raise NisslError(f"n_per_label={n_per_label} takes no neurons", do="give 1 or more")
    shares = activation_rates(rec, labels)
    found = against_permuted(rec, shares, method="programming_neurons", test=test)
    listed = _listed(shares, n_per_label, bar)
    n_languages = listed.sum(axis=0)
    kind = np.where(n_languages == 1, "exclusive", np.where(n_languages > 1, "shared", ""))
    said = {"n_per_label": n_per_label, "bar": bar}
    return found.assign(said, kind=kind, labels=joined(shares.kinds, listed))


def _listed(shares: ActivationRates, n: int, bar: float) -> NDArray[np.bool_]:
    """Return which units are in each language's list, shape (n_kinds, n_units)."""
    over, specific = over_bar(shares, bar), specificity(shares.share)
    listed = np.zeros(over.shape, dtype=bool)
    for row, one in enumerate(over):
        candidates = np.flatnonzero(one)
        listed[row, candidates[np.argsort(-specific[candidates], kind="stable")[:n]]] = True
    return listed
