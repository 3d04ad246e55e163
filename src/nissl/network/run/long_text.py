"""Token ids of a long text, cut where the tokenizer shows that a cut changes nothing.

A tokenizer keeps some 500 bytes for each token of the text that it is given, so that a book of a
hundred megabytes would take all memory before anything is computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["encode"]

LONG = 1_000_000  # characters
AROUND = 400  # characters on either side of a cut that must come out the same with and without it
SEARCHED = 50_000  # characters before the end of a part
TRIED = 50


def encode(tokenizer: Any, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the token ids of a text, without special tokens.

    Parameters
    ----------
    tokenizer : tokenizer of transformers
        What makes them.
    text : str
        A text of a million characters or more is read in parts, where the tokenizer splits words
        before it makes tokens: each part ends with a line or a word, and the tokens around its end
        are the same whether it is cut there or not. A text without such places is read whole.

    Returns
    -------
    array, shape (n_tokens,), int64
        Equal to those of the whole text.
    """
    parts = [np.asarray(_ids(tokenizer, part), dtype=np.int64) for part in _parts(tokenizer, text)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False, verbose=False))


def _parts(tokenizer: Any, text: str) -> Iterator[str]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    begin = 0
    # What splits no words first may join any two characters.
    while backend is not None and backend.pre_tokenizer is not None and len(text) - begin > LONG:
        cut = _cut(tokenizer, text, begin + LONG)
        if cut is None:
            break
        yield text[begin:cut]
        begin = cut
    yield text[begin:]


def _cut(tokenizer: Any, text: str, place: int) -> int | None:
    """Return a place, not long before another, at which the text may be cut."""
    # Before a line, or before the space of a word, which belongs to it.
    candidates = re.finditer(r"(?<=\n)(?=\w)|(?<=\w)(?= \w)", text[place - SEARCHED : place])
    for found in list(candidates)[: -TRIED - 1 : -1]:
        at = place - SEARCHED + found.start()
        left, right = text[at - AROUND : at], text[at : at + AROUND]
        if _ids(tokenizer, left) + _ids(tokenizer, right) == _ids(tokenizer, left + right):
            return at
    return None
