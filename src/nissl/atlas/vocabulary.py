"""Token ids as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["Vocabulary"]


class Vocabulary:
    """The text of every token id, each decoded once.

    Parameters
    ----------
    net : Network
        Its tokenizer is asked; without one, ids are written as ``[id]``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> words = Vocabulary(SimpleNamespace(tokenizer=None))
    >>> words(7), words.texts(np.array([7, -1])).tolist()
    ('[7]', ['[7]', ''])
    """

    def __init__(self, net: Network):
        self.tokenizer: Any = net.tokenizer
        self._known: dict[int, str] = {-1: ""}

    def __call__(self, token: int) -> str:
        """Return the text of one id; of -1 the empty text."""
        if token not in self._known:
            self._known[token] = self._decode(token)
        return self._known[token]

    def texts(self, ids: NDArray[Any]) -> NDArray[np.str_]:
        """Return the texts of many ids.

        Parameters
        ----------
        ids : array of int
            Token ids; -1 for none.

        Returns
        -------
        array of str
            Of the same shape.
        """
        found, where = np.unique(ids, return_inverse=True)
        texts = np.array([self(int(i)) for i in found], dtype=str)
        return texts[where.reshape(ids.shape)]

    def save(self, path: Path, ids: NDArray[Any]) -> None:
        """Write the texts of ids as JSON.

        Parameters
        ----------
        path : Path
            The file.
        ids : array of int
            Token ids.
        """
        table = {str(i): self(int(i)) for i in np.unique(ids).tolist()}
        path.write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")

    def _decode(self, token: int) -> str:
        if self.tokenizer is None:
            return f"[{token}]"
        text = str(self.tokenizer.decode([token]))
        raw = self.tokenizer.convert_ids_to_tokens(token)
        # SentencePiece drops the space before a word that stands alone.
        if isinstance(raw, str) and raw.startswith("▁") and not text.startswith(" "):
            text = " " + text
        # Part of a character, or nothing that shows: the tokenizer's own name for it.
        return text if text and "\ufffd" not in text else f"[{raw}]"
