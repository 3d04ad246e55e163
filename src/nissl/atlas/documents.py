"""Long texts cut into documents, so that what units prefer can be tested over them."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["cut_documents"]

FEW = 20  # texts, fewer than which are cut
LONGEST = 2_000  # characters of a document that was cut: some 400 tokens


def cut_documents(inputs: Any) -> tuple[Any, int]:
    r"""Cut long texts into documents where there are few.

    Preferences are tested over documents: one book as one document tests nothing.

    Parameters
    ----------
    inputs : text, sequence of text, or DataFrame with a column ``text``
        Anything else, and twenty texts or more, is returned as it is.

    Returns
    -------
    inputs : DataFrame or what was given
        One row a document, cut at paragraphs, lines, sentences or words, in this order; other
        columns are repeated.
    n_cut : int
        How many texts were cut.

    Examples
    --------
    >>> book = "\n\n".join(["A paragraph of a book. " * 20] * 30)
    >>> cut, n_cut = cut_documents(book)
    >>> len(cut), n_cut, "".join(cut["text"]) == book
    (8, 1, True)
    """
    import pandas as pd

    table = inputs
    if isinstance(inputs, str):
        table = pd.DataFrame({"text": [inputs]})
    elif isinstance(inputs, (list, tuple)) and inputs and all(isinstance(x, str) for x in inputs):
        table = pd.DataFrame({"text": list(inputs)})
    if not isinstance(table, pd.DataFrame) or "text" not in table or len(table) >= FEW:
        return inputs, 0
    parts = [_pieces(text) if isinstance(text, str) else [text] for text in table["text"]]
    n_cut = sum(len(part) > 1 for part in parts)
    if not n_cut:
        return inputs, 0
    cut = table.loc[table.index.repeat([len(part) for part in parts])].reset_index(drop=True)
    return cut.assign(text=[piece for part in parts for piece in part]), n_cut


def _pieces(text: str) -> list[str]:
    """Cut a text into pieces of `LONGEST` characters at most; joined they are the text."""
    if len(text) <= LONGEST:
        return [text]
    for boundary in (r"(?<=\n)\n+", r"\n", r"(?<=[.!?。！？])\s*", r"\s+"):
        ends = [found.end() for found in re.finditer(boundary, text)]
        pieces = _joined(text, ends)
        if max(map(len, pieces)) <= 2 * LONGEST:
            return pieces
    return [text[at : at + LONGEST] for at in range(0, len(text), LONGEST)]


def _joined(text: str, ends: list[int]) -> list[str]:
    """Cut where the last boundary before `LONGEST` characters is, or the next one after."""
    pieces, start, last = [], 0, 0
    for end in [*ends, len(text)]:
        if end - start > LONGEST and last > start:
            pieces.append(text[start:last])
            start = last
        last = end
    pieces.append(text[start:])
    return [piece for piece in pieces if piece]
