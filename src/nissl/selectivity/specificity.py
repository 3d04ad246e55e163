"""Specificity: how far the documents in which a unit is open are of few labels.

The entropy of the labels, given that the unit is open, where every label counts alike (language
activation probability entropy, Tang et al. 2024), one less its share of the largest possible; and
whether documents would give as much if their labels were permuted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.recording import units_table
from nissl.recording.labels import coordinate
from nissl.statistics import Finding, PermutedLabels, Test, against_null
from nissl.statistics.exchangeability import require_samples

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = [
    "NEVER",
    "ActivationRates",
    "activation_rates",
    "against_permuted",
    "over_bar",
    "specificity",
]

Array = NDArray[np.float64]
NEVER = "never open in these documents"


@dataclass(frozen=True)
class ActivationRates:
    """How often each unit is open, by document and by label.

    Of each label (`kinds`, sorted) the share of its tokens at which each unit is open, shape
    (n_kinds, n_units); of each document at how many (`counts`), of how many, and its label as an
    index of kinds.
    """

    kinds: list[str]
    share: Array
    counts: Array
    n_tokens: Array
    label: NDArray[np.int64]


def activation_rates(rec: Recording, labels: str, *, least: int = 2) -> ActivationRates:
    """Return how often units are open in documents of each label; documents count by their tokens.

    The values are shares of tokens, as `document_activity` gives them.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording([[1.0], [0.5], [0.0], [0.0]], samples={"language": list("aabb")})
    >>> activation_rates(rec, "language").share.tolist()
    [[0.75], [0.0]]
    """
    values = np.asarray(rec.values, dtype=float)
    if not np.all((values >= 0) & (values <= 1)):
        raise NisslError(
            "the values are not shares of tokens between 0 and 1",
            where=str(rec.attrs.get("quantity", "")),
            do="give document_activity(net, texts)['open']",
        )
    given = coordinate(rec, labels).astype(str)
    require_samples(given, where=labels, least=least, item="document")
    names, label = np.unique(given, return_inverse=True)
    n_tokens = np.ones(len(values))
    if "n_tokens" in rec.coords:
        n_tokens = np.asarray(rec["n_tokens"].values, dtype=float)
    total = values * n_tokens[:, None]
    share = _by_label(total, n_tokens, label, len(names))
    return ActivationRates(names.tolist(), share, total, n_tokens, label)


def specificity(share: Array) -> Array:
    """Return one less the entropy of labels, as a share of the largest, from shares by label.

    Examples
    --------
    >>> specificity(np.array([[0.2, 0.3, 0.0], [0.0, 0.3, 0.0]])).tolist()
    [1.0, 0.0, 0.0]
    """
    total = share.sum(axis=0)
    part = share / np.where(total > 0, total, 1.0)
    entropy = -(part * np.log(np.where(part > 0, part, 1.0))).sum(axis=0)
    return np.asarray(np.where(total > 0, 1 - entropy / np.log(len(share)), 0.0))


def over_bar(shares: ActivationRates, bar: float) -> NDArray[np.bool_]:
    """Return in which labels each unit is open more often than a quantile of all shares."""
    if not 0 < bar < 1:
        raise NisslError(f"bar={bar} is no share", do="give a number between 0 and 1")
    ordered = np.sort(shares.share, axis=None)
    return np.asarray(shares.share > ordered[max(round(bar * len(ordered)) - 1, 0)])


def against_permuted(rec: Recording, found: ActivationRates, *, method: str, test: Test) -> Finding:
    """Test whether units are more specific than with labels permuted over documents (200 draws).

    The finding has ``specificity``, ``label`` (in which a unit is open most often) and ``open``
    (how often), and site, layer and index of each unit.
    """
    null = test.null_or(PermutedLabels())
    exchange = None if null.exchange is None else coordinate(rec, null.exchange)
    within = None if null.within is None else coordinate(rec, null.within)
    index = null.draw(
        found.label, test.draws(200), exchange=exchange, within=within, seed=test.seed
    )
    log_count = null.log_arrangements(found.label, exchange=exchange, within=within)
    n_kinds = len(found.kinds)
    drawn = np.stack(
        [
            specificity(_by_label(found.counts, found.n_tokens, found.label[row], n_kinds))
            for row in index
        ]
    )
    made = against_null(
        specificity(found.share),
        drawn,
        units=units_table(rec),
        score="specificity",
        method=method,
        null=null.name,
        alternative="greater",
        least_p=np.exp(-log_count),
        test=test,
    )
    open_ = found.share.max(axis=0)
    label = np.asarray(found.kinds)[found.share.argmax(axis=0)]
    return made.assign(
        {"seed": test.seed, "n_documents": len(found.label)},
        label=np.where(open_ > 0, label, ""),
        open=open_,
        note=np.where(open_ > 0, made.table["note"], NEVER),
    )


def _by_label(counts: Array, n_tokens: Array, label: NDArray[Any], n_kinds: int) -> Array:
    one_hot = (label == np.arange(n_kinds)[:, None]).astype(float)
    return np.asarray((one_hot @ counts) / (one_hot @ n_tokens)[:, None])
