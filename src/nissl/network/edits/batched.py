"""Many edits in one batch: every copy of the batch runs under its own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.edits.edit import Change, Edit, EditsLike, as_edits
from nissl.network.edits.editing import editing, sites_of_edit
from nissl.network.edits.rules import Scaled, SetTo
from nissl.network.edits.weight_edit import WeightEdit
from nissl.network.sites.arguments import inner_model

if TYPE_CHECKING:
    from torch import nn

    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.batch import Batch, Phase

__all__ = ["edit_batch"]


@contextmanager
def edit_batch(net: BaseNetwork, edits: Iterable[EditsLike]) -> Iterator[None]:
    """Run copies of the batch in one call, each under its own edits: see `Network.edit_batch`.

    The copies are made at the first block that any edit touches, so that what lies before it is
    computed once for all. A cache of keys and values has one copy before that block, and one for
    each edit from there on; one that was filled before is copied from there on.

    Parameters
    ----------
    net : Network
        The network.
    edits : iterable of Edit, lists of Edit, or None
        For each copy one edit, several in their order, or none.

    Yields
    ------
    None
        The edits are in force.

    Raises
    ------
    NisslError
        There is no copy, an edit changes weights, or several copies meet other edits.

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network, ablate, scale
    >>> net = Network(nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU()))
    >>> _ = nn.init.ones_(net.model[0].weight)
    >>> with edit_batch(net, [ablate("0[0]"), scale("0[0]", by=3.0), None]):
    ...     net.model(torch.ones(1, 1)).flatten().tolist()
    [0.0, 3.0, 1.0]
    """
    edit = EditBatch(net, edits)
    if net.editing and edit.n_copies > 1:
        raise NisslError(
            f"{edit.n_copies} copies of the batch, and other edits are in force",
            do="give each copy all its edits, in one block",
        )
    # The copies are made after the call is noted, and before a site is looked at.
    with _copying(edit, *edit.begins_in(net)), editing(net, edit):
        yield


class EditBatch:
    """An edit that applies to each copy of the batch its own edits: see `edit_batch`.

    Parameters
    ----------
    net : Network
        The network.
    edits : iterable of Edit, lists of Edit, or None
        Those of each copy.

    Attributes
    ----------
    n_copies : int
        How many copies there are.
    given_copies : bool
        Whether the model is given the copies, so that none are to be made (`generate`).
    """

    def __init__(
        self,
        net: BaseNetwork,
        edits: Iterable[EditsLike],
    ) -> None:
        self.given_copies = False
        self.copies: list[list[Edit]] = []
        self.sites: dict[str, list[list[tuple[Edit, bool]]]] = {}
        self.first: list[int | None] = []
        self.fused: dict[tuple[str, int], Fused | None] = {}
        self.reads: tuple[str, ...] = ()
        self.writes: tuple[str, ...] = ()
        met: set[int] = set()
        for given in edits:
            self.copies.append([])
            for edit in as_edits([] if given is None else [given]):
                self.copies[-1].append(_bound(net, edit, met))
        if not self.copies:
            raise NisslError("there is no copy to edit", do="give at least one; it may be None")
        for number, some in enumerate(self.copies):
            for edit in some:
                sites, written = sites_of_edit(net, edit)
                for site in sites:
                    touched = self.sites.setdefault(site.name, [[] for _ in self.copies])
                    touched[number].append((edit, site.name in written))
                    self.first.append(site.layer)
                    which = "writes" if site.name in written else "reads"
                    setattr(self, which, (*getattr(self, which), site.name))

    def __repr__(self) -> str:
        return f"edit_batch({', '.join(map(str, self.copies[:3]))}{', ...' * (self.n_copies > 3)})"

    @property
    def n_copies(self) -> int:
        """How many copies of the batch there are."""
        return len(self.copies)

    @property
    def parts(self) -> list[Edit]:
        """The edits of all copies."""
        return [edit for some in self.copies for edit in some]

    def begins_in(self, net: BaseNetwork) -> tuple[list[nn.Module], list[nn.Module]]:
        """Return the first block it touches, and those after it; or the model and its body."""
        known = [layer for layer in self.first if layer is not None]
        plain = net.architecture is not None and net.architecture.then is None
        by_block = net.architecture is not None and plain and net.architecture.grows
        if not by_block or not known or len(known) < len(self.first):
            return [net.model, inner_model(net.model)[1], net.body], []
        first, *rest = (net.block(layer) for layer in range(min(known), net.n_layers))
        return [first], rest

    def begin(self, batch: Batch) -> None:
        """Begin a prompt: each edit is told of its own copy."""
        for number, some in enumerate(self.copies):
            own = self._rows(batch, number) if self.given_copies else batch
            for edit in some:
                edit.begin(own)

    def apply(self, site: str, x: Tensor, positions: Tensor | None, phase: Phase) -> Tensor | None:
        """Return the site's tensor with each copy edited: see `Edit`."""
        key = site, x.shape[-1]
        if key not in self.fused:
            self.fused[key] = _fused(site, self.sites[site], x)
        fused = self.fused[key]
        if fused is not None:
            return fused(x, self.n_copies)
        if len(x) % self.n_copies:
            raise NisslError(
                f"{len(x)} rows are not {self.n_copies} copies of a batch",
                where=site,
                do="edit a site that has one row for each item of the batch",
            )
        parts, size = list(x.chunk(self.n_copies)), len(x) // self.n_copies
        of_all = positions is not None and len(positions) == len(x) and self.n_copies > 1
        changed = False
        for number, some in enumerate(self.sites[site]):
            at = positions
            if of_all and positions is not None:
                at = positions[number * size : (number + 1) * size]
            for edit, writes in some:
                old = parts[number]
                new = edit.apply(site, old, at, phase)
                if new is None or new is old or not writes:
                    continue
                if new.shape != old.shape:
                    raise NisslError(
                        f"an edit made {tuple(new.shape)} of {tuple(old.shape)}",
                        where=f"{edit!r} at {site}",
                    )
                parts[number], changed = new.to(old), True
        return torch.cat(parts) if changed else None

    def _rows(self, batch: Batch, number: int) -> Batch:
        def own(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.chunk(self.n_copies)[number]

        def share(count: int | None) -> int | None:
            return None if count is None else count // self.n_copies

        return replace(
            batch,
            ids=own(batch.ids),
            positions=own(batch.positions),
            prompt=own(batch.prompt),
            size=share(batch.size),
            n_prompts=share(batch.n_prompts),
        )


class Fused:
    """What becomes of a site where each copy's units are set to numbers or multiplied by them.

    Parameters
    ----------
    factors : Tensor or None, shape (n_copies, n_units)
        What they are multiplied by.
    values : Tensor or None, shape (n_copies, n_units)
        What they are set to; not a number where they are not.
    """

    def __init__(self, factors: Tensor | None, values: Tensor | None) -> None:
        self.factors, self.values = factors, values
        self.kept = None if values is None else values.isnan()

    def __call__(self, x: Tensor, n: int) -> Tensor:
        """Return the tensor of all copies, edited."""
        each: Tensor = x.unflatten(0, (n, -1))

        def of_copy(matrix: Tensor) -> Tensor:
            return matrix.reshape(n, *[1] * (x.ndim - 1), -1)

        if self.values is not None and self.kept is not None:
            each = torch.where(of_copy(self.kept), each, of_copy(self.values))
        if self.factors is not None:
            each = each * of_copy(self.factors)
        return each.flatten(0, 1)


def _fused(site: str, copies: list[list[tuple[Edit, bool]]], x: Tensor) -> Fused | None:
    """Return one operation for all copies, where each has at most one simple edit."""
    factors = torch.ones(len(copies), x.shape[-1], dtype=x.dtype)
    values = torch.full_like(factors, torch.nan)
    scaled = valued = False
    for number, some in enumerate(copies):
        for edit, _ in some:
            if len(some) > 1 or type(edit) is not Change or not edit.places.everywhere:
                return None
            chosen = edit.chosen[site]
            if chosen.heads is not None:
                return None
            units = slice(None) if chosen.index is None else chosen.index
            if isinstance(edit.rule, Scaled):
                scaled, matrix, given = True, factors, edit.rule.by
            elif isinstance(edit.rule, SetTo):
                valued, matrix, given = True, values, edit.rule.values
            else:
                return None
            value = given.of(site, chosen.of(x[:1], site))
            if value.requires_grad or bool(value.isnan().any()):
                return None
            matrix[number, units] = value.cpu()
    return Fused(factors.to(x.device) if scaled else None, values.to(x.device) if valued else None)


def _bound(net: BaseNetwork, given: Any, met: set[int]) -> Edit:
    """Return an edit for one copy, which keeps apart what it learns of prompts."""
    if isinstance(given, WeightEdit):
        raise NisslError(
            "weights are the same for all copies of a batch",
            where=repr(given),
            do="with net.edit(...): around one copy",
        )
    if hasattr(given, "bind"):
        bound: Edit = given.bind(net)
        return bound
    again = id(given) in met
    met.add(id(given))
    edit: Edit = copy.copy(given) if again else given
    return edit


# What blocks are given that is not of a batch, though a batch of one looks so (DeBERTa).
SHARED = ("relative_pos",)


@contextmanager
def _copying(edit: EditBatch, starts: list[nn.Module], rest: list[nn.Module]) -> Iterator[None]:
    """Make n copies of the batch in the first module of starts that is called.

    Later modules are given masks and positions of one copy.
    """
    n = edit.n_copies
    inside: list[nn.Module] = []
    batch = 0

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal batch
        if module in starts and not inside:
            batch = next(len(x) for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
            if n > 1 and len(starts) == 1 and not edit.given_copies:
                _copy_filled((*args, *kwargs.values()), 1 + len(rest), n, batch)
        inside.append(module)
        return (
            None
            if n == 1 or edit.given_copies
            else (_copies(args, n, batch), _copies(kwargs, n, batch))
        )

    def after(module: nn.Module, args: Any, output: Any) -> None:
        inside.pop()

    handles: list[Any] = []
    try:
        for module in dict.fromkeys((*starts, *rest)):
            handles += [
                # Before the edits look at what it is given.
                module.register_forward_pre_hook(before, with_kwargs=True, prepend=True),
                module.register_forward_hook(after, always_call=True),
            ]
        yield
    finally:
        for handle in handles:
            handle.remove()


def _copy_filled(given: tuple[Any, ...], blocks: int, n: int, batch: int) -> None:
    """Repeat the keys and values that a cache holds of the batch for the last so many blocks."""
    for cache in (x for x in given if hasattr(x, "get_seq_length")):
        for layer in cache.layers[-blocks:]:
            if layer.get_seq_length() and len(layer.keys) == batch:
                layer.keys, layer.values = (
                    x.repeat(n, 1, 1, 1) for x in (layer.keys, layer.values)
                )


def _copies(given: Any, n: int, batch: int) -> Any:
    """Repeat every tensor that has the batch as its first dimension: activity, masks, positions."""
    if isinstance(given, Tensor):
        of_batch = given.ndim > 1 and len(given) == batch
        return given.repeat(n, *[1] * (given.ndim - 1)) if of_batch else given
    if isinstance(given, dict):
        per_head = given.get("alibi")  # of BLOOM: (batch x head, 1, position)
        if isinstance(per_head, Tensor) and per_head.ndim == 3 and len(per_head) != batch:
            given = {**given, "alibi": per_head.repeat(n, 1, 1)}
        return {k: x if k in SHARED else _copies(x, n, batch) for k, x in given.items()}
    if type(given) in (tuple, list):
        return type(given)(_copies(x, n, batch) for x in given)
    return given
