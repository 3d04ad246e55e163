"""What circuits are made of: the edges of a network, or the nodes of some sites."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from nissl.address import parse
from nissl.network import cut_edges, edges_of, patch

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network, Nodes

__all__ = ["EdgeParts", "NodeParts", "Parts", "drawn_alike"]

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"


class Parts(Protocol):
    """All that a circuit can be made of.

    Attributes
    ----------
    kind : {"edges", "nodes"}
        What they are.
    sites : list of str
        Where activity of another run is needed to replace parts.
    """

    kind: str
    sites: list[str]

    def __len__(self) -> int: ...

    @property
    def groups(self) -> Any:
        """A number for each part, the same for those of the same layers and kind."""

    def table(self) -> pd.DataFrame:
        """Return ``unit`` and what else is known of each part."""

    def connected(self, kept: Mask) -> Mask:
        """Return those that are kept and lie on a way through the network."""

    def edits(self, replaced: Mask, other: Mapping[str, Tensor]) -> list[Any]:
        """Return the edits that replace parts by another run."""


def drawn_alike(groups: Any, kept: Mask, rng: np.random.Generator) -> Mask:
    """Draw as many parts of each group as are kept of it.

    Parameters
    ----------
    groups : array of int, shape (n_parts,)
        The group of each part.
    kept : array of bool, shape (n_parts,)
        How many of each are wanted.
    rng : numpy Generator
        Of the draw.

    Returns
    -------
    array of bool, shape (n_parts,)
        Those drawn.
    """
    order = rng.permutation(len(kept))
    by_group = order[np.argsort(groups[order], kind="stable")]
    rank = np.arange(len(kept)) - np.searchsorted(groups[by_group], groups[by_group])
    wanted = np.bincount(groups[kept], minlength=int(groups.max()) + 1)
    drawn = np.zeros_like(kept)
    drawn[by_group] = rank < wanted[groups[by_group]]
    return drawn


class EdgeParts:
    """Every edge of a network, in the order of ``Edges.table``.

    Parameters
    ----------
    net : Network
        The network.
    """

    kind = "edges"

    def __init__(self, net: Network) -> None:
        self.edges = edges_of(net)
        self.sites = self.edges.writer_sites
        self.readers, self.writers = self.edges.allowed.nonzero().numpy().T

    def __len__(self) -> int:
        return len(self.readers)

    def table(self) -> pd.DataFrame:
        """Return ``unit``, ``writer`` and ``reader`` of each edge."""
        return self.edges.table()

    @cached_property
    def groups(self) -> Any:
        """A number for each edge: edges between the same layers and kinds have the same."""
        writers, readers = (
            [f"{a.layer} {a.site.rpartition('.')[2]}" for a in map(parse, names)]
            for names in (self.edges.writers, self.edges.readers)
        )
        ends = zip(self.writers, self.readers, strict=True)
        return np.unique([f"{writers[w]} {readers[r]}" for w, r in ends], return_inverse=True)[1]

    @cached_property
    def owners(self) -> list[list[int]]:
        """Which writers each reader belongs to, the logits to none."""
        number = {name: i for i, name in enumerate(self.edges.writers)}
        owners: list[list[int]] = []
        for name in self.edges.readers:
            address = parse(name)
            if address.head is None:
                owners.append([number[name]] if name in number else [])
                continue
            # A key head serves several heads of queries.
            each = self.edges.n_heads["z"] // self.edges.n_heads[address.site.rpartition(".")[2]]
            served = range(address.head * each, (address.head + 1) * each)
            owners.append([number[f"blocks.{address.layer}.attn.z[head {h}]"] for h in served])
        return owners

    def connected(self, kept: Mask) -> Mask:
        """Return those on a way from the embedding to the logits: no other has an effect."""
        kept = kept.copy()
        n_writers, n_readers = len(self.edges.writers), len(self.edges.readers)
        while True:
            fed = np.zeros(n_writers, dtype=bool)  # writers to which something comes
            fed[0] = True
            for reader in np.unique(self.readers[kept]):
                fed[self.owners[reader]] = True
            used = np.zeros(n_writers, dtype=bool)  # writers from which something goes
            used[self.writers[kept]] = True
            needed = np.zeros(n_readers, dtype=bool)  # readers whose writer is used
            needed[-1] = True
            for reader in range(n_readers - 1):
                needed[reader] = bool(used[self.owners[reader]].any())
            new: Mask = kept & fed[self.writers] & needed[self.readers]
            if bool((new == kept).all()):
                return new
            kept = new

    def edits(self, replaced: Mask, other: Mapping[str, Tensor]) -> list[Any]:
        """Return the edit that cuts edges."""
        if not replaced.any():
            return []
        share = torch.zeros(self.edges.allowed.shape)
        share[self.readers[replaced], self.writers[replaced]] = 1.0
        return [cut_edges(share, to=other)]


class NodeParts:
    """The nodes of some sites of any network.

    Parameters
    ----------
    nodes : Nodes
        The nodes.
    """

    kind = "nodes"

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.sites = nodes.names
        self.groups: Any = np.repeat(np.arange(len(nodes.sites)), nodes.counts)

    def __len__(self) -> int:
        return len(self.nodes)

    def table(self) -> pd.DataFrame:
        """Return ``unit``, ``site`` and ``layer`` of each node."""
        return self.nodes.table()

    def connected(self, kept: Mask) -> Mask:
        """Return those that are kept: every node has its ways."""
        return kept

    def edits(self, replaced: Mask, other: Mapping[str, Tensor]) -> list[Any]:
        """Return the patches that replace nodes, one for each site."""
        edits = []
        for number, (site, kind) in enumerate(zip(self.nodes.sites, self.nodes.kinds, strict=True)):
            chosen = np.flatnonzero(replaced[self.groups == number]).tolist()
            if chosen:
                which: dict[str, Any] = {"head": {"heads": chosen}, "unit": {"indices": chosen}}
                which = which.get(kind, {})
                edits.append(patch({site.name: other[site.name]}, sites=site.name, **which))
        return edits
