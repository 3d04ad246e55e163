"""In-context score: how much better a late token is predicted than an early one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.prompt_scorer import PromptScorer
from nissl.behaviour.prompts import token_ids
from nissl.errors import NisslError, TooFewSamples
from nissl.methods import method

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["in_context_score"]


@method(system=236)
def in_context_score(
    net: Network,
    texts: Any,
    *,
    early: int = 50,
    late: int = 500,
    batch_size: int = 16,
    progress: bool = True,
) -> NDArray[np.float64]:
    """Return by how much less a late token of each text is predicted than an early one.

    Parameters
    ----------
    net : Network
        A language model; edits in force are seen.
    texts : texts or token ids
        Those with no more than `late` tokens are left out.
    early, late : int
        How many tokens come before the one that is predicted.
    batch_size : int
        Prompts in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    array of float64, shape (n_texts,)
        The loss at the late token minus the loss at the early one, in nats: below zero where what
        was read is used. One text says little; the mean over some hundred does.

    Raises
    ------
    TooFewSamples
        No text is long enough.
    NisslError
        `late` tokens are not more than `early` ones.

    Notes
    -----
    Source: Olsson et al. 2022.

    Examples
    --------
    >>> in_context_score(net, texts).mean()  # doctest: +SKIP
    -0.61
    """
    if not 0 < early < late:
        raise NisslError(f"early={early} is not before late={late}", do="give 0 < early < late")
    ids = [row for row in token_ids(net, texts) if len(row) > late]
    if not ids:
        raise TooFewSamples(f"no text has more than {late} tokens", do="give longer ones, or late=")
    prompts = [row[:at] for at in (early, late) for row in ids]
    answers = [row[at : at + 1] for at in (early, late) for row in ids]
    said = PromptScorer(net, prompts, answers).answers(batch_size=batch_size, progress=progress)[0]
    before, after = said.reshape(2, -1)
    return np.asarray(before - after)
