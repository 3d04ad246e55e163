"""Over-compliance: whether a network goes along with a wrong answer that is put to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, UnknownName
from nissl.progress import progress_bar
from nissl.selectivity.facts import last_logits
from nissl.statistics import Finding, MatchedUnits, against_null

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["compliance", "over_compliance"]


def over_compliance(
    net: Network,
    chosen: Sequence[str],
    questions: pd.DataFrame,
    *,
    units: pd.DataFrame,
    factors: tuple[float, float] = (0.0, 3.0),
    null: MatchedUnits = MatchedUnits(),  # noqa: B008
    n_draws: int = 19,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> Finding:
    """Scale neurons, and measure how much more a network goes along with what it is told.

    Parameters
    ----------
    net : Network
        A language model.
    chosen : sequence of str
        Addresses of the neurons to be scaled, such as H-neurons.
    questions : DataFrame
        As for `compliance`.
    units : DataFrame
        All units that may be drawn: ``unit``, ``layer`` and ``weight`` (`weighed`).
    factors : tuple of two floats
        Activity is multiplied by the first, then by the second.
    null : MatchedUnits
        How random units are matched.
    n_draws : int
        Groups of random units that are scaled alike; p cannot go below 1 / (n_draws + 1).
    batch_size : int
        Prompts in a call.
    seed : int
        The seed of the draws.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        ``rise``, from the first factor to the second: a row for the ``share`` of questions in which
        the network goes along, and one for its mean ``preference`` (nats) for what it is told.

    Raises
    ------
    NisslError
        No unit is chosen.
    UnknownName
        A column is missing.

    Notes
    -----
    Source: Gao et al. 2025, section 3 (factors from 0 to 3); the random units are ours.

    Examples
    --------
    >>> over_compliance(net, chosen, questions, units=weighed(net, rec))  # doctest: +SKIP
    """
    from nissl.network import scale

    if not len(chosen):
        raise NisslError("no unit is to be scaled", do="give some")
    names = np.asarray(units["unit"]).astype(str)
    drawn = [names[row].tolist() for row in null.draw(units, list(chosen), n_draws, seed=seed)]
    rises = []
    with progress_bar("Scaling", total=1 + n_draws, unit="groups", progress=progress) as advance:
        for group in [list(chosen), *drawn]:
            told = []
            for factor in factors:
                with net.edit(scale(group, by=factor)):
                    preference = compliance(net, questions, batch_size=batch_size, progress=False)
                told.append([float((preference > 0).mean()), float(preference.mean())])
            rises.append(np.subtract(told[1], told[0]))
            advance(1)
    found = against_null(
        rises[0], np.stack(rises[1:]), units=["share", "preference"], score="rise",
        method="over_compliance", null=null.name, alternative="greater", correction=None,
    )  # fmt: skip
    said = {
        **found.provenance, "seed": seed, "from": factors[0], "to": factors[1],
        "n_chosen": len(chosen), "n_questions": len(questions), "network": net.name,
    }  # fmt: skip
    return Finding(found.table, "over_compliance", null.name, said, "rise")


def compliance(
    net: Network, questions: pd.DataFrame, *, batch_size: int = 64, progress: bool = True
) -> NDArray[np.float64]:
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
    for name in ("text", "told", "right"):
        if name not in questions:
            raise UnknownName("column", name, [str(c) for c in questions.columns])
    tokenizer = net.require_tokenizer()
    told, right = (
        np.asarray([tokenizer.encode(a, add_special_tokens=False)[0] for a in questions[name]])
        for name in ("told", "right")
    )
    if (told == right).any():
        number = int(np.argmax(told == right))
        raise NisslError(
            "the answer it is told begins as the right one does",
            where=f"question {number}",
            do="leave it out, or suggest another",
        )
    preference = np.zeros(len(told))
    asked = last_logits(net, list(questions["text"]), batch_size=batch_size, progress=progress)
    for rows, logits in asked:
        values, at = logits.double().cpu().numpy(), np.arange(len(rows))
        preference[rows] = values[at, told[rows]] - values[at, right[rows]]
    return preference
