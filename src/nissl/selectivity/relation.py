"""Relation-specific neurons: units whose activity tells one relation's prompts from all others'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from nissl.errors import NisslError
from nissl.methods import method
from nissl.recording import aggregate
from nissl.recording.labels import coordinate
from nissl.statistics import Finding, PermutedLabels, permutation_test

if TYPE_CHECKING:
    from nissl.recording import Recording
    from nissl.statistics import CircularShift

__all__ = ["TooFewFacts", "relation"]


class TooFewFacts(NisslError):
    """A relation has too few facts for its neurons to be told from others'."""


@method(system=24)
def relation(
    rec: Recording,
    *,
    labels: str,
    block: str,
    how: Literal["mean", "last", "max"] = "mean",
    null: PermutedLabels | CircularShift = PermutedLabels(),  # noqa: B008
    n_permutations: int = 1000,
    tail: str = "permutation",
    correction: str | None = "max",
    seed: int = 0,
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
    block : str
        Sample coordinate whose values may be exchanged under the null: the fact.
    how : {"mean", "last", "max"}
        How the tokens of a fact become one number.
    null : PermutedLabels or CircularShift
        How relations are moved among facts.
    n_permutations : int
        Draws of the null.
    tail : {"permutation", "normal", "gpd"}
        How p goes below 1 / (n_permutations + 1).
    correction : {"max", "bh", "bonferroni"} or None
        Over units and relations together.
    seed : int
        The seed of the draws.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit and relation (``label``): average precision, null mean, effect, p, q.

    Raises
    ------
    TooFewFacts
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
    >>> found = relation(rec, labels="relation", block="fact", n_permutations=99, progress=False)
    >>> found.top(1).table[["unit", "label"]].values.tolist()
    [['unit[1]', 'capital']]
    """
    facts = aggregate(rec, by=block, how=how)
    kinds, counts = _counted(coordinate(facts, labels))
    few = [f"{kind} ({count})" for kind, count in zip(kinds, counts, strict=True) if count < 2]
    if few or len(kinds) < 2:
        raise TooFewFacts(
            f"too few facts of {', '.join(few)}" if few else f"every fact is of '{kinds[0]}'",
            where=labels,
            do="give at least two facts of each of two relations; thirty make a finding",
        )
    found = permutation_test(
        facts,
        coordinate(facts, labels),
        score="average_precision",
        block=block,
        null=null,
        n_permutations=n_permutations,
        tail=tail,
        correction=correction,
        seed=seed,
        progress=progress,
    )
    return Finding(found.table, "relation", found.null, found.provenance, found.score)


def _counted(kinds: object) -> tuple[list[str], list[int]]:
    import numpy as np

    names, counts = np.unique(np.asarray(kinds).astype(str), return_counts=True)
    return names.tolist(), counts.tolist()
