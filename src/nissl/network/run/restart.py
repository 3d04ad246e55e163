"""Restart: run a network from a site on, many times, without computing what comes before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.run.caches import copied, empty_cache, shortened
from nissl.network.run.calls import Call, call_model
from nissl.network.run.forward import run, single_call, visited
from nissl.network.run.replay import Prefix, replaying, watching
from nissl.network.sites.arguments import names_of
from nissl.network.sites.batch import encoder_path
from nissl.network.sites.hook_points import module_at

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.site import Site

__all__ = ["Restart", "can_be_cut", "continued", "cut", "prefixes", "restart"]


def restart(
    net: BaseNetwork,
    inputs: Any,
    *,
    at: str,
    from_position: int | None = None,
    cache: Any = None,
    padding: str = "right",
) -> Restart:
    """Run a network once, and keep what is needed to run it again from a site on.

    Modules that had returned when the site was computed are not called again: they give back what
    they returned. So what lies before the site costs nothing, in any model.

    Parameters
    ----------
    net : Network
        The network; edits in force become part of what is kept.
    inputs : text, chat messages, token ids, images, tensor, or mapping of arguments
        One batch.
    at : str
        The site.
    from_position : int, optional
        Compute from this position on alone (negative: from the end), with the keys and values of
        the positions before it kept from the first run. For a causal language model and texts that
        all have tokens before it and no padding from it on: of one length, or filled up on the
        left. Edits see these positions alone, so what is changed must lie there.
    cache : Cache, optional
        Keys and values of what comes before `inputs`, in place of `from_position`.
    padding : {"right", "left"}
        Where shorter texts are filled up.

    Returns
    -------
    Restart
        Its ``run`` begins at the site.

    Raises
    ------
    NisslError
        `at` means several sites or never fires, or positions cannot be cut.

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network
    >>> net = Network(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)))
    >>> again = restart(net, torch.ones(1, 2), at="1")
    >>> bool((again.run(sites="2")["2"] == net.model(torch.ones(1, 2))).all())
    True
    """
    found = net.find(at)
    if len(found) > 1:
        raise NisslError(f"'{at}' is {len(found)} sites", do="name one, with its block")
    call = single_call(net, inputs, padding=padding)
    if from_position is not None:
        call, cache = cut(net, call, from_position)
    elif cache is not None:
        call = Call(call.args, {**call.kwargs, "use_cache": True}, call.mask)
    return Restart(net, call, found[0], cache)


class Restart:
    """A run that can begin again at a site: see `restart`.

    Parameters
    ----------
    net : Network
        The network.
    call : Call
        What it was given.
    site : Site
        Where it begins.
    cache : optional
        Keys and values of the positions before the first that is computed.

    Attributes
    ----------
    values : Tensor, shape (batch, place..., unit)
        Activity of the site in the first run, at the positions that are computed.
    skipped : list of str
        The modules that are not called again.

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network
    >>> net = Network(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)))
    >>> again = restart(net, torch.ones(1, 2), at="1")
    >>> again.skipped
    ['0']
    >>> bool((again.run(again.values * 0, sites="2")["2"] == net.model[2].bias).all())
    True
    """

    def __init__(self, net: BaseNetwork, call: Call, site: Site, cache: Any) -> None:
        self.net, self.call, self.site, self.cache = net, call, site, cache
        self.prefix = Prefix()
        kept: list[Tensor] = []

        def keep(site: Site, x: Tensor) -> Tensor:
            if not kept:
                kept.append(x.clone())
                stop()
            return x

        with visited(net, [(site, keep)]) as fired, _watched(net, self.prefix, site) as stop:
            call_model(net, continued(call, cache), until=[site])
            fired.require(why="kept")
        self.values = kept[0]
        if net.architecture is not None:
            self.prefix.share(net.blocks)
        names = {module: path for path, module in net.model.named_modules()}
        self.skipped = [names[module] for module in self.prefix.outputs]

    def run(
        self,
        values: Tensor | None = None,
        *,
        sites: str | Iterable[str],
        gradients: bool = False,
    ) -> dict[str, Tensor]:
        """Run from the site on and return the raw tensors of sites.

        Parameters
        ----------
        values : Tensor, shape of `values`, optional
            What takes the place of the site's activity; by default nothing does.
        sites : str or iterable of str
            Sites computed after it, or itself.
        gradients : bool
            Keep the graph, from `values` on.

        Returns
        -------
        dict of str to Tensor, each shape (batch, place..., unit)
            By full name.

        Raises
        ------
        NisslError
            `values` has another shape, or a site that is wanted or edited lies before this one;
            the batch is to be copied in a model that keeps its size.
        """
        if values is not None and values.shape != self.values.shape:
            raise NisslError(
                f"the site holds {tuple(self.values.shape)}, not {tuple(values.shape)}",
                where=self.site.name,
            )
        for site in [*self.net.find(sites), *self.net.editing]:
            self._refuse_skipped(site)
        edits = [edit for block in self.net.edit_blocks for edit in block.edits]
        copied = any(getattr(edit, "n_copies", 1) > 1 for edit in edits)
        if copied and self.net.architecture is not None and not self.net.architecture.grows:
            raise NisslError(
                f"{self.net.architecture.name} keeps the size of the batch that it began with, so "
                "that no copies can be made of it on the way",
                do="net.edit(...), one edit after the other",
            )
        if values is not None and any(s.name == self.site.name for s in self.net.editing):
            raise NisslError(
                "the site is edited and given values at once",
                where=self.site.name,
                do="give the edited values, or none",
            )

        def write(site: Site, x: Tensor) -> Tensor:
            return x if values is None else values.to(x).clone()

        with (
            replaying(self.prefix),
            visited(self.net, [(self.site, write)], gradients=gradients) as fired,
        ):
            found = run(
                self.net, continued(self.call, self.cache), sites=sites, gradients=gradients
            )
            fired.require(why="written")
        return found

    def _refuse_skipped(self, site: Site) -> None:
        path = f"{site.hook_point.path}."
        if any(path.startswith(f"{skipped}.") for skipped in self.skipped):
            raise NisslError(
                f"'{site.name}' is computed before '{self.site.name}', where this run begins",
                do="edit or record later sites, or restart earlier",
            )


def prefixes(
    net: BaseNetwork, call: Call, layers: Iterable[int], *, sites: list[str], cache: Any = None
) -> tuple[dict[int, Prefix], dict[str, Tensor]]:
    """Run a network once, and keep what is needed to begin again at each of some blocks.

    Parameters
    ----------
    net : Network
        A network with blocks.
    call : Call
        What it is given.
    layers : iterable of int
        The blocks; may be none.
    sites : list of str
        Full names of what is recorded in the run.
    cache : DynamicCache, optional
        An empty one, which is filled in all blocks.

    Returns
    -------
    found : dict of int to Prefix
        By block. Where blocks lie inside of other modules, one run each.
    values : dict of str to Tensor
        As of ``net.run``.
    """
    wanted = sorted(set(layers), reverse=True)
    if not wanted:
        return {}, run(net, call, sites=sites)
    filling = {} if cache is None else {"past_key_values": cache, "use_cache": True}
    also = [] if cache is None else [f"blocks.{net.n_layers - 1}.resid_post"]
    first = Call(call.args, {**call.kwargs, **filling}, call.mask)
    whole, values = _prefix(net, first, wanted[0], [*sites, *also])
    found = {wanted[0]: Prefix(dict(whole.outputs), complete=True)}
    for layer in wanted[1:]:
        found[layer] = whole.before(net.block(layer)) or _prefix(net, call, layer, [])[0]
    for prefix in found.values():
        prefix.share([net.block(layer) for layer in range(net.n_layers)])
    return found, {name: values[name] for name in sites}


def _prefix(
    net: BaseNetwork, call: Call, layer: int, sites: list[str]
) -> tuple[Prefix, dict[str, Tensor]]:
    """Return what had been computed when a block began, and what sites held."""
    prefix, (site,) = Prefix(), net.find(f"blocks.{layer}.resid_pre")

    def note(_: Site, x: Tensor) -> Tensor:
        stop()
        return x

    with visited(net, [(site, note)]) as fired, _watched(net, prefix, site) as stop:
        values = run(net, call, sites=[*sites, site.name])
        fired.require(why="kept")
    return prefix, values


def _watched(
    net: BaseNetwork, prefix: Prefix, site: Site
) -> AbstractContextManager[Callable[[], None]]:
    """Keep what modules return until a site comes by.

    The hook points come before the hooks that watch: a module whose output is the site has not
    returned yet, so that it is called again and only its parts are not.
    """
    return watching(net.model, prefix, needed=module_at(net.model, site.hook_point.path))


def continued(call: Call, cache: Any) -> Call:
    """Return a call that goes on where a cache ends.

    Parameters
    ----------
    call : Call
        What is left to be read (`cut`).
    cache : DynamicCache or None
        Keys and values of what was read; each call is given a copy.

    Returns
    -------
    Call
        For one run.
    """
    if cache is None:
        return call
    return Call(call.args, {**call.kwargs, "past_key_values": copied(cache)}, call.mask)


def can_be_cut(net: BaseNetwork, call: Call) -> bool:
    """Tell whether the model goes on where a cache of keys and values ends.

    Parameters
    ----------
    net : Network
        The network.
    call : Call
        What it is given.

    Returns
    -------
    bool
        Whether it is a causal language model, and given tokens.
    """
    keeps = "past_key_values" in names_of(net.model) and encoder_path(net.model) is None
    return keeps and hasattr(net.model, "generate") and "input_ids" in call.kwargs


def cut(net: BaseNetwork, call: Call, position: int, *, filled: Any = None) -> tuple[Call, Any]:
    """Read what lies before a position.

    Parameters
    ----------
    net : Network
        A causal language model.
    call : Call
        Texts without padding from the position on.
    position : int
        The first that is left (negative: from the end).
    filled : DynamicCache, optional
        Keys and values of more of the same texts, of which the beginning is taken if it is there.

    Returns
    -------
    call : Call
        What is left to be read.
    cache : DynamicCache
        Keys and values of what was read.

    Raises
    ------
    NisslError
        The model is none, or a text does not lie on both sides of the position.
    """
    if not can_be_cut(net, call):
        raise NisslError(
            "only a causal language model with a cache of keys and values can begin at a position",
            do="leave from_position out",
        )
    ids = call.kwargs["input_ids"]
    length = ids.shape[1]
    position = position + length if position < 0 else position
    if not 0 < position < length:
        raise NisslError(f"a text of {length} tokens cannot begin at position {position}")
    lengths = torch.full((len(ids),), length, device=ids.device)
    if call.mask is not None:
        lengths = call.mask.sum(1)
        whole = call.mask[:, position:].all() and (lengths > length - position).all()
        if not bool(whole):
            raise NisslError(
                "texts of different lengths do not begin at one position",
                do="pad none, or on the left and less than what lies before it",
            )
    by_position = [k for k in ("input_ids", "position_ids") if call.kwargs.get(k) is not None]
    cache = None if filled is None else shortened(filled, position)
    if cache is None:
        cache = empty_cache(net)
        masked = {k: call.kwargs[k][:, :position] for k in ("attention_mask",) if k in call.kwargs}
        before = {**call.kwargs, **masked, "past_key_values": cache}
        before |= {k: call.kwargs[k][:, :position] for k in by_position}
        net.prompt_lengths.append(lengths)
        try:
            with torch.no_grad():
                call_model(net, Call((), {**before, "use_cache": True}), head=False)
        finally:
            net.prompt_lengths.pop()
    # The mask stays whole: it tells what of the cache is padding.
    after = {**call.kwargs, **{k: call.kwargs[k][:, position:] for k in by_position}}
    return Call((), {**after, "use_cache": True}), cache
