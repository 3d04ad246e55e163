"""Early stop: a forward pass ends after the last block that is wanted, and spares the head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nissl.network.sites.arguments import inner_model
from nissl.network.sites.site import body_path

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.site import Site

__all__ = ["Stopped", "knows_order", "needs_head", "outside_body", "stopping"]


class Stopped(Exception):
    """Ends a forward pass from inside a hook.

    An Exception, since after a BaseException torch calls no hook, those with ``always_call``
    included.
    """


@contextmanager
def stopping(net: BaseNetwork, sites: Iterable[Site]) -> Iterator[None]:
    """End the one call of a model inside the block once nothing more of it is wanted.

    That is when the last block with a site returns, so that all hooks of that block have run. A
    model whose order is not known, or a site outside the blocks, lets the call run to its end.

    Parameters
    ----------
    net : Network
        The network.
    sites : iterable of Site
        What is wanted.

    Yields
    ------
    None
        For one call. What stands behind it inside the block is left out where the call ended early.
    """

    def stop(*_: Any) -> None:
        raise Stopped

    last = _last_block(net, sites)
    # Registered for this call alone, so that it comes after every other hook of the block.
    handle = None if last is None else net.blocks[last].register_forward_hook(stop)
    try:
        yield
    except Stopped:
        after = -1 if last is None else last
        later = {site.name for site in net.editing if _layer(net, site) > after}
        for block in net.edit_blocks:
            block.finish(later)
        _offload(net)
    finally:
        if handle is not None:
            handle.remove()


def knows_order(net: BaseNetwork) -> bool:
    """Tell whether a model is known to call each of its blocks once, in their order."""
    if net.architecture is None or not type(net.body).__module__.startswith("transformers."):
        return False
    return len(set(net.blocks)) == len(net.blocks)


def needs_head(net: BaseNetwork, sites: Iterable[Site]) -> bool:
    """Tell whether a run for some sites, under the edits in force, has to call the whole model."""
    # A wrapper may give the model more than its body would be given (prefix tuning).
    return inner_model(net.model)[1] is not net.model or outside_body(net, sites)


def outside_body(net: BaseNetwork, sites: Iterable[Site]) -> bool:
    """Tell whether sites that are read or edited lie outside the model's body."""
    body = body_path(net.model)
    paths = (f"{site.hook_point.path}." for site in [*sites, *net.editing])
    return not body or any(not path.startswith(f"{body}.") for path in paths)


def _last_block(net: BaseNetwork, sites: Iterable[Site]) -> int | None:
    """Return the block after which nothing is wanted, or None where a whole run is needed."""
    if not knows_order(net):
        return None
    n = len(net.blocks)
    last = max(_layer(net, site) for site in sites)
    # Whether an edit at an unknown place was applied is seen from a whole run only.
    if last >= n or any(_layer(net, site) > n for site in net.editing):
        return None
    return last


def _layer(net: BaseNetwork, site: Site) -> int:
    """Return a site's block, counted over all stacks, or the one that is computed after it.

    Behind the last that is the number of blocks, at an unknown place one more.
    """
    path = f"{site.hook_point.path}."
    n = 0
    for stack, paths in net.block_paths.items():
        if site.name == f"{stack}.embed".lstrip("."):
            return n
        found = next((i for i, block in enumerate(paths) if path.startswith(f"{block}.")), None)
        if found is not None:
            return n + found
        n += len(paths)
        if site.name == f"{stack}.final_norm".lstrip("."):
            return n
    return n if site.name == "logits" else n + 1


def _offload(net: BaseNetwork) -> None:
    """Let accelerate put away the weights of modules that were cut short."""
    for module in net.model.modules():
        hook: Any = module.__dict__.get("_hf_hook")
        # A hook that has never brought weights in has none to put away, and would fail.
        if hasattr(hook, "tied_pointers_to_remove"):
            hook.post_forward(module, None)
