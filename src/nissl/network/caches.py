"""Caches of keys and values remember the edits under which they were filled.

The memory is an attribute of the cache itself, so that it is copied with it and dies with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nissl.errors import NisslError
from nissl.network.batch import CONTINUES

if TYPE_CHECKING:
    from nissl.network.network import Network

__all__ = ["check_cache", "tag_cache"]

TAG = "_nissl_filled_under"


@dataclass(frozen=True, eq=False)
class Filled:
    """The edit blocks in force when a cache was filled, and which of their prompts it holds."""

    blocks: tuple[tuple[Any, int], ...]

    def __deepcopy__(self, memo: Any) -> Filled:
        """A copied cache was filled under the very same blocks."""
        return self


def tag_cache(net: Network, cache: Any) -> None:
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


def check_cache(net: Network, cache: Any) -> None:
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
    if not hasattr(cache, "get_seq_length") or not cache.get_seq_length():
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


def _now(net: Network) -> Filled:
    return Filled(tuple((block, block.prompts) for block in net.edit_blocks))


def _said(tag: Filled) -> str:
    return " + ".join(repr(block) for block, _ in tag.blocks) or "no edit"
