"""Relation-specific neurons: units whose activity tells one relation's prompts from all others'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from nissl.methods import method
from nissl.recording import aggregate
from nissl.recording.labels import coordinate
from nissl.statistics import Finding, Test, permutation_test
from nissl.statistics.exchangeability import require_samples

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["relation"]


@method(system=24)
def relation(
    rec: Recording,
    *,
    labels: str,
    exchange: str,
    how: Literal["mean", "last", "max"] = "mean",
    test: Test | None = Test(),
    progress: bool = True,
) -> Finding:
    """Score every unit for every relation by average precision.

    A unit's activity on a prompt is taken as its confidence that the prompt is of the relation;
    average precision says how far the relation's prompts come before all others.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Activity on prompts; one prompt is one or more samples.
    labels : str
        Sample coordinate that names the relation.
    exchange : str
        Sample coordinate whose values may be exchanged under the null: the fact.
    how : {"mean", "last", "max"}
        How the tokens of a fact become one number.
    test : Test or None
        Null, draws (1,000), tail, correction over units and relations together, seed.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit and relation (``label``): average precision, null mean, effect, p, q.

    Raises
    ------
    TooFewSamples
        A relation has fewer than two facts, or there is one relation only.

    Notes
    -----
    Source: Liu et al. 2025, section 3, after the expert units of Suau et al. 2020; the null and the
    correction over relations are ours.

    Examples
    --------
    >>> import numpy as np
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> kinds = np.repeat(["capital", "plural"], 20)
    >>> values = rng.standard_normal((40, 3))
    >>> values[:20, 1] += 3
    >>> rec = as_recording(values, samples={"relation": kinds, "fact": np.arange(40)})
    >>> found = relation(rec, labels="relation", exchange="fact", progress=False)
    >>> found.top(1).table[["unit", "label"]].values.tolist()
    [['unit[1]', 'capital']]
    """
    facts = aggregate(rec, by=exchange, how=how)
    relations = coordinate(facts, labels)
    require_samples(relations, where=labels, item="fact")
    return permutation_test(
        facts,
        relations,
        score="average_precision",
        exchange=exchange,
        test=test,
        method="relation",
        progress=progress,
    )
