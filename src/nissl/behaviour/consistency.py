"""Questions that a network answers rightly each time, or wrongly each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.behaviour.prompt_scorer import PromptScorer
from nissl.behaviour.prompts import first_tokens
from nissl.columns import require_columns
from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["consistent", "nucleus"]

Array = NDArray[np.floating[Any]]


def consistent(
    net: Network,
    questions: pd.DataFrame,
    *,
    n_samples: int = 10,
    temperature: float = 1.0,
    top_p: float = 0.9,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Ask each question several times, and keep those answered always rightly or always wrongly.

    An answer is drawn by its first token, which decides: one forward pass gives its distribution,
    and all draws are made from that.

    Parameters
    ----------
    net : Network
        A language model.
    questions : DataFrame
        Columns ``text`` (a prompt that the answer goes on) and ``answer`` (the right one, with the
        space that begins it).
    n_samples : int
        How often each is asked.
    temperature, top_p : float
        How answers are drawn: from the likeliest tokens, at most 50, that together reach `top_p`.
    batch_size : int
        Prompts in a call.
    seed : int
        The seed of the draws.
    progress : bool
        Show a bar.

    Returns
    -------
    DataFrame
        The rows kept, with ``wrong``, ``said`` (the commonest answer's first token, as text) and
        ``n_right`` (of `n_samples`).

    Raises
    ------
    UnknownName
        A column is missing.
    NisslError
        The network has no tokenizer.

    Notes
    -----
    Source: Gao et al. 2025, section 2 (ten answers, all right or all wrong; the same wrong answer
    is not asked for). That the first token decides is ours: it fits answers of a word.

    Examples
    --------
    >>> consistent(net, questions)["wrong"].mean()  # doctest: +SKIP
    """
    require_columns(questions, ("text", "answer"))
    tokenizer = net.require_tokenizer()
    first = first_tokens(net, questions["answer"])
    n_right, said = np.zeros(len(first), dtype=int), np.zeros(len(first), dtype=np.int64)
    scorer = PromptScorer(net, list(questions["text"]))
    for _, rows, logits in scorer.logits(batch_size=batch_size, progress=progress):
        for row, one in zip(rows, logits.cpu().numpy(), strict=True):
            tokens, chances = nucleus(one, temperature=temperature, top_p=top_p)
            drawn = np.random.default_rng([seed, row]).multinomial(n_samples, chances)
            n_right[row] = drawn[tokens == first[row]].sum()
            said[row] = tokens[drawn.argmax()]
    kept = (n_right == 0) | (n_right == n_samples)
    table = questions.assign(
        wrong=n_right == 0, said=[tokenizer.decode([token]) for token in said], n_right=n_right
    )
    found: pd.DataFrame = table[kept].reset_index(drop=True)
    return found


def nucleus(
    logits: ArrayLike, *, temperature: float = 1.0, top_p: float = 0.9, top_k: int = 50
) -> tuple[NDArray[np.int64], Array]:
    """Return the likeliest tokens that together reach a probability, and their chances.

    Parameters
    ----------
    logits : array, shape (vocabulary,)
        Of the next token.
    temperature : float
        Divides them.
    top_p : float
        The probability to reach.
    top_k : int
        Tokens at most.

    Returns
    -------
    tokens : array of int64, shape (n,)
        Likeliest first.
    chances : array of float64, shape (n,)
        They sum to one.

    Raises
    ------
    NisslError
        The temperature, `top_p` or `top_k` is not above zero.

    Notes
    -----
    Source: Holtzman et al. 2020, "The curious case of neural text degeneration".

    Examples
    --------
    >>> tokens, chances = nucleus(np.log([0.1, 0.6, 0.3]), top_p=0.8)
    >>> tokens.tolist(), chances.round(3).tolist()
    ([1, 2], [0.667, 0.333])
    """
    if min(temperature, top_p, top_k) <= 0:
        raise NisslError(
            f"temperature={temperature}, top_p={top_p}, top_k={top_k} leave nothing to draw from",
            do="give numbers above zero",
        )
    scaled = np.asarray(logits, dtype=float) / temperature
    tokens = np.argsort(-scaled, kind="stable")[:top_k]
    weight = np.exp(scaled[tokens] - scaled.max())
    total = np.exp(scaled - scaled.max()).sum()
    before = np.cumsum(weight) - weight
    inside = before < top_p * total  # a token is in where those before it do not reach top_p
    chances = weight[inside] / weight[inside].sum()
    return tokens[inside].astype(np.int64), np.asarray(chances)
