"""The plan of a recording: which calls will be made, and which samples each will give.

It is made before the first call, so that memory and disk are known, every sample has its place, and
a recording that was interrupted goes on over the same grid of calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from nissl.errors import NisslError
from nissl.fingerprint import fingerprint
from nissl.network.run.calls import Call, sequence_call, tensor_call
from nissl.network.run.inputs import read_inputs
from nissl.network.run.windows import Windows, batches_of, single_windows, windows_of
from nissl.network.sites.batch import encoder_path
from nissl.network.sites.layout import reads_time_first
from nissl.network.sites.site import sides_of

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network.run.windows import BosPolicy
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.site import Site

__all__ = ["ItemPlan", "Plan", "Step", "TextPlan", "of_side", "plan_of"]

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


class Plan(ABC):
    """Calls to be made, and the samples they give.

    Attributes
    ----------
    batches : list of range
        Windows or items of each call.
    tokens : bool
        Whether samples are tokens, at sites that have one row for each.
    unit : str
        What is counted while it is read.
    """

    batches: list[range]
    tokens: ClassVar[bool]
    unit: ClassVar[str]

    @property
    @abstractmethod
    def n_items(self) -> int:
        """How many windows or items are read."""

    @cached_property
    @abstractmethod
    def first_row(self) -> np.ndarray[Any, Any]:
        """Index of each item's first sample, and of the end, shape (n_items + 1,)."""

    @property
    def n_samples(self) -> int:
        """How many tokens, or items, are samples."""
        return int(self.first_row[-1])

    def size(self, items: range) -> int:
        """Return how many samples items give."""
        return int(self.first_row[items.stop] - self.first_row[items.start])

    @abstractmethod
    def step(self, net: BaseNetwork, number: int) -> Step:
        """Return the call of one batch."""

    @property
    def n_probed(self) -> int:
        """How many items the probe has."""
        return 1

    @abstractmethod
    def probe(self, net: BaseNetwork) -> Call:
        """Return a small call that shows the shapes of sites."""

    @abstractmethod
    def samples(
        self,
        items: range | None = None,
        places: tuple[int, ...] | None = None,
        names: tuple[str, ...] = (),
    ) -> Columns:
        """Return the coordinates of samples.

        Parameters
        ----------
        items : range, optional
            Windows or items whose samples are wanted; by default all.
        places : tuple of int, optional
            The grid of places in one item, where it is not one of tokens.
        names : tuple of str
            What its dimensions are.

        Returns
        -------
        dict of str to array, each shape (n_samples,)
            By name.
        """

    def provenance(self, net: BaseNetwork) -> dict[str, str | int]:
        """Return what tells these inputs from others, as scalars and strings."""
        return {}

    def text(self, what: str) -> TextPlan:
        """Return the plan as one of text.

        Parameters
        ----------
        what : str
            What needs text, in the plural.

        Returns
        -------
        TextPlan
            This one.

        Raises
        ------
        NisslError
            It is of images or tensors.
        """
        raise NisslError(
            f"{what} are of text, and these inputs are not", do="give texts or token ids"
        )


@dataclass(frozen=True)
class TextPlan(Plan):
    """A plan whose samples are tokens.

    Parameters
    ----------
    windows : Windows
        What is read.
    batches : list of range
        Windows of each call.
    padding : {"right", "left"}
        Where shorter windows are filled up.
    arguments : dict, optional
        Arguments of one call that reads all windows, given in place of token ids alone.
    side : {"encoder", "decoder"}, optional
        Of an encoder-decoder, whose tokens are the samples.
    """

    windows: Windows
    batches: list[range]
    padding: str = "right"
    arguments: Mapping[str, Any] | None = None
    side: str | None = None

    tokens: ClassVar[bool] = True
    unit: ClassVar[str] = "tokens"

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

    def step(self, net: BaseNetwork, number: int) -> Step:
        """Return the call of one batch."""
        items = self.batches[number]
        call = self._call(net, [self.windows.ids[i] for i in items], items)
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
        """Return four tokens as a call; of one token, what is one for a text would look alike."""
        ids = next((ids for ids in self.windows.ids if len(ids) > 1), self.windows.ids[0])
        return self._call(net, [ids[:4]], range(1))

    def _call(self, net: BaseNetwork, ids: list[Any], items: range) -> Call:
        if self.arguments is None:
            encoder = self.side == "encoder"
            return sequence_call(net, ids, padding=self.padding, encoder=encoder)
        call = tensor_call(net, _part(self.arguments, items, self.n_items))
        if self.side is None:
            return call
        start = "decoder_" if self.side == "decoder" else ""
        mask = call.kwargs.get(f"{start}attention_mask")
        mask = torch.ones_like(call.kwargs[f"{start}input_ids"]) if mask is None else mask
        return replace(call, mask=mask.bool())

    def samples(
        self,
        items: range | None = None,
        places: tuple[int, ...] | None = None,
        names: tuple[str, ...] = (),
    ) -> Columns:
        """Return the coordinates of tokens: see `Plan`.

        Parameters
        ----------
        items : range, optional
            Windows whose samples are wanted; by default all.
        places : tuple of int, optional
            The grid of places in one window, where samples are not tokens.
        names : tuple of str
            What its dimensions are.

        Returns
        -------
        dict of str to array, each shape (n_samples,)
            ``document``, ``position`` (in the window, as the network saw it), ``offset`` (in the
            document), ``token``, and the documents' labels; of places, ``document`` and one column
            for each dimension of the grid.
        """
        w, items = self.windows, range(self.n_items) if items is None else items
        if places is not None:
            item, columns = _grid(items, places, names)
            return {"document": w.document[item].astype(np.int32), **columns}
        new = self.new_tokens[items.start : items.stop]
        document = np.repeat(w.document[items.start : items.stop], new)
        position = np.concatenate([np.arange(w.skip[i], len(w.ids[i]) - w.tail[i]) for i in items])
        offset = np.repeat(w.offset[items.start : items.stop], new) + position
        token = np.concatenate([w.ids[i][w.skip[i] : len(w.ids[i]) - w.tail[i]] for i in items])
        columns = {"document": document, "position": position, "offset": offset, "token": token}
        narrow = {name: column.astype(np.int32) for name, column in columns.items()}
        return narrow | {name: column[document] for name, column in w.labels.items()}

    def provenance(self, net: BaseNetwork) -> dict[str, str | int]:
        """Return what tells these inputs from others, as scalars and strings."""
        more: dict[str, str | int] = (
            {} if self.arguments is None else {"inputs": fingerprint(self.arguments)}
        )
        return more | {
            "tokenizer": type(net.tokenizer).__name__ if net.tokenizer else "none",
            "vocabulary": net.vocabulary_size or 0,
            "window": self.windows.window,
            "stride": self.windows.stride,
            "bos": self.windows.bos,
            "padding": self.padding,
            "text": self.windows.fingerprint(),
        }

    def text(self, what: str) -> TextPlan:
        """Return the plan itself: see `Plan`."""
        return self

    def spread(self, n_windows: int, length: int) -> TextPlan:
        """Return a plan of the beginnings of a few windows spread over the text, one a call."""
        chosen = np.unique(np.linspace(0, self.n_items - 1, n_windows).astype(int))
        w, none = self.windows, np.zeros(len(chosen), np.int64)
        part = replace(
            w,
            ids=[w.ids[i][:length] for i in chosen],
            document=w.document[chosen],
            offset=w.offset[chosen],
            skip=none,
            tail=none,
        )
        return TextPlan(part, [range(i, i + 1) for i in range(len(chosen))], self.padding)


@dataclass(frozen=True)
class ItemPlan(Plan):
    """A plan whose samples are images, or places in them.

    Parameters
    ----------
    inputs : Any
        Images, a tensor, or a mapping of arguments, whose first dimension counts items.
    batches : list of range
        Items of each call.
    labels : dict of str to array, each shape (n_items,)
        Labels of the items.
    axis : int
        Which axis of the inputs counts items: the second, where a model reads time first.
    """

    inputs: Any
    batches: list[range]
    labels: Columns
    axis: int = 0

    tokens: ClassVar[bool] = False
    unit: ClassVar[str] = "items"

    @property
    def n_items(self) -> int:
        """How many items are read."""
        return self.batches[-1].stop

    @cached_property
    def first_row(self) -> np.ndarray[Any, Any]:
        """The number of each item, and of the end, shape (n_items + 1,)."""
        return np.arange(self.n_items + 1)

    def step(self, net: BaseNetwork, number: int) -> Step:
        """Return the call of one batch."""
        items = self.batches[number]
        return Step(self._call(net, items), items, None, items.start)

    @property
    def n_probed(self) -> int:
        """How many items the probe has: two, where there are, so that axes are told apart."""
        second = getattr(self.inputs, "shape", (0, 0))[1:2]
        return 1 if second == (2,) else min(2, len(self.batches[0]))

    def probe(self, net: BaseNetwork) -> Call:
        """Return the first items as a call."""
        return self._call(net, range(self.n_probed))

    def samples(
        self,
        items: range | None = None,
        places: tuple[int, ...] | None = None,
        names: tuple[str, ...] = (),
    ) -> Columns:
        """Return the coordinates of places in items: see `Plan`.

        Parameters
        ----------
        items : range, optional
            Items whose places are wanted; by default all.
        places : tuple of int, optional
            The grid of places in one item; by default an item is one sample.
        names : tuple of str
            What its dimensions are.

        Returns
        -------
        dict of str to array, each shape (n_items x n_places,)
            ``stimulus`` (the item), one column for each dimension of the grid, and the labels.
        """
        items = range(self.n_items) if items is None else items
        item, columns = _grid(items, places or (), names)
        return {"stimulus": item, **columns} | {k: v[item] for k, v in self.labels.items()}

    def provenance(self, net: BaseNetwork) -> dict[str, str | int]:
        """Return what tells these inputs from others, as scalars and strings."""
        return {"inputs": fingerprint([self.inputs, self.labels])}

    def _call(self, net: BaseNetwork, items: range) -> Call:
        call = tensor_call(net, _part(self.inputs, items, self.n_items, self.axis))
        if call.mask is not None and not bool(call.mask.all()):
            raise NisslError(
                "there is padding among the inputs, and without token ids it would be recorded",
                do="give items of one length together, without padding",
            )
        return call


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
) -> Plan:
    """Plan the recording of inputs.

    Parameters
    ----------
    net : Network
        The network that will read them.
    inputs : texts, chats, token ids, images, tensor, mapping of tensors, or a plan
        What it will read, as in `read_inputs`.
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
    Plan
        Of tokens or items; a plan is returned as it is.

    Raises
    ------
    NisslError
        There is nothing to read.
    """
    if batch_size is not None and not hasattr(batch_size, "__index__"):
        raise NisslError(f"batch_size is a whole number, not {batch_size!r}")
    if batch_size is not None and batch_size < 1:
        raise NisslError(f"a batch of {batch_size} holds nothing", do="give batch_size=1 or more")
    if isinstance(inputs, Plan):
        return inputs
    given = read_inputs(net, inputs)
    if given.documents:
        # More than ids and padding (pairs of texts, images) is read as it was given.
        more = given.arguments is not None and not _is_plain(given.arguments)
        if more:
            windows = single_windows(net, given)
        else:
            windows = windows_of(net, given, window=window, stride=stride, bos=bos)
        if n_tokens is not None:
            windows = windows.first(n_tokens)
        batches = batches_of(map(len, windows.ids), batch_size=batch_size)
        return TextPlan(windows, batches, padding, given.arguments if more else None)
    inputs = given.arguments
    counted: Any = next(iter(inputs.values()), ()) if isinstance(inputs, dict) else inputs
    axis = int(reads_time_first(net.model))
    if axis and getattr(counted, "ndim", 0) < 3:
        raise NisslError(
            f"{type(net.model).__name__} reads (time, item, unit), and these inputs have no items",
            do="give inputs of three dimensions",
        )
    if isinstance(counted, (set, frozenset)):
        raise NisslError("a set has no order, by which samples could be told", do="give a list")
    n_items = counted.shape[1] if axis else len(counted) if hasattr(counted, "__len__") else 0
    if not n_items:
        raise NisslError("there is nothing to read", do="give at least one item")
    size = batch_size or 16
    return ItemPlan(
        inputs,
        [range(i, min(i + size, n_items)) for i in range(0, n_items, size)],
        given.labels,
        axis,
    )


def of_side(net: BaseNetwork, plan: Plan, sites: Iterable[Site]) -> Plan:
    """Return a plan whose samples are the tokens that sites of an encoder-decoder read.

    Parameters
    ----------
    net : Network
        The network.
    plan : Plan
        As `plan_of` made it; its samples are tokens of the encoder.
    sites : iterable of Site
        All in the encoder, or all in the decoder.

    Returns
    -------
    Plan
        The same for other models, and for inputs that are not text.

    Raises
    ------
    NisslError
        Sites lie on both sides, or what the decoder reads is not given.
    """
    if encoder_path(net.model) is None or not isinstance(plan, TextPlan):
        return plan
    sides = sides_of(net.model, sites)
    if len(sides) > 1:
        raise NisslError(
            f"the encoder of {type(net.model).__name__} reads other tokens than its decoder",
            do="record sites of the two apart",
        )
    given = plan.arguments or {}
    if sides == {"encoder"}:
        return replace(plan, side="encoder")
    if given.get("decoder_input_ids") is None:
        raise NisslError(
            f"what the decoder of {type(net.model).__name__} reads is not given",
            do="give {'input_ids': ..., 'decoder_input_ids': ...}",
        )
    start = len("decoder_")
    read = {k[start:]: v for k, v in given.items() if k.startswith("decoder_")}
    return replace(plan, windows=single_windows(net, read), side="decoder")


def steps(plan: Plan, net: BaseNetwork, *, first: int = 0) -> Iterator[tuple[int, Step]]:
    """Yield the calls of a plan, from a batch on, with their numbers."""
    for number in range(first, len(plan.batches)):
        yield number, plan.step(net, number)


def _grid(
    items: range, places: tuple[int, ...], names: tuple[str, ...]
) -> tuple[np.ndarray[Any, Any], Columns]:
    """Return the item of every place, and a column for each dimension of the grid."""
    n = int(np.prod(places, dtype=np.int64))
    grid = np.indices(places, dtype=np.int32).reshape(len(places), n)
    item = np.repeat(np.arange(items.start, items.stop, dtype=np.int32), n)
    return item, {name: np.tile(at, len(items)) for name, at in zip(names, grid, strict=True)}


def _part(given: Any, items: range, n_items: int, axis: int = 0) -> Any:
    """Return some items of what is given; what does not count items is given as it is."""
    part = slice(items.start, items.stop)
    if not isinstance(given, Mapping):
        return given[:, part] if axis else given[part]
    # Where time lies first, what has no time (a mask of padding) has its items first.
    second = {k for k, v in given.items() if axis and getattr(v, "ndim", 0) > 2}
    counts = {k: hasattr(v, "__len__") and len(v) == n_items for k, v in given.items()}
    return {k: v[:, part] if k in second else v[part] if counts[k] else v for k, v in given.items()}


def _is_plain(given: Mapping[str, Any]) -> bool:
    """Tell whether arguments are token ids and their padding alone."""
    kinds = given.get("token_type_ids")
    more = set(given) - {"input_ids", "attention_mask", "token_type_ids", "use_cache"}
    return not more and (kinds is None or not bool((kinds != 0).any()))
