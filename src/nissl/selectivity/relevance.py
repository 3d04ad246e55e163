"""Relevance neurons: what in a cross-encoder speaks for a passage that answers the query."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nissl.behaviour.pairs import as_truth
from nissl.errors import TooFewSamples
from nissl.methods import method
from nissl.recording.labels import coordinate
from nissl.statistics import Finding, PermutedLabels, Test, permutation_test

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["relevance"]


@method(system=146)
def relevance(
    rec: Recording,
    *,
    labels: str = "relevant",
    query: str = "query",
    test: Test | None = Test(),
    progress: bool = True,
) -> Finding:
    """Score every unit by how much more it contributes to relevant pairs than to others.

    Parameters
    ----------
    rec : Recording, shape (n_pairs, n_units)
        What each unit contributes to the score of each pair (`pair_conductance`).
    labels : str
        Sample coordinate that is true (or 1) where the passage is relevant.
    query : str
        Sample coordinate of the query; each has passages of both kinds.
    test : Test or None
        Null (which of a query's passages are relevant is permuted among them), draws (1,000), tail,
        correction over units, seed.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit: ``relevance``, the mean contribution to relevant pairs less that to
        others of their query, in the units of the score; effect, null mean, p and q of both sides.
        Above zero the unit speaks for relevant passages.

    Raises
    ------
    TooFewSamples
        There are fewer than two queries, or one has no relevant passage, or no other.
    NisslError
        A label is neither true nor false.

    Notes
    -----
    Source: Vast et al. 2024, section 3 (neuron integrated gradients of relevant and of other
    pairs). The null is ours: it asks whether a unit tells a query's passages apart, so that the
    mean contribution to the query's passages is taken off first.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> relevant = np.tile([True, False], 20)
    >>> contributions = rng.standard_normal((40, 5))
    >>> contributions[relevant, 2] += 3
    >>> samples = {"relevant": relevant, "query": np.repeat(np.arange(20), 2)}
    >>> relevance(as_recording(contributions, samples=samples), progress=False).significant().units
    ['unit[2]']
    """
    names = coordinate(rec, query)
    right = as_truth(coordinate(rec, labels), labels)
    queries, kinds = np.unique(names, return_inverse=True)
    n_right, n_all = np.bincount(kinds, right), np.bincount(kinds)
    lonely = (n_right == 0) | (n_right == n_all)
    if len(queries) < 2 or lonely.any():
        raise TooFewSamples(
            "a query needs a relevant passage and another"
            if lonely.any()
            else "one query gives no null",
            where=f"{query} {queries[int(np.argmax(lonely))]}",
            do="give two queries at least, each with passages of both kinds",
        )
    # What a unit gives every passage of a query tells none of them from the others.
    values = np.asarray(rec.values, dtype=float)
    means = np.zeros((len(queries), values.shape[1]))
    np.add.at(means, kinds, values / n_all[kinds, None])
    null = PermutedLabels(exchange=query, how="within")
    found = permutation_test(
        rec.copy(data=values - means[kinds]),
        right,
        score="mean_difference",
        test=test and replace(test, null=test.null_or(null)),
        method="relevance",
        progress=progress,
    )
    return found.renamed("relevance").assign({"n_queries": len(queries)})
