"""What an atlas knows of a text before the network reads it: every sample and its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.statistics.groups import position_groups
from nissl.statistics.labels import document_weights, frequent_labels, pooled_documents

if TYPE_CHECKING:
    from nissl.network import TextPlan

__all__ = ["Corpus", "corpus_of"]

Array = NDArray[Any]

MOST_GROUPS = 128  # documents kept apart in the null of preferences; more are pooled in order
MOST_LABELLED = 512  # documents kept apart where they carry a label
BEFORE, AFTER = 24, 10  # samples of context kept around an example


@dataclass(frozen=True)
class Corpus:
    """The samples of a text, one a token, with everything that is counted about them.

    Parameters
    ----------
    token, document, position, window : array of int, shape (n_samples,)
        What each sample is and where it lies.
    keep : array of bool, shape (n_samples,)
        Samples that statistics rest on: all but the first position of a window, whose activity
        stands for itself (attention sinks).
    positions : array of int, shape (n_samples,)
        Group of the position.
    groups : array of int, shape (n_samples,)
        Document, or group of documents, for the null of preferences.
    labels : array of int32, shape (n_samples, 2)
        Label of the token, and of the pair with the token before; -1 for those not kept.
    weights : array of float32, shape (n_samples, 2)
        One over the label's occurrences in the document.
    tokens : array of int, shape (n_tokens,)
        Ids of the tokens that are labels 0, 1, 2, ...
    bigrams : array of int, shape (n_bigrams, 2)
        Ids of the pairs that are the labels after these.
    first_row, end_row : array of int, shape (n_samples,)
        Context of each sample, within its window.
    language : array of str, shape (n_labelled,)
        Label of each group of documents in `labelled`; empty where documents carry none.
    labelled : array of int, shape (n_samples,)
        Document, or group of documents of one label; -1 where documents carry none.
    """

    token: Array
    document: Array
    position: Array
    window: Array
    keep: Array
    positions: Array
    groups: Array
    labels: Array
    weights: Array
    tokens: Array
    bigrams: Array
    first_row: Array
    end_row: Array
    language: Array
    labelled: Array

    @property
    def n_labels(self) -> int:
        """Tokens and bigrams together."""
        return len(self.tokens) + len(self.bigrams)


def corpus_of(
    plan: TextPlan,
    *,
    n_tokens: int = 2500,
    n_bigrams: int = 1000,
    min_documents: int = 5,
    label: str = "language",
) -> Corpus:
    """Look through a text.

    Parameters
    ----------
    plan : TextPlan
        The windows that will be read.
    n_tokens, n_bigrams : int
        Labels to keep: those that occur in the most documents.
    min_documents : int
        Leave out tokens and pairs in fewer documents.
    label : str
        The label of documents that may be a unit's preference, where they have it.

    Returns
    -------
    Corpus
        The samples, in the order in which they will be read.
    """
    samples = plan.samples()
    token, document, position = (
        np.asarray(samples[name], np.int64) for name in ("token", "document", "position")
    )
    window = np.repeat(np.arange(plan.n_items), plan.new_tokens)
    keep = position > 0
    kept, token_labels = frequent_labels(
        np.where(keep, token, -1), document, n_labels=n_tokens, min_documents=min_documents
    )
    width = int(token.max()) + 1
    follows = np.r_[False, window[1:] == window[:-1]]
    pair = np.where(keep & follows, np.r_[0, token[:-1]] * width + token, -1)
    pairs, pair_labels = frequent_labels(
        pair, document, n_labels=n_bigrams, min_documents=min_documents
    )
    pair_labels = np.where(pair_labels >= 0, pair_labels + len(kept), -1)
    labels = np.stack([token_labels, pair_labels], axis=1).astype(np.int32)
    rows = np.arange(len(token))
    language, labelled = _labelled(plan, document, label)
    return Corpus(
        token=token,
        document=document,
        position=position,
        window=window,
        keep=keep,
        positions=position_groups(int(position.max()) + 1)[position],
        groups=pooled_documents(document, MOST_GROUPS),
        labels=labels,
        weights=np.stack([document_weights(c, document, keep) for c in labels.T], axis=1),
        tokens=kept,
        bigrams=np.stack(np.divmod(pairs, width), axis=1).reshape(-1, 2),
        first_row=np.maximum(rows - BEFORE, plan.first_row[window]),
        end_row=np.minimum(rows + AFTER + 1, plan.first_row[window + 1]),
        language=language,
        labelled=labelled,
    )


def _labelled(plan: TextPlan, document: Array, label: str) -> tuple[Array, Array]:
    """Return labels by group of documents, and the group of every sample."""
    column: Any = plan.windows.labels.get(label)
    if column is None:
        return np.zeros(0, "U1"), np.full(len(document), -1)
    names = np.asarray(column).astype(str)
    seen = np.unique(document)
    # Documents of one label lie together, so that pooling never mixes labels.
    order = seen[np.argsort(names[seen], kind="stable")]
    code = np.zeros(int(seen.max()) + 1, np.int64)
    pooled = -(-len(order) // MOST_LABELLED)
    group, last = -1, ("", 0)
    for d in order:
        name, size = last
        if group < 0 or name != names[d] or size >= pooled:
            group, last = group + 1, (names[d], 1)
        else:
            last = (name, size + 1)
        code[d] = group
    language = np.empty(group + 1, names.dtype)
    language[code[order]] = names[order]
    return language, code[document]
