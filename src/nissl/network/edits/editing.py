"""Edits in force: attached for the length of a ``with`` block, and always taken away again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.edits.edit import Edit, as_edits, parts_of
from nissl.network.edits.weight_edit import WeightEdit
from nissl.network.run.caches import check_cache, tag_cache
from nissl.network.sites.arguments import inner_model
from nissl.network.sites.batch import Batch, encoder_path, watch_batch
from nissl.network.sites.hook_points import module_at
from nissl.network.sites.hooks import Fired, visiting
from nissl.network.sites.modes import (
    guard_recomputation,
    is_recomputed,
    turn,
)
from nissl.network.sites.site import Site, body_path, side_of

if TYPE_CHECKING:
    from torch import nn

    from nissl.network.sites.base import BaseNetwork

__all__ = ["editing", "n_copies", "sites_of_edit"]


@contextmanager
def editing(net: BaseNetwork, *edits: Any) -> Iterator[None]:
    """Apply edits to every call of a model inside the block: see `Network.edit`.

    Parameters
    ----------
    net : Network
        The network.
    *edits : Edit, WeightEdit, or lists of them
        At one site they act in the order given, those of an outer block before those of an inner.

    Yields
    ------
    None
        The edits are in force in ``net.run``, ``record``, ``generate`` and the model's own calls.

    Raises
    ------
    NisslError
        On entering: a site or unit is not in the network, or cannot be changed. Inside: a cache of
        keys and values was filled under other edits, or an edit changed a tensor's shape. On
        leaving, where the model ran: an edit was never applied.

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network, ablate
    >>> net = Network(nn.Sequential(nn.Linear(2, 3)))
    >>> with editing(net, ablate(sites="0")):
    ...     net.model(torch.ones(1, 2)).tolist()
    [[0.0, 0.0, 0.0]]
    """
    given = as_edits(edits)
    copies = max((n_copies(edit) for block in net.edit_blocks for edit in block.edits), default=1)
    if given and copies > 1:
        raise NisslError(
            f"the batch is run in {copies} copies, each under its own edits",
            do="give these edits to the copies, in `edit_batch`",
        )
    refuse_compiled(net.model)
    bound = [e.bind(net) if hasattr(e, "bind") else e for e in given]
    block = Block(net, [e for e in bound if not isinstance(e, WeightEdit)], given)
    with ExitStack() as stack:
        stack.enter_context(turn(net.model, edit=True))
        stack.enter_context(_not_copied(net.model))
        for edit in bound:
            if isinstance(edit, WeightEdit):
                stack.enter_context(edit.applied(net))
        stack.enter_context(watch_batch(net.model, net.body, block.begin))
        for module in dict.fromkeys((net.model, inner_model(net.model)[1], net.body)):
            stack.callback(module.register_forward_hook(block.end).remove)
        fired = stack.enter_context(visiting(net.model, block.visits(), batch=lambda: block.batch))
        mine = [site for site, _ in block.visits()]
        net.editing += mine
        net.edit_blocks.append(block)
        try:
            yield
            block.require(fired)
        finally:
            for site in mine:  # blocks may be left in another order
                net.editing.remove(site)
            net.edit_blocks.remove(block)
            if block.recomputed:
                paths = [site.hook_point.path for site in block.recomputed]
                guard_recomputation([module_at(net.model, path) for path in paths], repr(block))


class _Edited:
    """Lies in a model while it is edited: a copy would keep the edit for ever."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise NisslError(
            "the model is under an edit, which its copy would keep for ever",
            do="copy it outside of the block, and edit the copy",
        )

    def __reduce__(self) -> Any:
        return self.__deepcopy__(None)


@contextmanager
def _not_copied(model: nn.Module) -> Iterator[None]:
    blocks = model.__dict__.setdefault("_nissl_edited", [])
    blocks.append(_Edited())
    try:
        yield
    finally:
        blocks.pop()
        if not blocks:
            model.__dict__.pop("_nissl_edited", None)


class Block:
    """What one ``with`` block knows: its edits, the call under way, how many prompts were read."""

    def __init__(self, net: BaseNetwork, edits: list[Edit], given: list[Any]) -> None:
        self.net = net
        self.edits = edits
        self.given = given  # as they were made, with nothing learned of any prompt
        self.batch: Batch | None = None
        self.graph = False
        self.due: set[str] = set()  # sites that some call came to
        self.prompts = 0
        self.recomputed: list[Site] = []  # edited under gradient checkpointing
        self.sites = [sites_of_edit(net, edit) for edit in edits]
        self.body = body_path(net.model)
        self.encoder = encoder_path(net.model)
        self.sides = [self._side(*each) for each in zip(edits, self.sites, strict=True)]

    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self.edits))}]"

    @property
    def parts(self) -> list[Edit]:
        """Its edits."""
        return self.edits

    def begin(self, batch: Batch) -> None:
        """Note the call that begins; tell the edits where it begins a prompt."""
        self.graph = torch.is_grad_enabled()
        if batch.phase == "decode":
            check_cache(self.net, batch.cache)
            self.batch = batch
            return
        self.batch = batch = self._told(batch)
        self.prompts += 1
        for edit, side in zip(self.edits, self.sides, strict=True):
            if side == "decoder" and batch.decoder is not None:
                edit.begin(batch.decoder)
            elif side != "decoder" and (self.encoder is None or batch.size is not None):
                edit.begin(batch)

    def _told(self, batch: Batch) -> Batch:
        """Return the batch with the prompts that `generate` tells of."""
        if not self.net.prompt_lengths:
            return batch
        told = self.net.prompt_lengths[-1]
        if self.encoder is None:
            return _with_prompts(batch, told)
        decoder = None if batch.decoder is None else _with_prompts(batch.decoder, told)
        return replace(batch, decoder=decoder)

    def _side(self, edit: Any, sites: tuple[list[Site], set[str]]) -> str | None:
        """Return on which side of an encoder-decoder an edit acts."""
        if self.encoder is None:
            return None
        sides = {side_of(site, self.encoder) for site in sites[0]}
        placed = [p for p in parts_of(edit) if getattr(p, "places", None) is not None]
        if len(sides) > 1 and any(p.places.positions is not None for p in placed):
            raise NisslError(
                "positions in the encoder are not those in the decoder",
                where=repr(edit),
                do="give each its own edit",
            )
        return "encoder" if "encoder" in sides else "decoder"

    def end(self, module: nn.Module, args: Any, output: Any) -> None:
        """Count the call that succeeded, and mark the cache that it filled."""
        self.finish()
        filled = (getattr(output, name, None) for name in ("past_key_values", "cache_params"))
        for cache in (None if self.batch is None else self.batch.cache, *filled):
            tag_cache(self.net, cache)

    def finish(self, later: Collection[str] = ()) -> None:
        """Note that a call reached all sites but those that lie later than it went."""
        self.due |= {site.name for site, _ in self.visits() if site.name not in later}

    def visits(self) -> Iterator[tuple[Site, Callable[[Site, Tensor], Tensor]]]:
        """Yield a visitor for each site of each edit, edit by edit."""
        for edit, (sites, written) in zip(self.edits, self.sites, strict=True):
            for site in sites:
                yield site, self._visitor(edit, site.name in written)

    def require(self, fired: Fired) -> None:
        """Raise where the model ran and an edit was never applied."""
        due = {name: n for name, n in fired.calls.items() if name in self.due}
        Fired(due, fired.shared).require(why="edited")
        missed = [e for e in parts_of(self) if getattr(e, "missed", False)]
        for edit in missed:
            if self.due & {site.name for site in sites_of_edit(self.net, edit)[0]}:
                raise NisslError(
                    "the positions or items that an edit chooses never came by",
                    where=repr(edit),
                    do="positions are counted from 0, without padding, in every item",
                )

    def _visitor(self, edit: Edit, writes: bool) -> Callable[[Site, Tensor], Tensor]:
        def visit(site: Site, x: Tensor) -> Tensor:
            phase = "prefill" if self.batch is None else self.batch.phase
            positions = self._positions(site, x, n_copies(edit))
            new = edit.apply(site.name, x, positions, phase)
            if new is None or new is x or not writes:
                return x
            if new.shape != x.shape:
                raise NisslError(
                    f"an edit made {tuple(new.shape)} of {tuple(x.shape)}",
                    where=f"{edit!r} at {site.name}",
                )
            new = new.to(x)
            if self.graph and site not in self.recomputed and is_recomputed():
                self.recomputed.append(site)
            # What changes nothing must not even be summed in another order. Where there is a graph
            # an equal value can still have another gradient.
            if not (new.requires_grad or x.requires_grad) and torch.equal(new, x):
                return x
            return new

        return visit

    def _positions(self, site: Site, x: Tensor, copies: int) -> Tensor | None:
        """Return the positions of a site's tensor, or of one of its copies."""
        batch = self.batch
        sides = self.encoder is not None
        if batch is not None and sides and side_of(site, self.encoder) == "decoder":
            batch = batch.decoder
        positions = None if batch is None else batch.positions
        if positions is not None and len(x) == copies * len(positions):
            x = x[: len(positions)]
        if positions is None or x.ndim < 3 or len(x) != len(positions):
            return None
        positions, length = positions.to(x.device), x.shape[1]
        if length == positions.shape[1]:
            return positions
        # Generation asks for the last logits only.
        outside = not f"{site.hook_point.path}.".startswith(f"{self.body}.")
        return positions[:, -length:] if outside and length < positions.shape[1] else None


def _with_prompts(batch: Batch, lengths: Tensor) -> Batch:
    """Return a batch that knows its prompts, of which each may have several rows (beams)."""
    if batch.positions is None:
        return batch
    each = lengths.repeat_interleave(len(batch.positions) // len(lengths))
    return replace(batch, prompt=each, n_prompts=len(lengths))


def sites_of_edit(net: BaseNetwork, edit: Edit) -> tuple[list[Site], set[str]]:
    """Return the sites an edit is shown, and the names of those it may change.

    Parameters
    ----------
    net : Network
        The network.
    edit : Edit
        The edit.

    Returns
    -------
    sites : list of Site
        Those that it reads or writes.
    written : set of str
        Full names of those that it writes.

    Raises
    ------
    UnknownName
        A site is not known.
    """
    written = net.find(edit.writes) if edit.writes else []
    read = net.find(edit.reads) if edit.reads else []
    every = {site.name: site for site in [*read, *written]}
    return list(every.values()), {site.name for site in written}


def n_copies(edit: Any) -> int:
    """Return how many copies of the batch an edit acts on: several for `edit_batch` alone."""
    return int(getattr(edit, "n_copies", 1))


def refuse_compiled(model: nn.Module) -> None:
    """Refuse a model that torch.compile made, in whole or in part."""
    for path, module in model.named_modules():
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
            raise NisslError(
                "a compiled model keeps no hooks, so that no edit would be applied",
                where=path or type(module).__name__,
                do="give the model from before torch.compile",
            )
