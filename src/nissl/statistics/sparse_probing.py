"""Sparse probing: how well labels can be read from few features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics.effects import auroc
from nissl.statistics.finding import Finding
from nissl.statistics.pvalues import against_null
from nissl.statistics.sparse_probe import probe_scores
from nissl.statistics.test import Test

__all__ = ["largest_differences", "sparse_probing"]

Array = NDArray[Any]


def sparse_probing(
    features: Mapping[str, ArrayLike],
    labels: ArrayLike,
    *,
    groups: ArrayLike,
    k: Iterable[int] = (1, 5),
    test: Test = Test(),
) -> Finding:
    """Read each label from the k features whose means differ most, beside control labels.

    Parameters
    ----------
    features : mapping of str to array, shape (n_samples, n_features)
        What is compared: features of a dictionary, neurons, principal components.
    labels : array, shape (n_samples,)
        Discrete; each is told from all others, of two only the second.
    groups : array, shape (n_samples,)
        Documents or words, each of one label. Features are chosen and a logistic probe is fitted
        on half of the groups of each label; the others are scored.
    k : iterable of int
        How many features.
    test : Test
        Draws (19), tail, correction over all rows, seed. The null: labels permuted over groups.

    Returns
    -------
    Finding
        A row for each array, label and k: ``auroc``, its null mean, p and q, ``accuracy`` (the mean
        of both classes') and ``chosen``, the feature whose means differ most.

    Raises
    ------
    NisslError
        A group has several labels, a label has one group, or samples or k do not fit.

    Notes
    -----
    Source: Gurnee et al. 2023, Finding neurons in a haystack; the null is ours.

    Examples
    --------
    >>> x, y = np.random.default_rng(0).random((40, 9)), np.arange(40) % 2
    >>> x[:, 4] += y
    >>> sparse_probing({"neurons": x}, y, groups=np.arange(40), k=[1]).table["chosen"].tolist()
    [4]
    """
    import pandas as pd

    names, y = np.unique(np.asarray(labels), return_inverse=True)
    arrays = {name: np.asarray(getattr(x, "values", x)) for name, x in features.items()}
    sizes, widths = zip(*(x.shape for x in arrays.values()), strict=True)
    _, first, group = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    if {*sizes, len(group)} != {len(y)} or not 0 < min(k) <= max(k) <= min(widths):
        raise NisslError(f"{len(y)} labels, {len(group)} groups, {sizes} by {widths}, k={[*k]}")
    if len(names) < 2 or not np.array_equal(y[first][group], y):
        raise NisslError("a group has several labels, or there is one", do="group by words, say")
    rows = _halves(y[first], test.seed)
    rng, tasks, found, scores = np.random.default_rng(test.seed), [y[first]], [], []
    for _ in range(test.draws(19)):
        tasks.append(y[first])
        for half in rows:
            tasks[-1][half] = rng.permutation(tasks[0][half])
    learned = np.isin(group, rows[0])
    codes = range(int(len(names) == 2), len(names))
    for (name, x), code, n in product(arrays.items(), codes, k):
        each = []
        for task in tasks:
            on = task[group] == code
            chosen = largest_differences(x[learned], on[learned], n)
            size = probe_scores(x[learned][:, chosen], on[learned], x[~learned][:, chosen])
            on = on[~learned]
            accuracy = np.mean([((size > 0) == on)[on == side].mean() for side in (0, 1)])
            each.append((auroc(size[:, None], on)[0], accuracy, chosen[0]))
        found.append((f"{name}, {names[code]}, k={n}", name, names[code], n, *each[0][1:]))
        scores.append([score for score, *_ in each])
    columns = ["unit", "features", "label", "k", "accuracy", "chosen"]
    how: Any = {"method": "sparse_probing", "null": "permuted labels", "test": test}
    how |= {"units": pd.DataFrame(found, columns=columns), "score": "auroc"}
    observed, *draws = np.transpose(scores)
    return against_null(observed, draws, alternative="greater", **how)


def _halves(labels: Array, seed: int) -> tuple[Array, Array]:
    """Return the rows of two halves, in each of which every label is."""
    rng, learned = np.random.default_rng(seed), np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        if len(rows) < 2:
            raise TooFewSamples("a label has one group", do="give two groups or more of each")
        learned[rows[: (len(rows) + int(rng.integers(2))) // 2]] = True
    return np.flatnonzero(learned), np.flatnonzero(~learned)


def largest_differences(x: Array, on: Array, k: int) -> Array:
    """Return the k features whose means differ most, the largest difference first."""
    return np.argsort(-np.abs(x[on].mean(0) - x[~on].mean(0)), kind="stable")[:k]
