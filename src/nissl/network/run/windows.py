"""Texts, chats and token ids as windows that a model can read, by a stated policy.

A document longer than the window is read in several; with a stride shorter than the window, the
tokens that a window shares with the one before are context only, so that every token of a document
is one sample and no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nissl.errors import NisslError
from nissl.network.run.inputs import Special, read_inputs, special_tokens

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork

__all__ = ["BosPolicy", "Windows", "single_windows", "windows_of"]

BosPolicy = Literal["document", "window", "never"]
DEFAULT_WINDOW = 512


@dataclass(frozen=True)
class Windows:
    """What a model is given, window by window, and what of it is new.

    Parameters
    ----------
    ids : list of array, each shape (length,), int64
        Token ids of each window.
    document : array, shape (n_windows,), int64
        The document each is from.
    offset : array, shape (n_windows,), int64
        Index in its document of each window's first token (-1 for a beginning-of-text token).
    skip, tail : array, shape (n_windows,), int64
        How many tokens at the beginning and at the end of each window are context only.
    labels : dict of str to array, shape (n_documents,)
        Labels of the documents.
    window, stride : int
        Tokens of a window, and from one window to the next.
    bos : {"document", "window", "never"}
        Where a beginning-of-text token was put.
    """

    ids: list[np.ndarray[Any, np.dtype[np.int64]]]
    document: np.ndarray[Any, Any]
    offset: np.ndarray[Any, Any]
    skip: np.ndarray[Any, Any]
    tail: np.ndarray[Any, Any]
    labels: dict[str, np.ndarray[Any, Any]]
    window: int
    stride: int
    bos: BosPolicy

    @property
    def n_samples(self) -> int:
        """How many tokens are new."""
        return int(sum(map(len, self.ids)) - self.skip.sum() - self.tail.sum())

    def first(self, n_tokens: int) -> Windows:
        """Return the first windows that together give so many new tokens, or all.

        Parameters
        ----------
        n_tokens : int
            New tokens wanted, at least.

        Returns
        -------
        Windows
            Whole windows; the labels of all documents stay.
        """
        new = np.asarray([len(ids) for ids in self.ids]) - self.skip - self.tail
        n = min(int(np.searchsorted(np.cumsum(new), n_tokens)) + 1, len(new))
        part = slice(0, n)
        return replace(
            self,
            ids=self.ids[part],
            document=self.document[part],
            offset=self.offset[part],
            skip=self.skip[part],
            tail=self.tail[part],
        )

    def fingerprint(self) -> str:
        """Return a hash of every token id, window by window."""
        digest = hashlib.sha256()
        for ids in self.ids:
            digest.update(np.int64(len(ids)).tobytes() + ids.tobytes())
        return digest.hexdigest()[:32]


def windows_of(
    net: BaseNetwork,
    inputs: Any,
    *,
    window: int | None = None,
    stride: int | None = None,
    bos: BosPolicy | None = None,
) -> Windows:
    """Cut texts, chats or token ids into windows.

    Parameters
    ----------
    net : Network
        The network that will read them, for its tokenizer and context.
    inputs : text, texts, chats, token ids, encoding, DataFrame or Inputs
        Documents. A DataFrame has a column ``text``; its other columns are labels.
    window : int, optional
        Tokens in a window; by default 512, or the model's context where that is shorter.
    stride : int, optional
        Tokens from the beginning of one window to that of the next; by default the window.
    bos : {"document", "window", "never"}, optional
        Where the tokens that begin (and, for BERT, end) a text are put; by default at every window
        if the tokenizer itself puts them around a text, else never. Chats and encodings have
        theirs, and ids that begin with them get no second ones.

    Returns
    -------
    Windows
        In the order of the documents.

    Raises
    ------
    NisslError
        There is no tokenizer, a text is empty, an id is not in the vocabulary, or the window is
        longer than the context.
    """
    given = read_inputs(net, inputs)
    if not given.documents:
        raise NisslError("there is no text", do="give at least one document")
    limit = net.context
    window = min(DEFAULT_WINDOW, limit or DEFAULT_WINDOW) if window is None else window
    if limit is not None and window > limit:
        raise NisslError(
            f"a window of {window} tokens is beyond the model's context of {limit}",
            do=f"choose window={limit} or less; longer texts are cut into several",
        )
    special, policy = _around(net, bos)
    rooms = {"never": window, "document": window}
    rooms["window"] = window - len(special.before) - len(special.after)
    steps = {name: min(stride or room, room) for name, room in rooms.items()}
    if rooms[policy] < 1 or steps[policy] < 1:
        raise NisslError(f"a window of {window} and a stride of {steps[policy]} leave no tokens")
    rows: list[tuple[np.ndarray[Any, Any], int, int, int, int]] = []
    for number, (ids, complete) in enumerate(zip(given.documents, given.complete, strict=True)):
        # What was given with its special tokens is read as it is, unless bos= says otherwise.
        put: BosPolicy = "never" if complete and bos is None else policy
        first, room, step = 0, rooms[put], steps[put]
        if put != "never":  # one beginning, also where the ids bring their own
            ids, first = special.without(ids)
        if put == "document":
            ids = np.concatenate([special.before, ids, special.after])
            first -= len(special.before)
        starts = range(0, max(len(ids) - (room - step), 1), step)
        for at in starts:
            piece, skip, tail, offset = ids[at : at + room], (room - step) * (at > 0), 0, at + first
            if put == "window":
                piece = np.concatenate([special.before, piece, special.after])
                offset -= len(special.before)
                # Sampled once a document: around its first and its last window.
                skip += len(special.before) * (at > 0)
                tail = len(special.after) * (at != starts[-1])
            rows.append((piece, number, offset, skip, tail))
    pieces, *columns = zip(*rows, strict=True)
    document, offsets, skips, tails = (np.asarray(column, dtype=np.int64) for column in columns)
    labels, step = given.labels, steps[policy]
    return Windows(list(pieces), document, offsets, skips, tails, labels, window, step, policy)


def single_windows(net: BaseNetwork, inputs: Any) -> Windows:
    """Return documents as windows, each document one.

    Parameters
    ----------
    net : Network
        The network.
    inputs : text, texts, chats, token ids, encoding, DataFrame or Inputs
        Documents.

    Returns
    -------
    Windows
        As many as documents.

    Raises
    ------
    NisslError
        A text is longer than the context.
    """
    windows = windows_of(net, inputs, window=net.context or 1 << 20)
    if len(set(windows.document.tolist())) < len(windows.document):
        raise NisslError(
            f"a text is longer than the model's context of {net.context} tokens",
            do="shorten it, or record it: `record` reads long texts in windows",
        )
    return windows


def _around(net: BaseNetwork, bos: BosPolicy | None) -> tuple[Special, BosPolicy]:
    """The tokens before and after a text, and where they are put."""
    tokenizer: Any = net.tokenizer
    none = np.zeros(0, dtype=np.int64)
    if tokenizer is None:
        if bos not in (None, "never"):
            raise NisslError("there is no tokenizer to know the beginning-of-text token")
        return Special(none, none), "never"
    special = special_tokens(net)
    empty = not len(special.before) and not len(special.after)
    if bos == "never" or (bos is None and empty):
        return Special(none, none), "never"
    if empty:
        if tokenizer.bos_token_id is None:
            raise NisslError("the tokenizer has no beginning-of-text token", do="give bos='never'")
        special = Special(np.asarray([tokenizer.bos_token_id], dtype=np.int64), none)
    return special, bos or "window"


def batches_of(
    lengths: Iterable[int], *, batch_size: int | None, tokens: int = 2048
) -> list[range]:
    """Group consecutive windows into batches of about as many tokens, or of a given size."""
    lengths = list(lengths)
    if batch_size is not None:
        return [
            range(i, min(i + batch_size, len(lengths))) for i in range(0, len(lengths), batch_size)
        ]
    groups, first, longest = [], 0, 0
    for index, length in enumerate(lengths):
        longest = max(longest, length)
        if index > first and (index + 1 - first) * longest > tokens:
            groups.append(range(first, index))
            first, longest = index, length
    return [*groups, range(first, len(lengths))]
