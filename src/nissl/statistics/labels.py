"""Labels of samples that are counted by document: tokens, pairs of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from nissl.statistics._chunk import Array

__all__ = ["document_weights", "frequent_labels", "pooled_documents"]


def frequent_labels(
    ids: Any, documents: Any, *, n_labels: int, min_documents: int = 4
) -> tuple[Array, Array]:
    """Code the ids that occur in the most documents as labels 0, 1, 2, ...

    Parameters
    ----------
    ids : array of int, shape (n_samples,)
        What occurs at each sample; negative where nothing does.
    documents : array of int, shape (n_samples,)
        Document of each sample.
    n_labels : int
        How many to keep at most.
    min_documents : int
        Leave out ids in fewer documents.

    Returns
    -------
    kept : array of int, shape (n_kept,)
        The ids kept, those in the most documents first.
    labels : array of int32, shape (n_samples,)
        Label of each sample, -1 where its id is not kept.

    Examples
    --------
    >>> kept, labels = frequent_labels([7, 9, 7, 8], [0, 0, 1, 1], n_labels=1, min_documents=2)
    >>> kept.tolist(), labels.tolist()
    ([7], [0, -1, 0, -1])
    """
    ids, documents = np.asarray(ids), np.asarray(documents)
    there = ids >= 0
    pairs = np.unique(np.stack([ids[there], documents[there]]), axis=1)
    found, n_documents = np.unique(pairs[0], return_counts=True)
    order = np.lexsort((found, -n_documents))[:n_labels]
    kept = found[order[n_documents[order] >= min_documents]]
    labels = np.full(len(ids), -1, np.int32)
    if len(kept):
        by_id = np.argsort(kept)
        at = np.minimum(np.searchsorted(kept[by_id], ids), len(kept) - 1)
        hit = there & (kept[by_id][at] == ids)
        labels[hit] = by_id[at[hit]]
    return kept, labels


def document_weights(labels: Any, documents: Any, keep: Any = None) -> Array:
    """Return for each sample one over the occurrences of its label in its document.

    Parameters
    ----------
    labels : array of int, shape (n_samples,)
        Label of each sample, -1 for none.
    documents : array of int, shape (n_samples,)
        Document of each sample.
    keep : array of bool, shape (n_samples,), optional
        Samples that count as occurrences.

    Returns
    -------
    array of float32, shape (n_samples,)
        Weights that sum to one over each label's occurrences in each document; 0 without a label.

    Examples
    --------
    >>> document_weights([2, 2, -1, 2], [0, 0, 0, 1]).tolist()
    [0.5, 0.5, 0.0, 1.0]
    """
    labels, documents = np.asarray(labels, np.int64), np.asarray(documents, np.int64)
    there = labels >= 0
    if keep is not None:
        there = there & np.asarray(keep, bool)
    weights = np.zeros(len(labels), np.float32)
    if there.any():
        pair = labels[there] * (documents.max() + 1) + documents[there]
        _, which, counts = np.unique(pair, return_inverse=True, return_counts=True)
        weights[there] = 1 / counts[which]
    return weights


def pooled_documents(documents: Any, most: int) -> Array:
    """Number documents, and pool neighbouring ones where there are more than can be kept apart.

    Parameters
    ----------
    documents : array of int, shape (n_samples,)
        Document of each sample.
    most : int
        Groups at most.

    Returns
    -------
    array of int, shape (n_samples,)
        Group of each sample, from 0.

    Examples
    --------
    >>> pooled_documents([3, 3, 5, 9, 9], 2).tolist()
    [0, 0, 0, 1, 1]
    """
    _, number = np.unique(np.asarray(documents), return_inverse=True)
    n = int(number.max()) + 1 if len(number) else 0
    return np.asarray(number if n <= most else number * most // n)
