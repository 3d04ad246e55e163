"""Texts, chats and token ids as windows that a model can read, by a stated policy.

A document longer than the window is read in several; with a stride shorter than the window, the
tokens that a window shares with the one before are context only, so that every token of a document
is one sample and no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nissl.errors import NisslError

if TYPE_CHECKING:
    from nissl.network.network import Network

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
    skip : array, shape (n_windows,), int64
        How many tokens at the beginning of each window are context only.
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
    labels: dict[str, np.ndarray[Any, Any]]
    window: int
    stride: int
    bos: BosPolicy

    @property
    def n_samples(self) -> int:
        """How many tokens are new."""
        return int(sum(map(len, self.ids)) - self.skip.sum())

    def fingerprint(self) -> str:
        """Return a hash of every token id, window by window."""
        digest = hashlib.sha256()
        for ids in self.ids:
            digest.update(np.int64(len(ids)).tobytes() + ids.tobytes())
        return digest.hexdigest()[:32]


def windows_of(
    net: Network,
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
        Where a beginning-of-text token is put; by default at every window if the tokenizer itself
        puts one before a text, else never.

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
    start, policy = _beginning(net, bos)
    room = window - (policy == "window")
    step = min(stride or room, room)
    if room < 1 or step < 1:
        raise NisslError(f"a window of {window} and a stride of {step} leave no tokens")
    rows: list[tuple[np.ndarray[Any, Any], int, int, int]] = []
    for number, ids in enumerate(documents):
        if policy == "document":
            ids = np.concatenate([start, ids])
        first = -1 if policy == "document" else 0
        for at in range(0, max(len(ids) - (room - step), 1), step):
            piece, skip = ids[at : at + room], (room - step) * (at > 0)
            offset = at + first
            if policy == "window":
                piece, offset = np.concatenate([start, piece]), offset - 1
                skip += at > 0
            rows.append((piece, number, offset, skip))
    pieces, document, offsets, skips = zip(*rows, strict=True)
    arrays = [np.asarray(column, dtype=np.int64) for column in (document, offsets, skips)]
    return Windows(list(pieces), arrays[0], arrays[1], arrays[2], labels, window, step, policy)


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
    net: Network, inputs: Any
) -> tuple[list[np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]:
    labels: dict[str, np.ndarray[Any, Any]] = {}
    if hasattr(inputs, "columns"):
        if "text" not in inputs.columns:
            raise NisslError("the table of texts has no column 'text'", do="name it so")
        labels = {c: np.asarray(inputs[c]) for c in inputs.columns if c != "text"}
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


def _ids(net: Network, item: Any, number: int) -> np.ndarray[Any, np.dtype[np.int64]]:
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


def _beginning(net: Network, bos: BosPolicy | None) -> tuple[np.ndarray[Any, Any], BosPolicy]:
    tokenizer = net.tokenizer
    if tokenizer is None:
        if bos not in (None, "never"):
            raise NisslError("there is no tokenizer to know the beginning-of-text token")
        return np.zeros(0, dtype=np.int64), "never"
    if bos is None:
        added = tokenizer.build_inputs_with_special_tokens([])
        bos = "window" if added[:1] == [tokenizer.bos_token_id] else "never"
    if bos != "never" and tokenizer.bos_token_id is None:
        raise NisslError("this tokenizer has no beginning-of-text token", do="give bos='never'")
    return np.asarray([tokenizer.bos_token_id or 0], dtype=np.int64), bos


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
