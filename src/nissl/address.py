"""Addresses: one grammar for units, heads, layers, features, sites and edges.

| address | what it names |
|---|---|
| ``blocks.3.attn.out``, ``layer3.0.conv2`` | a whole site |
| ``blocks.3`` | a layer |
| ``encoder.blocks.3.mlp.out`` | of an encoder-decoder: ``encoder`` or ``decoder`` |
| ``blocks.3.mlp.neurons[812]``, ``layer3.0.conv2[5]`` | a unit |
| ``blocks.5.resid_post.sae[77]`` | a feature, which is a unit of the dictionary's site |
| ``blocks.1.moe.experts[3].neurons[7]`` | a unit of an expert |
| ``blocks.3.attn.z[head 5]`` | a head |
| ``blocks.1.attn.z[head 2] -> blocks.4.attn.q[head 3]`` | an edge: where it begins and ends |

Here they are text; ``net.find`` says what they mean in a network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from nissl.errors import NisslError

__all__ = ["LAYER", "Address", "parse", "read"]

ARROW = " -> "
LAYER = re.compile(r"(?:encoder\.|decoder\.)?blocks\.(0|[1-9][0-9]*)(?=\.|$)")
# Brackets inside a name are the name's own: `moe.experts[3].neurons`.
PART = re.compile(
    r"(?P<site>[^\s\[\]]+(?:\[[^\s\[\]]+\][^\s\[\]]+)*)"
    r"(?:\[(?:head (?P<head>0|[1-9][0-9]*)|(?P<index>0|[1-9][0-9]*))\])?"
)


@dataclass(frozen=True)
class Address:
    """What an address says.

    Parameters
    ----------
    site : str
        The site, or the layer (``blocks.3``).
    index : int or None
        The unit of the site.
    head : int or None
        The head of the site.
    target : Address or None
        Where an edge ends; the rest is where it begins.

    Examples
    --------
    >>> str(Address("blocks.3.attn.z", head=5))
    'blocks.3.attn.z[head 5]'
    """

    site: str
    index: int | None = None
    head: int | None = None
    target: Address | None = None

    def __str__(self) -> str:
        part = self.site
        if self.index is not None:
            part += f"[{self.index}]"
        elif self.head is not None:
            part += f"[head {self.head}]"
        return part if self.target is None else f"{part}{ARROW}{self.target}"

    @property
    def layer(self) -> int | None:
        """The block it is in; of an edge, the block it ends in; None outside the blocks."""
        if self.target is not None:
            return self.target.layer
        found = LAYER.match(self.site)
        return int(found[1]) if found else None

    @property
    def is_layer(self) -> bool:
        """Whether it has the form of a whole layer: ``blocks.3``."""
        found = LAYER.fullmatch(self.site)
        return found is not None and self.index is None and self.head is None and not self.target


def parse(text: str) -> Address:
    """Read an address.

    Parameters
    ----------
    text : str
        Such as ``blocks.3.mlp.neurons[812]``.

    Returns
    -------
    Address
        ``str`` of it is the text again.

    Raises
    ------
    NisslError
        It is not an address.

    Examples
    --------
    >>> parse("blocks.3.attn.z[head 5]")
    Address(site='blocks.3.attn.z', index=None, head=5, target=None)
    >>> parse("blocks.1.attn.z[head 2] -> blocks.4.attn.q[head 3]").layer
    4
    """
    begin, arrow, end = text.partition(ARROW)
    found = PART.fullmatch(begin)
    if found is None or ARROW in end or (arrow and not PART.fullmatch(end)):
        raise NisslError(
            f"'{text}' is not an address",
            do="write blocks.3.mlp.neurons[812], blocks.3.attn.z[head 5], blocks.3, a site, or "
            "an edge as in blocks.1.attn.z[head 2] -> blocks.4.attn.q[head 3]",
        )
    site, head, index = found.groups()
    return Address(
        site,
        None if index is None else int(index),
        None if head is None else int(head),
        parse(end) if arrow else None,
    )


def read(texts: Iterable[object]) -> list[Address | None]:
    """Read what may be addresses: units of a brain have names of other kinds.

    Parameters
    ----------
    texts : iterable of str
        As in the column ``unit`` of a Finding.

    Returns
    -------
    list of Address or None
        None for what is not an address.

    Examples
    --------
    >>> [address and address.layer for address in read(["blocks.3", "AVA left"])]
    [3, None]
    """
    addresses: list[Address | None] = []
    for text in texts:
        try:
            addresses.append(parse(str(text)))
        except NisslError:
            addresses.append(None)
    return addresses
