"""Caches of keys and values: copies, and the memory of the edits under which they were filled.

The memory is an attribute of the cache itself, so that it is copied with it and dies with it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nissl.errors import NisslError
from nissl.network.sites.arguments import names_of
from nissl.network.sites.batch import CONTINUES, is_filled

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork

__all__ = ["check_cache", "copied", "empty_cache", "keeps_cache", "shortened", "tag_cache"]

TAG = "_nissl_filled_under"


@dataclass(frozen=True, eq=False)
class Filled:
    """The edit blocks in force when a cache was filled, and which of their prompts it holds."""

    blocks: tuple[tuple[Any, int], ...]

    def __deepcopy__(self, memo: Any) -> Filled:
        """A copied cache was filled under the very same blocks."""
        return self


def copied(cache: Any, *, rows: list[int] | None = None, n: int = 1) -> Any:
    """Copy a cache, or some rows of it, so that what is read next does not go into the first.

    Parameters
    ----------
    cache : Cache
        A cache of transformers. Its tensors are shared: layers put new ones in their place.
    rows : list of int, optional
        Which texts to keep, in their order; a text may be kept several times.
    n : int
        How many texts were read. A layer may hold them several times over (`edit_batch`), and
        `rows` is then taken of each.

    Returns
    -------
    Cache
        The copy.
    """
    other = copy.copy(cache)
    other.layers = [copy.copy(layer) for layer in cache.layers]
    if rows is not None:
        for layer in other.layers:
            if layer.keys is None:  # of a block without attention
                continue
            one = torch.tensor(rows, device=layer.keys.device)
            each = torch.arange(0, len(layer.keys), n, device=one.device)
            layer.batch_select_indices((each[:, None] + one).flatten())
    return other


def shortened(cache: Any, length: int) -> Any:
    """Copy the beginning of a cache.

    Parameters
    ----------
    cache : Cache
        A cache of transformers.
    length : int
        How many tokens to keep, at most as many as it has read.

    Returns
    -------
    Cache or None
        The copy; None where a layer no longer holds the beginning (a sliding window), or holds
        something else than keys and values.
    """
    other = copied(cache)
    for layer in other.layers:
        keys = getattr(layer, "keys", None)
        if keys is None or keys.shape[-2] != layer.get_seq_length():
            return None
        layer.keys, layer.values = (x[..., :length, :] for x in (keys, layer.values))
        if hasattr(layer, "cumulative_length"):
            layer.cumulative_length = length
    return other


def empty_cache(net: BaseNetwork) -> Any:
    """Return a cache for the beginning of a prompt.

    What is read next is of the prompt still, and may be read under other edits.

    Parameters
    ----------
    net : Network
        A language model.

    Returns
    -------
    DynamicCache
        Without keys and values.
    """
    from transformers import DynamicCache

    config: Any = net.model.config
    cache = DynamicCache(config=config)
    setattr(cache, CONTINUES, True)
    return cache


def keeps_cache(net: BaseNetwork) -> bool:
    """Return whether a network can go on where a cache of keys and values ends.

    Parameters
    ----------
    net : Network
        The network.

    Returns
    -------
    bool
        Whether it is of a known architecture and takes such a cache.
    """
    takes = names_of(net.model)
    known = net.architecture is not None and net.architecture.grows
    return {"past_key_values", "use_cache"} <= set(takes) and known


def tag_cache(net: BaseNetwork, cache: Any) -> None:
    """Note on a cache which edits are in force.

    Parameters
    ----------
    net : Network
        The network that fills it.
    cache : object
        The cache; None and tuples are left alone.
    """
    if hasattr(cache, "get_seq_length"):
        setattr(cache, TAG, _now(net))


def check_cache(net: BaseNetwork, cache: Any) -> None:
    """Refuse a cache that was filled under other edits than those in force.

    Parameters
    ----------
    net : Network
        The network that is about to read it.
    cache : object
        The cache; one that is empty may be used by anyone.

    Raises
    ------
    NisslError
        Its keys and values come from another edit block, or from none.
    """
    if not hasattr(cache, "get_seq_length") or not is_filled(cache):
        return
    if getattr(cache, CONTINUES, False):
        return  # a restart, whose edits act from its first position on
    tag: Filled = getattr(cache, TAG, Filled(()))
    now = _now(net)
    if [b for b, _ in tag.blocks] != [b for b, _ in now.blocks]:
        raise NisslError(
            "the cache of keys and values was filled under other edits",
            where=f"filled under {_said(tag)}, now {_said(now)}",
            do="read the prompt again inside this `with` block, or outside of any",
        )
    if tag.blocks != now.blocks:
        raise NisslError(
            "another prompt was read since this cache was filled, and the edits in force have "
            "learned that one",
            do="finish one prompt before the next, or give each its own `with` block",
        )


def _now(net: BaseNetwork) -> Filled:
    return Filled(tuple((block, block.prompts) for block in net.edit_blocks))


def _said(tag: Filled) -> str:
    return " + ".join(repr(block) for block, _ in tag.blocks) or "no edit"
