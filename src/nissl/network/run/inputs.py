"""One gateway from every kind of input to what a model reads.

Texts, chats, token ids, encodings of a tokenizer and tables become documents of token ids; images,
tensors and other arguments are given as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.network.run.calls import Call
from nissl.network.run.long_text import encode
from nissl.recording.labels import as_column

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork

__all__ = ["Inputs", "Special", "is_sequence_input", "read_inputs", "special_tokens"]

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """What a model is to read.

    Parameters
    ----------
    documents : list of array, each shape (length,), int64
        Token ids, padding left out; none where inputs are no sequences.
    complete : list of bool
        Whether the special tokens of each are in it already, as in chats and encodings.
    labels : dict of str to array, each shape (n_items,)
        Labels of the items.
    arguments : Any
        Images, a tensor, or arguments by name, as they were given; None for documents alone.
    text : bool
        Given as text or chat, so that the answer is text too.
    one : bool
        One text or chat alone.
    """

    documents: list[Ids] = field(default_factory=list)
    complete: list[bool] = field(default_factory=list)
    labels: dict[str, NDArray[Any]] = field(default_factory=dict)
    arguments: Any = None
    text: bool = False
    one: bool = False


@dataclass(frozen=True)
class Special:
    """The tokens that a tokenizer puts around a text.

    Parameters
    ----------
    before, after : array, shape (length,), int64
        May be empty.
    """

    before: Ids
    after: Ids

    def without_end(self, ids: Ids) -> Ids:
        """Return ids without the tokens that end a text."""
        n = len(self.after)
        return ids[: len(ids) - n] if n and np.array_equal(ids[-n:], self.after) else ids

    def without(self, ids: Ids) -> tuple[Ids, int]:
        """Return ids without the tokens around them, and how many were before."""
        n = len(self.before)
        n = n if n and np.array_equal(ids[:n], self.before) else 0
        return self.without_end(ids[n:]), n


def read_inputs(net: BaseNetwork, inputs: Any, *, reply: bool = False) -> Inputs:
    """Return what a model is to read, from any kind of input.

    Parameters
    ----------
    net : Network
        The network, for its tokenizer and vocabulary.
    inputs : text, texts, chats, token ids, encoding, DataFrame, images, tensor, mapping or Call
        A DataFrame has its texts in ``text``; other columns are labels. An encoding is what a
        tokenizer returns: its padding is no part of a document.
    reply : bool
        End chats where the answer begins.

    Returns
    -------
    Inputs
        Documents, arguments, or both for an encoding.

    Raises
    ------
    NisslError
        There is no tokenizer, a text is empty, or an id is not in the vocabulary.
    """
    if isinstance(inputs, Inputs):
        return inputs
    if isinstance(inputs, Call):
        inputs = inputs.args[0] if inputs.args else inputs.kwargs
    if isinstance(inputs, Mapping):
        return _encoding(net, inputs)
    labels: dict[str, NDArray[Any]] = {}
    if hasattr(inputs, "columns"):
        if "text" not in inputs.columns:
            raise NisslError("the table of texts has no column 'text'", do="name it so")
        labels = {c: as_column(inputs[c]) for c in inputs.columns if c != "text"}
        inputs = list(inputs["text"])
    elif hasattr(inputs, "labels") and hasattr(inputs, "values"):
        labels, inputs = _image_labels(inputs), inputs.values
    if isinstance(inputs, Iterator):
        inputs = list(inputs)
    elif hasattr(inputs, "to_numpy"):  # a column of a table
        inputs = inputs.to_numpy()
    if not is_sequence_input(inputs):
        return Inputs(labels=labels, arguments=inputs)
    one = isinstance(inputs, str)
    items = [inputs] if one else inputs.tolist() if hasattr(inputs, "tolist") else list(inputs)
    if isinstance(items[0], (Integral, Mapping)):  # one list of ids, or one chat
        items, one = [items], True
    documents = [_ids(net, item, n, reply=reply) for n, item in enumerate(items)]
    # A chat's template writes the special tokens itself.
    complete = [_is_chat(item) for item in items]
    text = isinstance(items[0], str) or complete[0]
    return Inputs(documents, complete, labels, text=text, one=one)


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
        if isinstance(first, (str, Integral, Mapping)):
            return True
        if hasattr(first, "ndim"):
            return first.ndim == 1 and is_sequence_input(first)
        return (
            isinstance(first, Sequence)
            and len(first) > 0
            and isinstance(first[0], (Integral, Mapping))
        )
    return False


def special_tokens(net: BaseNetwork) -> Special:
    """Return the tokens that a network's tokenizer puts around a text."""
    tokenizer: Any = net.tokenizer
    before, after = [], []
    if tokenizer is not None:
        plain = tokenizer.encode("a", add_special_tokens=False)
        whole = tokenizer.encode("a", add_special_tokens=True)
        at = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)
        before, after = whole[:at], whole[at + len(plain) :]
    return Special(np.asarray(before, dtype=np.int64), np.asarray(after, dtype=np.int64))


def _encoding(net: BaseNetwork, given: Mapping[str, Any]) -> Inputs:
    """Read arguments by name, those of a tokenizer among them."""
    ids, mask = given.get("input_ids"), given.get("attention_mask")
    if not is_sequence_input(ids):
        return Inputs(arguments=dict(given))
    batch = getattr(ids, "ndim", 0) == 2
    arguments = dict(given) if batch else None
    if batch and mask is not None and tuple(mask.shape) != tuple(given["input_ids"].shape):
        return Inputs(arguments=arguments)  # it goes on from a cache
    kinds = given.get("token_type_ids")
    if not batch and kinds is not None and any(np.any(np.asarray(row)) for row in kinds):
        raise NisslError(
            "the encoding holds pairs of texts in lists",
            do="let the tokenizer fill them up: padding=True, return_tensors='pt'",
        )
    rows, masks = _rows(ids), None if mask is None else _rows(mask)
    if masks is not None:
        rows = [row[real.astype(bool)] for row, real in zip(rows, masks, strict=True)]
    documents = [_ids(net, row, number) for number, row in enumerate(rows)]
    return Inputs(documents, [True] * len(documents), arguments=arguments)


def _rows(given: Any) -> list[NDArray[Any]]:
    """Return the rows of a batch, or the one of a text that is in none."""
    given = given.tolist() if hasattr(given, "tolist") else given
    one = isinstance(given[0], Integral)
    return [np.asarray(row) for row in ([given] if one else given)]


def _ids(net: BaseNetwork, item: Any, number: int, *, reply: bool = False) -> Ids:
    where = f"document {number}"
    if isinstance(item, str):
        if not item.strip():
            raise NisslError("the text is empty", where=where, do="leave it out")
        ids = encode(net.require_tokenizer(), item)
    elif _is_chat(item):
        tokenizer = net.require_tokenizer()
        if not getattr(tokenizer, "chat_template", None):
            raise NisslError("this model has no chat template", where=where, do="give plain text")
        said = tokenizer.apply_chat_template(
            list(item), tokenize=False, add_generation_prompt=reply
        )
        ids = tokenizer.encode(said, add_special_tokens=False, verbose=False)
    else:
        ids = item
    array = np.asarray(ids)
    if array.size and array.dtype.kind not in "iu":
        raise NisslError(
            f"{item!r:.60} is neither text nor token ids", where=where, do="leave it out"
        )
    array = array.astype(np.int64, copy=False)
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


def _is_chat(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and len(item) > 0 and isinstance(item[0], Mapping)


def _image_labels(images: Any) -> dict[str, NDArray[Any]]:
    labels = np.asarray(images.labels)
    classes = getattr(images, "classes", None)
    named = classes is not None and len(classes)
    return {"label": as_column(classes)[labels] if named else labels}
