"""Facts: prompts with an answer and a label, and whether a network knows them.

A table of facts has a row for each: ``text`` (the prompt), ``answer`` (how it goes on), and labels
such as ``relation`` or ``subject``. Units are found on one half of the facts and tested on the
other; what a network does not know says nothing about its neurons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nissl.behaviour.prompt_scorer import PromptScorer
from nissl.columns import require_columns
from nissl.errors import NisslError, TooFewSamples

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from nissl.network import Network

__all__ = ["halves", "known", "require_facts"]


def known(
    net: Network,
    facts: pd.DataFrame,
    *,
    labels: str,
    least: int = 30,
    batch_size: int = 64,
    progress: bool = True,
) -> pd.DataFrame:
    """Return the facts that a network answers rightly.

    Parameters
    ----------
    net : Network
        A language model.
    facts : DataFrame
        Columns ``text``, ``answer`` and `labels`.
    labels : str
        The column that names the kind of fact.
    least : int
        How many facts of each kind it must know.
    batch_size : int
        Prompts in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    DataFrame
        The rows whose answer begins with the token the network thinks likeliest, with a column
        ``log_probability`` (of that token, in nats).

    Raises
    ------
    TooFewSamples
        It knows fewer than `least` facts of a kind: what its neurons did would be about guessing.

    Examples
    --------
    >>> known(net, facts, labels="relation", least=30)  # doctest: +SKIP
    """
    require_facts(facts, ("text", "answer", labels))
    scorer = PromptScorer(net, list(facts["text"]), list(facts["answer"]))
    log_probability, right = scorer.answers(batch_size=batch_size, progress=progress)
    found = facts.assign(log_probability=log_probability)[right].reset_index(drop=True)
    counts = found[labels].value_counts().reindex(facts[labels].unique(), fill_value=0)
    few = counts[counts < least]
    if len(few):
        some = ", ".join(
            f"{name} ({n} of {(facts[labels] == name).sum()})" for name, n in few.items()
        )
        raise TooFewSamples(
            f"{net.name} knows fewer than {least} facts of {some}",
            do="leave these out, give more facts, or use a model that knows them: a finding would "
            "be about guessing",
        )
    return found


def halves(
    facts: pd.DataFrame, *, labels: str, by: str | None = None, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split facts in two, each kind in halves: units are found on one, tested on the other.

    Parameters
    ----------
    facts : DataFrame
        One row a fact.
    labels : str
        The column that names the kind of fact.
    by : str, optional
        A column whose values must not be divided (the country, the word): facts that share it all
        go to one side. By default every row goes by itself.
    seed : int
        The seed of the split.

    Returns
    -------
    tuple of two DataFrames
        Disjoint, together all rows.

    Raises
    ------
    NisslError
        A kind has fewer than two facts, or all of a kind fall on one side.

    Examples
    --------
    >>> import pandas as pd
    >>> facts = pd.DataFrame({"text": list("abcd"), "relation": ["x", "x", "y", "y"]})
    >>> [len(half) for half in halves(facts, labels="relation")]
    [2, 2]
    """
    require_facts(facts, (labels,) if by is None else (labels, by))
    rng = np.random.default_rng(seed)
    first = np.zeros(len(facts), dtype=bool)
    if by is None:
        for name in facts[labels].unique():
            rows = rng.permutation(np.flatnonzero(facts[labels] == name))
            first[rows[: (len(rows) + int(rng.integers(2))) // 2]] = True
    else:
        groups = rng.permutation(facts[by].unique())
        first[:] = facts[by].isin(groups[: len(groups) // 2])
    halved = facts[first].reset_index(drop=True), facts[~first].reset_index(drop=True)
    for half in halved:
        missing = set(facts[labels]) - set(half[labels])
        if missing:
            raise NisslError(
                f"{', '.join(map(str, sorted(missing)))}: too few facts to fall on both sides",
                do="give more facts of that kind, or another seed",
            )
    return halved


def require_facts(facts: pd.DataFrame, needed: Sequence[str]) -> None:
    """Refuse a table that lacks columns of facts, or has no rows.

    Parameters
    ----------
    facts : DataFrame
        The table.
    needed : sequence of str
        Names of columns.

    Raises
    ------
    UnknownName
        A column is not there.
    NisslError
        There are no rows.

    Examples
    --------
    >>> import pandas as pd
    >>> require_facts(pd.DataFrame({"text": ["The capital of France is"]}), ("text",))
    """
    require_columns(facts, needed)
    if not len(facts):
        raise NisslError("there are no facts", do="give a table with at least two of each kind")
