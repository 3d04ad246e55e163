"""Token ids as text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["Vocabulary", "joined", "joined_tokens"]


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
        if "\ufffd" in text and (own := _bytes_of(str(raw))) is not None:
            return "".join(f"<0x{byte:02X}>" for byte in own)  # part of a character
        # Nothing that shows: the tokenizer's own name for it.
        return text if text and "\ufffd" not in text else f"[{raw}]"


BYTES = re.compile("(?:<0x[0-9A-F]{2}>)+")
CONTINUED = re.compile(r"^(<0x[89AB][0-9A-F]>)+")  # of a character that begins before


def joined(text: str) -> str:
    """Return text in which bytes that make whole characters have become these.

    Parameters
    ----------
    text : str
        Texts of tokens, one after another; parts of characters are bytes, as ``<0xE4>``.

    Returns
    -------
    str
        What is left of a character stays bytes.

    Examples
    --------
    >>> joined("<0xE4><0xB8><0xAD>a<0xE4>")
    '中a<0xE4>'
    """

    def whole(found: re.Match[str]) -> str:
        raw = bytes(int(part, 16) for part in re.findall("[0-9A-F]{2}", found[0].replace("0x", "")))
        text = raw.decode("utf-8", errors="surrogateescape")
        return "".join(
            f"<0x{ord(c) - 0xDC00:02X}>" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text
        )

    return BYTES.sub(whole, text)


def joined_tokens(tokens: list[str], at: int) -> list[str]:
    """Join bytes of neighbouring tokens into characters.

    Parameters
    ----------
    tokens : list of str
        Texts of tokens in a row.
    at : int
        The token that is looked at: a character of which it holds a part is put there.

    Returns
    -------
    list of str
        As many; a character stands where its last byte does, and its other parts are empty.

    Examples
    --------
    >>> joined_tokens(["a", "<0xE4><0xB8>", "<0xAD>", "b"], 0)
    ['a', '', '中', 'b']
    >>> joined_tokens(["<0xAD>", "<0xE4><0xB8>", "<0xAD>"], 2)  # cut inside a character
    ['<0xAD>', '', '中']
    """
    if not any(token.startswith("<0x") for token in tokens):
        return tokens
    made, i = list(tokens), 0
    while i < len(tokens):
        end = i
        while end < len(tokens) and BYTES.fullmatch(tokens[end]):
            end += 1
            text = joined("".join(tokens[i:end]))
            if not BYTES.search(CONTINUED.sub("", text)):  # whole characters
                break
        if end > i:
            made[i:end] = [""] * (end - i)
            made[at if i <= at < end else end - 1] = joined("".join(tokens[i:end]))
        i = max(end, i + 1)
    return made


def _bytes_of(raw: str) -> bytes | None:
    """Return the bytes of a token as byte-level BPE or SentencePiece writes them."""
    if BYTES.fullmatch(raw):
        return bytes(int(part, 16) for part in re.findall("<0x([0-9A-F]{2})>", raw))
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    # Byte-level BPE writes bytes that do not show as the characters from 256 on.
    table = {chr(b): b for b in shown} | {chr(256 + i): b for i, b in enumerate(hidden)}
    return bytes(table[c] for c in raw) if all(c in table for c in raw) else None
