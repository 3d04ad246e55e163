"""Labels by document against counting."""

import numpy as np

from nissl.statistics.labels import document_weights, frequent_labels


def test_weights_and_labels_against_counting():
    rng = np.random.default_rng(0)
    ids, documents = rng.integers(-1, 12, 300), np.arange(300) // 25
    kept, labels = frequent_labels(ids, documents, n_labels=5, min_documents=3)
    frequency = {i: len(set(documents[ids == i])) for i in set(ids.tolist()) - {-1}}
    assert [frequency[int(i)] for i in kept] == sorted(frequency.values(), reverse=True)[:5]
    for i, label in zip(ids, labels, strict=True):
        assert (label == -1) if i not in kept else (kept[label] == i)
    weights = document_weights(labels, documents)
    for i in range(300):
        same = (labels == labels[i]) & (documents == documents[i])
        assert weights[i] == (0 if labels[i] < 0 else np.float32(1 / same.sum()))
