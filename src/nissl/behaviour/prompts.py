"""Prompts and answers as token ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.network.run.inputs import read_inputs

if TYPE_CHECKING:
    from nissl.network.network import Network

__all__ = ["answer_tokens", "beginnings", "first_tokens", "token_ids"]


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


def token_ids(net: Network, prompts: Any) -> list[NDArray[np.int64]]:
    """Return the token ids of prompts.

    Parameters
    ----------
    net : Network
        A language model.
    prompts : texts, chats, token ids, encoding of a tokenizer, or DataFrame
        What it reads; texts with the special tokens that the tokenizer puts around them, chats up
        to where the answer begins, ids as they are.

    Returns
    -------
    list of array of int64, each shape (length,)
        Token ids.

    Raises
    ------
    NisslError
        The network has no tokenizer for a text, or a prompt is empty.

    Examples
    --------
    >>> token_ids(net, ["The capital of France is"])  # doctest: +SKIP
    [array([ 504, 3575,  282, 4649,  314])]
    """
    if isinstance(prompts, Mapping):
        return read_inputs(net, prompts).documents
    rows = list(prompts["text"] if hasattr(prompts, "columns") else prompts)
    if rows and isinstance(rows[0], Mapping):  # one chat
        rows = [rows]
    found = [_ids(net, row) for row in rows]
    for number, ids in enumerate(found):
        if not ids.size:
            raise NisslError("a prompt has no token", where=f"prompt {number}", do="leave it out")
    return found


def answer_tokens(net: Network, answers: Sequence[Any], *, of: int) -> list[list[int]]:
    """Return the tokens of each answer.

    Parameters
    ----------
    net : Network
        A language model.
    answers : sequence of str or of token ids
        With the space that begins them; there may be none at all. A text is read as what goes on,
        so that a mark which a tokenizer puts before whole texts is not taken for its beginning.
    of : int
        How many prompts they belong to.

    Returns
    -------
    list of list of int
        Token ids, at least one each.

    Raises
    ------
    NisslError
        There are not as many answers as prompts, an answer has no token, or the network has no
        tokenizer for a text.

    Examples
    --------
    >>> answer_tokens(net, [" Paris"], of=1)  # doctest: +SKIP
    [[7042]]
    """
    if len(answers) not in (0, of):
        raise NisslError(f"{len(answers)} answers for {of} prompts", do="give one for each")
    found = []
    for number, answer in enumerate(answers):
        ids = _continuing(net, answer) if isinstance(answer, str) else answer
        if not len(ids):
            raise NisslError(
                f"the answer {answer!r} has no token", where=f"prompt {number}", do="leave it out"
            )
        found.append([int(token) for token in ids])
    return found


def first_tokens(
    net: Network, answers: Iterable[str], prompts: Iterable[str] | None = None
) -> NDArray[np.int64]:
    """Return the token that begins each answer.

    Parameters
    ----------
    net : Network
        A language model.
    answers : iterable of str
        With the space that begins them.
    prompts : iterable of str, optional
        What each answer goes on from; by default a word.

    Returns
    -------
    array of int64, shape (n_answers,)
        Token ids.

    Raises
    ------
    NisslError
        The network has no tokenizer, an answer has no token, or there are not as many prompts as
        answers.

    Examples
    --------
    >>> first_tokens(net, [" Paris"])  # doctest: +SKIP
    array([7042])
    """
    given = list(answers)
    if prompts is None:
        tokens = answer_tokens(net, given, of=len(given))
    else:
        before = list(prompts)
        if len(before) != len(given):
            raise NisslError(
                f"{len(given)} answers for {len(before)} prompts", do="give one for each"
            )
        pairs = zip(given, before, strict=True)
        tokens = answer_tokens(net, [_continuing(net, *pair) for pair in pairs], of=len(given))
    return np.asarray([ids[0] for ids in tokens])


def _continuing(net: Network, answer: str, before: str | None = None) -> list[int]:
    """Return the tokens of an answer as they go on from a text: tokenizers mark where one begins.

    By default that is the answer itself, where it begins with a space; else none.
    """
    encode = net.require_tokenizer().encode
    alone: list[int] = list(encode(answer, add_special_tokens=False))
    if before is None and answer[:1].isspace() and answer.strip():
        before = answer.strip()
    if not answer or not before:
        return alone
    begun = list(encode(before, add_special_tokens=False))
    whole = list(encode(before + answer, add_special_tokens=False))
    # Where the two melt into one token, the model would not be given what it is asked about.
    return whole[len(begun) :] if whole[: len(begun)] == begun else alone


def _ids(net: Network, prompt: Any) -> NDArray[np.int64]:
    if isinstance(prompt, str):
        return np.asarray(net.require_tokenizer().encode(prompt, add_special_tokens=True))
    if len(prompt) and isinstance(prompt[0], Mapping):
        return read_inputs(net, [prompt], reply=True).documents[0]
    return np.asarray(prompt)
