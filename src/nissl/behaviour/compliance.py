"""Over-compliance: whether a network goes along with a wrong answer that is put to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.behaviour.prompt_scorer import PromptScorer
from nissl.behaviour.prompts import first_tokens
from nissl.columns import require_columns
from nissl.errors import NisslError
from nissl.statistics import Finding, Test, against_null

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["compliance", "over_compliance", "scaled_compliance"]

Array = NDArray[np.float64]


def over_compliance(preference: ArrayLike, *, null: str = "MatchedUnits()") -> Finding:
    """Test whether scaling some neurons makes a network go along more than scaling others does.

    Parameters
    ----------
    preference : array, shape (1 + n_draws, n_factors, n_questions)
        What `scaled_compliance` returns for the neurons and for random ones matched to them.
    null : str
        How these were drawn.

    Returns
    -------
    Finding
        ``rise``, from the first factor to the last: a row for the ``share`` of questions in which
        the network goes along, and one for its mean ``preference`` (nats) for what it is told. P
        cannot go below 1 / (n_draws + 1).

    Raises
    ------
    NisslError
        There are fewer than two draws or factors.

    Notes
    -----
    Source: Gao et al. 2025, section 3 (factors from 0 to 3); the random units are ours.

    Examples
    --------
    >>> preference = np.random.default_rng(0).normal(-1, 1, (20, 2, 50))
    >>> preference[0, 1] += 1
    >>> over_compliance(preference).table[["unit", "p"]].values.tolist()
    [['share', 0.05], ['preference', 0.05]]
    """
    x = np.asarray(preference, dtype=float)
    if x.ndim != 3 or x.shape[0] < 3 or x.shape[1] < 2:
        raise NisslError(
            f"preferences have shape {x.shape}",
            do="give (groups, factors, questions): three groups or more, two factors or more",
        )
    told = np.stack([(x > 0).mean(axis=2), x.mean(axis=2)])
    rises = (told[:, :, -1] - told[:, :, 0]).T
    return against_null(
        rises[0],
        rises[1:],
        units=["share", "preference"],
        score="rise",
        method="over_compliance",
        null=null,
        alternative="greater",
        test=Test(correction=None),
    )


def scaled_compliance(
    net: Network,
    groups: Sequence[Sequence[str]],
    questions: pd.DataFrame,
    *,
    factors: Sequence[float] = (0.0, 1.0, 2.0, 3.0),
    batch_size: int = 64,
    progress: bool = True,
) -> Array:
    """Scale groups of neurons by some factors, and ask each time how far a network goes along.

    Parameters
    ----------
    net : Network
        A language model.
    groups : sequence of sequence of str
        Addresses of the neurons of each group, such as H-neurons and then random ones.
    questions : DataFrame
        As for `compliance`.
    factors : sequence of float
        What activity is multiplied by.
    batch_size : int
        Rows in a call: prompts times groups times factors.
    progress : bool
        Show a bar.

    Returns
    -------
    array, shape (n_groups, n_factors, n_questions)
        The network's preference for what it is told.

    Raises
    ------
    NisslError
        A group has no neuron.

    Examples
    --------
    >>> scaled_compliance(net, [chosen, *drawn], questions)  # doctest: +SKIP
    """
    from nissl.network import ablate, scale

    for number, group in enumerate(groups):
        if not len(group):
            raise NisslError("a group has no neuron", where=f"group {number}", do="leave it out")
    scorer, right = _read(net, questions)
    # A factor of one is the network as it is: once is enough.
    scaled = [(list(group), factor) for group in groups for factor in factors if factor != 1]
    # What is scaled by zero is silenced: zero even where it was not finite.
    edits = [scale(group, by=factor) if factor else ablate(group) for group, factor in scaled]
    found = scorer.preferences(right, [None, *edits], batch_size=batch_size, progress=progress)
    preference = np.tile(found[0], (len(groups), len(factors), 1))
    preference[:, np.asarray(factors) != 1] = found[1:].reshape(len(groups), -1, len(questions))
    return preference


def compliance(
    net: Network, questions: pd.DataFrame, *, batch_size: int = 64, progress: bool = True
) -> Array:
    """Return how far a network prefers the answer it is told to the right one.

    Parameters
    ----------
    net : Network
        A language model; edits in force are seen.
    questions : DataFrame
        Columns ``text`` (a prompt that suggests a wrong answer), ``told`` (the answer that goes
        along with it) and ``right``, both with the space that begins them; their first tokens count
        and must differ.
    batch_size : int
        Prompts in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    array of float64, shape (n_questions,)
        Difference of log probabilities, in nats; above zero where the network goes along.

    Raises
    ------
    UnknownName
        A column is missing.
    NisslError
        Both answers begin with the same token.

    Examples
    --------
    >>> compliance(net, questions)  # doctest: +SKIP
    array([-3.1, 0.4])
    """
    scorer, right = _read(net, questions)
    found: Array = scorer.preferences(right, batch_size=batch_size, progress=progress)
    return found


def _read(net: Network, questions: pd.DataFrame) -> tuple[PromptScorer, NDArray[np.int64]]:
    """Return the questions with what they tell, and the tokens that begin the right answers."""
    require_columns(questions, ("text", "told", "right"))
    told, right = (first_tokens(net, questions[name]) for name in ("told", "right"))
    if (told == right).any():
        number = int(np.argmax(told == right))
        raise NisslError(
            "the answer it is told begins as the right one does",
            where=f"question {number}",
            do="leave it out, or suggest another",
        )
    return PromptScorer(net, list(questions["text"]), list(questions["told"])), right
