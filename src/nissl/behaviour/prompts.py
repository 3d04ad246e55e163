"""Prompts and answers as token ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError

if TYPE_CHECKING:
    from nissl.network.network import Network

__all__ = ["beginnings", "encoded", "first_tokens"]


def beginnings(net: Network, texts: Iterable[str], n_tokens: int) -> list[list[int]]:
    """Return the first tokens of each text, so that all cost alike.

    Parameters
    ----------
    net : Network
        A network with a tokenizer.
    texts : iterable of str
        Texts.
    n_tokens : int
        How many tokens of each, at most; special tokens are not among them.

    Returns
    -------
    list of list of int
        Token ids.

    Raises
    ------
    NisslError
        The network has no tokenizer.

    Examples
    --------
    >>> beginnings(net, ["The capital of France is Paris."], 3)  # doctest: +SKIP
    [[504, 3575, 282]]
    """
    encode = net.require_tokenizer().encode
    return [encode(t, add_special_tokens=False, verbose=False)[:n_tokens] for t in texts]


def encoded(
    net: Network, prompts: Sequence[str], answers: Sequence[str] = ()
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Return the token ids of prompts, and the first of each answer.

    Parameters
    ----------
    net : Network
        A language model.
    prompts : sequence of str
        What it reads.
    answers : sequence of str, optional
        How each goes on.

    Returns
    -------
    ids : list of array of int64, each shape (length,)
        Of the prompts, special tokens among them.
    first : array of int64, shape (n_answers,)
        The first token of each answer.

    Raises
    ------
    NisslError
        There are not as many answers as prompts, or the network has no tokenizer.

    Examples
    --------
    >>> encoded(net, ["The capital of France is"], [" Paris"])[1]  # doctest: +SKIP
    array([7042])
    """
    if answers and len(prompts) != len(answers):
        raise NisslError(
            f"{len(answers)} answers for {len(prompts)} prompts", do="give one for each"
        )
    tokenizer = net.require_tokenizer()
    ids = [np.asarray(tokenizer.encode(p, add_special_tokens=True)) for p in prompts]
    return ids, first_tokens(net, answers)


def first_tokens(net: Network, answers: Iterable[str]) -> NDArray[np.int64]:
    """Return the token that begins each answer.

    Parameters
    ----------
    net : Network
        A language model.
    answers : iterable of str
        With the space that begins them.

    Returns
    -------
    array of int64, shape (n_answers,)
        Token ids.

    Raises
    ------
    NisslError
        The network has no tokenizer.

    Examples
    --------
    >>> first_tokens(net, [" Paris"])  # doctest: +SKIP
    array([7042])
    """
    encode = net.require_tokenizer().encode
    return np.asarray([encode(a, add_special_tokens=False)[0] for a in answers])
