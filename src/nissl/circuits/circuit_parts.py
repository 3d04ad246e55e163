"""What circuits are made of: the edges of a network, or the nodes of some sites."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from nissl.address import parse
from nissl.circuits.edge_effects import edge_table
from nissl.network import cut_edges, edges_of, patch

if TYPE_CHECKING:
    import pandas as pd

    from nissl.circuits.nodes import Nodes
    from nissl.network import Network

__all__ = ["EdgeParts", "NodeParts", "Parts"]

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"


class Parts(Protocol):
    """All that a circuit can be made of."""

    kind: str

    def __len__(self) -> int: ...

    @property
    def sites(self) -> list[str]:
        """Where activity of another run is needed to replace parts."""

    @property
    def over(self) -> list[str]:
        """The sites of nodes; none of edges."""

    @property
    def by(self) -> Any:
        """What nodes are, where all are of one kind."""

    def table(self) -> pd.DataFrame:
        """Return ``unit`` and what else is known of each part."""

    def connected(self, kept: Mask) -> Mask:
        """Return those that are kept and lie on a way through the network."""

    def random(self, kept: Mask, rng: np.random.Generator) -> Mask:
        """Return as many others, of the same layers."""

    def edits(self, replaced: Mask, other: Mapping[str, Tensor]) -> list[Any]:
        """Return the edits that replace parts by another run."""


class EdgeParts:
    """Every edge of a network, in the order of `edge_table`.

    Parameters
    ----------
    net : Network
        The network.
    """

    kind = "edges"

    def __init__(self, net: Network) -> None:
        self.edges = edges_of(net)
        self.readers, self.writers = self.edges.allowed.nonzero().numpy().T

    def __len__(self) -> int:
        return len(self.readers)

    @property
    def sites(self) -> list[str]:
        """Where activity of another run is needed to replace parts."""
        return self.edges.writer_sites

    @property
    def over(self) -> list[str]:
        """The sites of nodes: none."""
        return []

    @property
    def by(self) -> Any:
        """What nodes are: there are none."""
        return None

    def flat(self, scores: Any) -> Any:
        """Return scores, shape (n_readers, n_writers), of each edge."""
        return scores[self.readers, self.writers]

    def table(self) -> pd.DataFrame:
        """Return ``unit``, ``writer`` and ``reader`` of each edge."""
        return edge_table(self.edges)

    @cached_property
    def _layers(self) -> Any:
        """The block of each writer and of each reader, and of which kind it is."""
        last = self.edges.net.n_layers

        def layer(name: str) -> tuple[int, str]:
            address = parse(name)
            return (
                (-1 if name == "embed" else last) if address.layer is None else address.layer,
                address.site.rpartition(".")[2],
            )

        return [[layer(n) for n in names] for names in (self.edges.writers, self.edges.readers)]

    @cached_property
    def _groups(self) -> Any:
        """A number for each edge: edges between the same layers and kinds have the same."""
        writers, readers = self._layers
        ends = zip(self.writers, self.readers, strict=True)
        keys = [f"{writers[w]} {readers[r]}" for w, r in ends]
        return np.unique(keys, return_inverse=True)[1]

    @cached_property
    def _owner(self) -> Any:
        """Which writer each reader belongs to, the logits to none (-1)."""
        number = {name: i for i, name in enumerate(self.edges.writers)}
        heads = {k: n for k, n in self.edges.n_heads.items() if k != "z"}
        owners: list[list[int]] = []
        for name in self.edges.readers:
            address = parse(name)
            kind = address.site.rpartition(".")[2]
            if address.head is None:
                owners.append([number[name]] if name in number else [])
                continue
            # A key head serves several heads of queries.
            each = self.edges.n_heads["z"] // heads[kind]
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
                fed[self._owner[reader]] = True
            used = np.zeros(n_writers, dtype=bool)  # writers from which something goes
            used[self.writers[kept]] = True
            needed = np.zeros(n_readers, dtype=bool)  # readers whose writer is used
            needed[-1] = True
            for reader in range(n_readers - 1):
                needed[reader] = bool(used[self._owner[reader]].any())
            new: Mask = kept & fed[self.writers] & needed[self.readers]
            if bool((new == kept).all()):
                return new
            kept = new

    def random(self, kept: Mask, rng: np.random.Generator) -> Mask:
        """Return as many edges between the same layers, into readers of the same kind."""
        order = rng.permutation(len(kept))
        by_group = order[np.argsort(self._groups[order], kind="stable")]
        starts = np.searchsorted(self._groups[by_group], self._groups[by_group])
        rank = np.arange(len(kept)) - starts
        wanted = np.bincount(self._groups[kept], minlength=int(self._groups.max()) + 1)
        drawn = np.zeros_like(kept)
        drawn[by_group] = rank < wanted[self._groups[by_group]]
        return drawn

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
        self.site_of = np.repeat(np.arange(len(nodes.sites)), nodes.counts)

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def sites(self) -> list[str]:
        """Where activity of another run is needed to replace parts."""
        return self.nodes.names

    @property
    def over(self) -> list[str]:
        """The sites of the nodes."""
        return self.nodes.names

    @property
    def by(self) -> Any:
        """What the nodes are, where all are of one kind."""
        return self.nodes.kinds[0] if len(set(self.nodes.kinds)) == 1 else None

    def table(self) -> pd.DataFrame:
        """Return ``unit``, ``site`` and ``layer`` of each node."""
        return self.nodes.table()

    def connected(self, kept: Mask) -> Mask:
        """Return those that are kept: every node has its ways."""
        return kept

    def random(self, kept: Mask, rng: np.random.Generator) -> Mask:
        """Return as many nodes of each site."""
        drawn = np.zeros_like(kept)
        for site in range(len(self.nodes.sites)):
            own = np.flatnonzero(self.site_of == site)
            drawn[rng.choice(own, int(kept[own].sum()), replace=False)] = True
        return drawn

    def edits(self, replaced: Mask, other: Mapping[str, Tensor]) -> list[Any]:
        """Return the patches that replace nodes, one for each site."""
        edits = []
        for number, (site, kind) in enumerate(zip(self.nodes.sites, self.nodes.kinds, strict=True)):
            chosen = np.flatnonzero(replaced[self.site_of == number]).tolist()
            if chosen:
                which: dict[str, Any] = {"head": {"heads": chosen}, "unit": {"indices": chosen}}
                which = which.get(kind, {})
                edits.append(patch({site.name: other[site.name]}, sites=site.name, **which))
        return edits
