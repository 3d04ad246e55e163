"""The plan of a recording: which calls will be made, and which samples each will give.

It is made before the first call, so that memory and disk are known, every sample has its place, and
a recording that was interrupted goes on over the same grid of calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from nissl.errors import NisslError
from nissl.network.run.calls import Call, sequence_call, tensor_call
from nissl.network.run.windows import Windows, batches_of, is_sequence_input, windows_of
from nissl.recording.labels import as_column

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network.run.windows import BosPolicy
    from nissl.network.sites.base import BaseNetwork

__all__ = ["ItemPlan", "Plan", "Step", "TextPlan", "plan_of"]

Columns = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Step:
    """One call of the plan.

    Parameters
    ----------
    call : Call
        What the model is given.
    items : range
        The windows or items it reads.
    keep : Tensor or None, shape (batch, position), bool
        Which places are samples; None where all are.
    start : int
        Index of its first sample among all, where samples are tokens; else of its first item.
    """

    call: Call
    items: range
    keep: Tensor | None
    start: int


class Plan(Protocol):
    """Calls to be made, and the samples they give."""

    batches: list[range]

    @property
    def n_items(self) -> int:
        """How many windows or items are read."""

    def step(self, net: BaseNetwork, number: int) -> Step:
        """Return the call of one batch."""

    def probe(self, net: BaseNetwork) -> Call:
        """Return a small call that shows the shapes of sites."""


@dataclass(frozen=True)
class TextPlan:
    """A plan whose samples are tokens.

    Parameters
    ----------
    windows : Windows
        What is read.
    batches : list of range
        Windows of each call.
    padding : {"right", "left"}
        Where shorter windows are filled up.
    """

    windows: Windows
    batches: list[range]
    padding: str = "right"

    @property
    def n_items(self) -> int:
        """How many windows are read."""
        return len(self.windows.ids)

    @cached_property
    def new_tokens(self) -> np.ndarray[Any, Any]:
        """How many samples each window gives, shape (n_windows,)."""
        lengths = np.asarray([len(ids) for ids in self.windows.ids], dtype=np.int64)
        new: np.ndarray[Any, Any] = lengths - self.windows.skip - self.windows.tail
        return new

    @cached_property
    def first_row(self) -> np.ndarray[Any, Any]:
        """Index of each window's first sample, and of the end, shape (n_windows + 1,)."""
        ends = np.cumsum(self.new_tokens)
        return np.concatenate([np.zeros(1, dtype=np.int64), ends])

    @property
    def n_samples(self) -> int:
        """How many tokens are samples."""
        return int(self.first_row[-1])

    def step(self, net: BaseNetwork, number: int) -> Step:
        """Return the call of one batch."""
        items = self.batches[number]
        ids = [self.windows.ids[i] for i in items]
        call = sequence_call(net, ids, padding=self.padding)
        skip, tail = (
            torch.from_numpy(column[items.start : items.stop]).unsqueeze(-1)
            for column in (self.windows.skip, self.windows.tail)
        )
        keep = call.mask
        if keep is not None and bool((skip + tail).any()):
            index = keep.long().cumsum(-1) - 1
            length = keep.sum(-1, keepdim=True)
            keep = keep & (index >= skip.to(keep.device)) & (index < length - tail.to(keep.device))
        if keep is None or bool(keep.all()):
            keep = None
        return Step(call, items, keep, int(self.first_row[items.start]))

    def probe(self, net: BaseNetwork) -> Call:
        """Return the first four tokens as a call."""
        return sequence_call(net, [self.windows.ids[0][:4]])

    def samples(self, items: range | None = None) -> Columns:
        """Return the coordinates of tokens.

        Parameters
        ----------
        items : range, optional
            Windows whose tokens are wanted; by default all.

        Returns
        -------
        dict of str to array, each shape (n_tokens,)
            ``document``, ``position`` (in the window, as the network saw it), ``offset`` (in the
            document), ``token``, and the documents' labels.
        """
        w, items = self.windows, range(self.n_items) if items is None else items
        new = self.new_tokens[items.start : items.stop]
        document = np.repeat(w.document[items.start : items.stop], new)
        position = np.concatenate([np.arange(w.skip[i], len(w.ids[i]) - w.tail[i]) for i in items])
        offset = np.repeat(w.offset[items.start : items.stop], new) + position
        token = np.concatenate([w.ids[i][w.skip[i] : len(w.ids[i]) - w.tail[i]] for i in items])
        columns = {"document": document, "position": position, "offset": offset, "token": token}
        narrow = {name: column.astype(np.int32) for name, column in columns.items()}
        return narrow | {name: column[document] for name, column in w.labels.items()}


@dataclass(frozen=True)
class ItemPlan:
    """A plan whose samples are images, or places in them.

    Parameters
    ----------
    inputs : Any
        Images, a tensor, or a mapping of arguments, whose first dimension counts items.
    batches : list of range
        Items of each call.
    labels : dict of str to array, each shape (n_items,)
        Labels of the items.
    """

    inputs: Any
    batches: list[range]
    labels: Columns

    @property
    def n_items(self) -> int:
        """How many items are read."""
        return self.batches[-1].stop

    def step(self, net: BaseNetwork, number: int) -> Step:
        """Return the call of one batch."""
        items = self.batches[number]
        return Step(self._call(net, items), items, None, items.start)

    def probe(self, net: BaseNetwork) -> Call:
        """Return the first item as a call."""
        return self._call(net, range(1))

    def samples(self, items: range, places: tuple[int, ...], names: tuple[str, ...]) -> Columns:
        """Return the coordinates of places in items.

        Parameters
        ----------
        items : range
            Items whose places are wanted.
        places : tuple of int
            The grid of places in one item; empty where an item is one sample.
        names : tuple of str
            What its dimensions are.

        Returns
        -------
        dict of str to array, each shape (n_items x n_places,)
            ``stimulus`` (the item), one column for each dimension of the grid, and the labels.
        """
        n = int(np.prod(places, dtype=np.int64))
        grid = np.indices(places, dtype=np.int32).reshape(len(places), n)
        item = np.repeat(np.arange(items.start, items.stop, dtype=np.int32), n)
        columns = {name: np.tile(axis, len(items)) for name, axis in zip(names, grid, strict=True)}
        return {"stimulus": item, **columns} | {k: v[item] for k, v in self.labels.items()}

    def _call(self, net: BaseNetwork, items: range) -> Call:
        part = slice(items.start, items.stop)
        if isinstance(self.inputs, dict):
            return tensor_call(net, {name: value[part] for name, value in self.inputs.items()})
        return tensor_call(net, self.inputs[part])


def plan_of(
    net: BaseNetwork,
    inputs: Any,
    *,
    batch_size: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    bos: BosPolicy | None = None,
    padding: str = "right",
    n_tokens: int | None = None,
) -> TextPlan | ItemPlan:
    """Plan the recording of inputs.

    Parameters
    ----------
    net : Network
        The network that will read them.
    inputs : texts, chats, token ids, images, tensor, or mapping of tensors
        What it will read.
    batch_size : int, optional
        Windows or items of a call; by default about 2,048 tokens, or 16 items.
    window, stride : int, optional
        As in `windows_of`.
    bos : {"document", "window", "never"}, optional
        As in `windows_of`.
    padding : {"right", "left"}
        Where shorter windows are filled up.
    n_tokens : int, optional
        Read no further than the window in which so many tokens are reached; by default all.

    Returns
    -------
    TextPlan or ItemPlan
        Whether samples are tokens or items.

    Raises
    ------
    NisslError
        There is nothing to read.
    """
    if batch_size is not None and batch_size < 1:
        raise NisslError(f"a batch of {batch_size} holds nothing", do="give batch_size=1 or more")
    if is_sequence_input(inputs):
        windows = windows_of(net, inputs, window=window, stride=stride, bos=bos)
        if n_tokens is not None:
            windows = windows.first(n_tokens)
        lengths = map(len, windows.ids)
        return TextPlan(windows, batches_of(lengths, batch_size=batch_size), padding)
    labels: Columns = {}
    if hasattr(inputs, "labels") and hasattr(inputs, "values"):
        labels, inputs = _image_labels(inputs), inputs.values
    if isinstance(inputs, dict):
        n_items = len(next(iter(inputs.values()))) if inputs else 0
    else:
        n_items = len(inputs) if hasattr(inputs, "__len__") else 0
    if not n_items:
        raise NisslError("there is nothing to read", do="give at least one item")
    size = batch_size or 16
    return ItemPlan(
        inputs, [range(i, min(i + size, n_items)) for i in range(0, n_items, size)], labels
    )


def steps(
    plan: TextPlan | ItemPlan, net: BaseNetwork, *, first: int = 0
) -> Iterator[tuple[int, Step]]:
    """Yield the calls of a plan, from a batch on, with their numbers."""
    for number in range(first, len(plan.batches)):
        yield number, plan.step(net, number)


def _image_labels(images: Any) -> Columns:
    labels = np.asarray(images.labels)
    classes = getattr(images, "classes", None)
    named = classes is not None and len(classes)
    return {"label": as_column(classes)[labels] if named else labels}
