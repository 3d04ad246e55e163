"""Parallel language-specific neuron detection: what documents of one language always activate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.methods import method
from nissl.recording import units_table
from nissl.recording.labels import coordinate
from nissl.selectivity.members import joined
from nissl.statistics import Finding, Test, permutation_test
from nissl.statistics.exchangeability import require_samples

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["plnd"]

Array = NDArray[np.float64]
SILENT = "never activated"
ROUNDING = 1e-9  # of ranks


@method(system=184)
def plnd(
    rec: Recording,
    *,
    labels: str = "language",
    share: float = 0.05,
    test: Test | None = Test(),
    progress: bool = True,
) -> Finding:
    """Find the units that every document of a language activates, and those of one language alone.

    A unit is activated by a document where its deactivation changes the layer's output more than
    that of most other units of the layer. A language's units are those that all its documents
    activate: no document is compared with one in another language, and nothing about a document is
    known but that it is of the same language as the others. Which are of one language alone is
    asked afterwards.

    Parameters
    ----------
    rec : Recording, shape (n_documents, n_units)
        What deactivating each unit changes in its layer's output (`document_activity`, impact).
    labels : str
        Sample coordinate that says which documents are of one language.
    share : float
        Share of a layer's units that a document activates: those of largest impact.
    test : Test or None
        Null, draws (200), tail, correction over units and languages, seed.
        ``PermutedLabels(within="article")`` permutes languages inside an article of a parallel
        text. None: the score is ``consistency``, which looks at one language at a time.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit and language (``label``): ``consistency``, the lowest rank of its
        impact in its layer over the language's documents (1 is the largest impact);
        ``activated``: whether it is above 1 - `share`, so that all of them activate it; ``kind``:
        "specific" where that is so in this language alone, "related" in several, "agnostic" in all,
        else ""; ``labels``: those languages; ``impact``: the mean over the language's documents.
        ``rank_excess``: by how much its mean rank exceeds that in other languages, with effect, p
        and q.

    Raises
    ------
    TooFewSamples
        There is one language only, or a language has fewer than two documents.
    NisslError
        An impact is negative or not finite, or `share` is no share.

    Notes
    -----
    Source: Zhao et al. 2024, section 2.2. The paper's threshold on the change is a quantile of the
    layer here, so that layers and documents of any size compare. Of attention, the columns of the
    query and key matrices are not covered: their change is not activity times output weights.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> language = np.repeat(["french", "thai"], 8)
    >>> impact = rng.random((16, 40))
    >>> impact[8:, 3] += 2
    >>> found = plnd(as_recording(impact, samples={"language": language}), progress=False)
    >>> found.table[found.table["kind"] == "specific"][["unit", "label"]].values.tolist()
    [['unit[3]', 'thai']]
    """
    import pandas as pd

    if not 0 < share < 1:
        raise NisslError(f"share={share} is no share", do="give a number between 0 and 1")
    impact = np.asarray(rec.values, dtype=float)
    if not np.all(impact >= 0) or not np.isfinite(impact).all():
        raise NisslError(
            "an impact is negative or not finite",
            where=str(rec.attrs.get("quantity", "")),
            do="give document_activity(net, texts)['impact']",
        )
    names = coordinate(rec, labels).astype(str)
    require_samples(names, where=labels, item="document")
    kinds = np.unique(names)
    units = units_table(rec)
    layer = np.asarray(units["site"] if "site" in units else np.zeros(len(units))).astype(str)
    rank = ranks(impact, layer)
    # All documents of the language, and an impact there at all: ranks of zeros are ties.
    lowest, always, mean = [], [], []
    for kind in kinds:
        here = names == kind
        lowest.append(rank[here].min(axis=0))
        always.append((lowest[-1] > 1 - share + ROUNDING) & (impact[here].min(axis=0) > 0))
        mean.append(impact[here].mean(axis=0))
    activated = np.stack(always)
    found = permutation_test(
        rec.copy(data=rank),
        names,
        score="mean_difference",
        test=test
        and replace(
            test,
            n_permutations=test.draws(200),
            alternative=test.alternative or "greater",
        ),
        method="plnd",
        progress=progress,
    ).renamed("rank_excess")
    # A row of the table is a unit and a language.
    unit = pd.Index(units["unit"].astype(str)).get_indexer(pd.Index(found.table["unit"]))
    row = np.searchsorted(kinds, np.asarray(found.table["label"]).astype(str)), unit
    there = activated[row]
    found = found.assign(
        {"share": share, "n_documents": len(names)},
        consistency=np.stack(lowest)[row],
        activated=there,
        kind=np.where(there, _kinds(activated)[unit], ""),
        labels=np.where(there, np.asarray(joined(list(kinds), activated))[unit], ""),
        impact=np.stack(mean)[row],
        note=np.where((impact == 0).all(axis=0)[unit], SILENT, found.table["note"]),
    )
    return found if test else replace(found, score="consistency")


def ranks(impact: Array, layer: NDArray[np.str_]) -> Array:
    """Rank units by impact in their layer, in each document; equal impacts share the lowest rank.

    Examples
    --------
    >>> ranks(np.array([[5.0, 7.0, 5.0, 9.0]]), np.array(["a", "a", "a", "b"])).round(2).tolist()
    [[0.33, 1.0, 0.33, 1.0]]
    """
    from scipy.stats import rankdata

    rank = np.empty_like(impact)
    for name in np.unique(layer):
        columns = np.flatnonzero(layer == name)
        rank[:, columns] = rankdata(impact[:, columns], method="min", axis=1) / len(columns)
    return rank


def _kinds(activated: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Say for each unit how many languages always activate it, shape (n_units,)."""
    n = activated.sum(axis=0)
    kind = np.where(n == 1, "specific", np.where(n > 1, "related", ""))
    return np.where(n == len(activated), "agnostic", kind)
