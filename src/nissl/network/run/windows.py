"""Texts, chats and token ids as windows that a model can read, by a stated policy.

A document longer than the window is read in several; with a stride shorter than the window, the
tokens that a window shares with the one before are context only, so that every token of a document
is one sample and no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nissl.errors import NisslError
from nissl.recording.labels import as_column

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork

__all__ = ["BosPolicy", "Windows", "windows_of"]

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
    inputs : str, sequence of str, chat messages, sequence of token ids, or DataFrame
        Documents. A DataFrame has a column ``text``; its other columns are labels.
    window : int, optional
        Tokens in a window; by default 512, or the model's context where that is shorter.
    stride : int, optional
        Tokens from the beginning of one window to that of the next; by default the window.
    bos : {"document", "window", "never"}, optional
        Where the tokens that begin (and, for BERT, end) a text are put; by default at every window
        if the tokenizer itself puts them around a text, else never.

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
    documents, labels = _documents(net, inputs)
    limit = net.context
    window = min(DEFAULT_WINDOW, limit or DEFAULT_WINDOW) if window is None else window
    if limit is not None and window > limit:
        raise NisslError(
            f"a window of {window} tokens is beyond the model's context of {limit}",
            do=f"choose window={limit} or less; longer texts are cut into several",
        )
    before, after, policy = _around(net, bos)
    room = window - (len(before) + len(after) if policy == "window" else 0)
    step = min(stride or room, room)
    if room < 1 or step < 1:
        raise NisslError(f"a window of {window} and a stride of {step} leave no tokens")
    rows: list[tuple[np.ndarray[Any, Any], int, int, int, int]] = []
    for number, ids in enumerate(documents):
        first = -len(before) if policy == "document" else 0
        if policy == "document":
            ids = np.concatenate([before, ids, after])
        starts = range(0, max(len(ids) - (room - step), 1), step)
        for at in starts:
            piece, skip, tail, offset = ids[at : at + room], (room - step) * (at > 0), 0, at + first
            if policy == "window":
                piece = np.concatenate([before, piece, after])
                offset -= len(before)
                # Sampled once a document: around its first and its last window.
                skip += len(before) * (at > 0)
                tail = len(after) * (at != starts[-1])
            rows.append((piece, number, offset, skip, tail))
    pieces, *columns = zip(*rows, strict=True)
    document, offsets, skips, tails = (np.asarray(column, dtype=np.int64) for column in columns)
    return Windows(list(pieces), document, offsets, skips, tails, labels, window, step, policy)


def is_sequence_input(inputs: Any) -> bool:
    """Tell whether inputs are texts, chats or token ids, not images or tensors."""
    if isinstance(inputs, str) or hasattr(inputs, "columns"):
        return True
    kind = getattr(getattr(inputs, "dtype", None), "is_floating_point", None)
    if kind is not None:  # a torch tensor
        return not kind and inputs.ndim in (1, 2) and not inputs.dtype.is_complex
    if isinstance(inputs, np.ndarray):
        return inputs.dtype.kind in "OUS" or (inputs.dtype.kind in "iu" and inputs.ndim <= 2)
    if isinstance(inputs, Sequence) and len(inputs):
        first = inputs[0]
        if isinstance(first, (str, int, Mapping)):
            return True
        if isinstance(first, np.ndarray):
            return first.ndim == 1 and first.dtype.kind in "iu"
        return (
            isinstance(first, Sequence) and len(first) > 0 and isinstance(first[0], (int, Mapping))
        )
    return False


def _documents(
    net: BaseNetwork, inputs: Any
) -> tuple[list[np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]:
    labels: dict[str, np.ndarray[Any, Any]] = {}
    if hasattr(inputs, "columns"):
        if "text" not in inputs.columns:
            raise NisslError("the table of texts has no column 'text'", do="name it so")
        labels = {c: as_column(inputs[c]) for c in inputs.columns if c != "text"}
        inputs = list(inputs["text"])
    if isinstance(inputs, str):
        inputs = [inputs]
    inputs = inputs.tolist() if hasattr(inputs, "tolist") else list(inputs)
    if not inputs:
        raise NisslError("there is no text", do="give at least one document")
    if isinstance(inputs[0], (int, Mapping)):  # one list of ids, or one chat
        inputs = [inputs]
    documents = [_ids(net, item, number) for number, item in enumerate(inputs)]
    return documents, labels


def _ids(net: BaseNetwork, item: Any, number: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    where = f"document {number}"
    if isinstance(item, str):
        if not item.strip():
            raise NisslError("the text is empty", where=where, do="leave it out")
        ids = net.require_tokenizer().encode(item, add_special_tokens=False, verbose=False)
    elif len(item) and isinstance(item[0], Mapping):
        tokenizer = net.require_tokenizer()
        if not getattr(tokenizer, "chat_template", None):
            raise NisslError("this model has no chat template", where=where, do="give plain text")
        text = tokenizer.apply_chat_template(list(item), tokenize=False)
        ids = tokenizer.encode(text, add_special_tokens=False, verbose=False)
    else:
        ids = item
    array = np.asarray(ids, dtype=np.int64)
    if array.ndim != 1 or not len(array):
        raise NisslError(
            f"token ids have shape {array.shape}", where=where, do="give a list of ids"
        )
    vocabulary = net.vocabulary_size
    if vocabulary is not None and (array.min() < 0 or array.max() >= vocabulary):
        bad = int(array[(array < 0) | (array >= vocabulary)][0])
        raise NisslError(
            f"token id {bad} is not among the {vocabulary} of the vocabulary", where=where
        )
    return array


def _around(
    net: BaseNetwork, bos: BosPolicy | None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], BosPolicy]:
    """The tokens before and after a text, and where they are put."""
    tokenizer: Any = net.tokenizer
    none = np.zeros(0, dtype=np.int64)
    if tokenizer is None:
        if bos not in (None, "never"):
            raise NisslError("there is no tokenizer to know the beginning-of-text token")
        return none, none, "never"
    plain = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.encode("a", add_special_tokens=True)
    at = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)
    before, after = whole[:at], whole[at + len(plain) :]
    if bos == "never" or (bos is None and not before and not after):
        return none, none, "never"
    if not before and not after:
        if tokenizer.bos_token_id is None:
            raise NisslError("the tokenizer has no beginning-of-text token", do="give bos='never'")
        before = [tokenizer.bos_token_id]
    arrays = np.asarray(before, dtype=np.int64), np.asarray(after, dtype=np.int64)
    return *arrays, bos or "window"


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
