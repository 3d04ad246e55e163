"""Where tokens end in their texts: the samples on which two tokenizers can meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording import check

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["with_places"]


def with_places(rec: Recording, texts: Sequence[str], tokenizer: Any) -> Recording:
    """Say of each token where in its text it ends, so that two tokenizers can be aligned.

    What networks know at two tokens that end at the same character comes from the same text. So
    ``align(a, b, on="place", missing="drop")`` pairs the recordings of two networks.

    Parameters
    ----------
    rec : Recording, shape (n_tokens, n_units)
        With sample coordinates ``document`` and ``offset`` (a token's index in its document), as
        `nissl.record` gives them.
    texts : sequence of str
        What was recorded, in the order of the documents.
    tokenizer
        The network's, a fast one of transformers, which knows the characters of its tokens.

    Returns
    -------
    Recording
        With the sample coordinate ``place``: the document times 2**32, plus the character before
        which the token ends. Tokens of no text and tokens that end within a character are left out.

    Raises
    ------
    NisslError
        The tokenizer does not know the characters of its tokens, or the recording is of others.
    UnknownName
        The recording has no ``document`` or ``offset``.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> from nissl.training import small_tokenizer
    >>> rec = as_recording(np.zeros((2, 1)), samples={"document": [0, 0], "offset": [0, 1]})
    >>> with_places(rec, ["hi"], small_tokenizer(["hi"], vocabulary=257))["place"].values.tolist()
    [1, 2]
    """
    check(rec)
    for name in ("document", "offset"):
        if name not in rec.coords:
            raise UnknownName("sample coordinate", name, [str(c) for c in rec.coords])
    document, offset = rec["document"].values.astype(np.int64), rec["offset"].values
    place = np.full(len(document), -1, dtype=np.int64)
    for number in np.unique(document):
        if number >= len(texts):
            raise NisslError(f"document {number} is not among the {len(texts)} texts")
        ends = _ends(texts[number], tokenizer)
        rows = np.flatnonzero((document == number) & (offset >= 0))
        if len(rows) and offset[rows].max() >= len(ends):
            raise NisslError(
                f"the recording has {offset[rows].max() + 1} tokens of a text of {len(ends)}",
                where=f"document {number}",
                do="give the texts and the tokenizer that were recorded",
            )
        place[rows] = np.where(ends[offset[rows]] > 0, number * 2**32 + ends[offset[rows]], -1)
    # Of tokens that are bytes of one character, the last has all of it.
    last = np.append(place[1:] != place[:-1], True)
    kept = np.flatnonzero((place >= 0) & last)
    return rec[kept].assign_coords(place=("sample", place[kept]))


def _ends(text: str, tokenizer: Any) -> np.ndarray[Any, Any]:
    """Return the character before which each token ends; 0 where it has none."""
    if not getattr(tokenizer, "is_fast", False):
        raise NisslError(
            f"{type(tokenizer).__name__} does not know the characters of its tokens",
            do="give a fast tokenizer of transformers",
        )
    told = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ends: np.ndarray[Any, Any] = np.asarray([end for _, end in told["offset_mapping"]], np.int64)
    return ends
