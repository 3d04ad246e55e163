"""What circuits are made of: the edges of a network, or the nodes of some sites."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from nissl.address import parse
from nissl.behaviour.circuit_paths import CircuitPaths
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
        self.paths = CircuitPaths(
            self.edges.writers, self.edges.readers, self.writers, self.readers
        )

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

    def connected(self, kept: Mask) -> Mask:
        """Return those on a path from the embedding to the logits: no other has an effect."""
        return self.paths.connected(kept)

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
