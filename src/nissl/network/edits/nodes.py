"""Nodes: the parts of a network whose effects are asked for, units, heads or whole sites."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from nissl.errors import NisslError, require_known
from nissl.network.edits.patch import Patch, patch
from nissl.network.run.forward import run
from nissl.network.sites.attention import Pattern

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.site import Site

__all__ = ["MixedNodes", "Node", "Nodes", "nodes_of"]

Kind = Literal["unit", "head", "site"]
STREAM = ("embed", "resid_pre", "resid_mid", "resid_post", "attn.out", "mlp.out", "final_norm")


@dataclass(frozen=True)
class Node:
    """One unit, one head, or a whole site.

    Parameters
    ----------
    site : Site
        Where it lies.
    kind : {"unit", "head", "site"}
        What it is.
    index : int or None
        Which unit, or which head.
    """

    site: Site
    kind: Kind
    index: int | None = None

    def __str__(self) -> str:
        if self.index is None:
            return self.site.name
        return f"{self.site.name}[{'head ' * (self.kind == 'head')}{self.index}]"

    def patch(self, given: Mapping[str, Tensor], positions: Any = None) -> Patch:
        """Return the edit that puts other activity in its place.

        Parameters
        ----------
        given : mapping of site to Tensor
            The other activity.
        positions : int or sequence of int, optional
            Where; by default everywhere.

        Returns
        -------
        Patch
            For ``net.edit``.
        """
        heads = self.index if self.kind == "head" else None
        indices = [self.index] if self.kind == "unit" else None
        return patch(
            {self.site.name: given[self.site.name]},
            heads=heads,
            indices=indices,
            positions=positions,
            sites=self.site.name,
        )


@dataclass(frozen=True)
class Nodes:
    """Every node of some sites, site by site.

    Parameters
    ----------
    net : Network
        The network.
    sites : tuple of Site
        The sites.
    kinds : tuple of {"unit", "head", "site"}
        What the nodes of each site are.
    """

    net: BaseNetwork
    sites: tuple[Site, ...]
    kinds: tuple[Kind, ...]

    @property
    def names(self) -> list[str]:
        """The names of the sites."""
        return [site.name for site in self.sites]

    @cached_property
    def counts(self) -> list[int]:
        """How many nodes each site has."""
        return [
            {"site": 1, "head": site.heads or 0, "unit": site.width or 0}[kind]
            for site, kind in zip(self.sites, self.kinds, strict=True)
        ]

    def __len__(self) -> int:
        return sum(self.counts)

    def __iter__(self) -> Iterator[Node]:
        for site, kind, count in zip(self.sites, self.kinds, self.counts, strict=True):
            for index in range(count):
                yield Node(site, kind, None if kind == "site" else index)

    def table(self) -> pd.DataFrame:
        """Return what is known of each node.

        Returns
        -------
        DataFrame
            ``unit`` (its address), ``site``, ``layer`` (-1 outside the blocks).
        """
        import pandas as pd

        rows = [(str(n), n.site.name, -1 if n.site.layer is None else n.site.layer) for n in self]
        return pd.DataFrame(rows, columns=["unit", "site", "layer"])

    def summed(self, values: Mapping[str, Tensor], *, positions: bool = True) -> Tensor:
        """Add up what belongs to each node.

        Parameters
        ----------
        values : mapping of site to Tensor, each shape (batch, place..., unit)
            A share of each unit, such as its change times its gradient.
        positions : bool
            Keep positions apart; otherwise they are added up, and so are places of other kinds.

        Returns
        -------
        Tensor, shape (batch, position, node), or (batch, node)
            The sums.

        Raises
        ------
        NisslError
            The sites have other positions each.
        """
        parts: list[Tensor] = []
        for site, kind, count in zip(self.sites, self.kinds, self.counts, strict=True):
            x = values[site.name]
            groups = x if kind == "unit" else x.unflatten(-1, (count, -1)).sum(-1)
            if not positions:
                groups = groups.flatten(1, -2).sum(1) if groups.ndim > 2 else groups
            elif groups.ndim != 3 or groups.shape[1] != values[self.names[0]].shape[1]:
                raise NisslError(
                    f"'{site.name}' has no one row of units for each position",
                    do="give positions='all'",
                )
            parts.append(groups)
        return torch.cat(parts, -1)


class MixedNodes:
    """An edit that mixes each node's activity with another run's, by gates that have a gradient.

    Parameters
    ----------
    nodes : Nodes
        The nodes.
    gates : Tensor, shape (n_nodes,)
        1 leaves a node as it is, 0 replaces it.
    other : mapping of site to Tensor, optional
        What replaces it; by default zero.
    """

    reads: tuple[str, ...] = ()

    def __init__(
        self, nodes: Nodes, gates: Tensor, other: Mapping[str, Tensor] | None = None
    ) -> None:
        self.nodes, self.other = nodes, other
        self.writes = tuple(nodes.names)
        self.gates = dict(zip(nodes.names, gates.split(nodes.counts), strict=True))

    def begin(self, batch: Any) -> None:
        """Begin a prompt: nothing to do."""

    def apply(self, site: str, x: Tensor, positions: Any, phase: Any) -> Tensor:
        """Return the mixture: see `Edit`."""
        gate = self.gates[site].to(x)
        gate = gate.repeat_interleave(x.shape[-1] // len(gate))
        mixed: Tensor = x * gate
        return mixed if self.other is None else mixed + self.other[site].to(x) * (1 - gate)


def nodes_of(
    net: BaseNetwork,
    over: str | Iterable[str] | Nodes,
    *,
    by: Kind | None = None,
    inputs: Any = None,
) -> Nodes:
    """Return the nodes of sites: heads, units, or the sites themselves.

    Parameters
    ----------
    net : Network
        The network.
    over : str, iterable of str, or Nodes
        The sites. Nodes are handed on as they are.
    by : {"unit", "head", "site"}, optional
        What a node is. By default heads where units fall into heads, whole sites in the residual
        stream and for what is added to it, else units.
    inputs : optional
        What is run where a module does not tell how many units it has.

    Returns
    -------
    Nodes
        In the order of the sites.

    Raises
    ------
    NisslError
        A site has no heads, or an unknown number of units, or is a pattern of attention.

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network
    >>> net = Network(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
    >>> [str(node) for node in nodes_of(net, "0", inputs=torch.ones(1, 2))]
    ['0[0]', '0[1]', '0[2]']
    """
    if isinstance(over, Nodes):
        return over
    if by is not None:
        require_known("by", by, ("unit", "head", "site"))
    sites = tuple(net.find(over))
    kinds: list[Kind] = []
    for site in sites:
        if isinstance(site.hook_point, Pattern):
            raise NisslError(f"'{site.name}' has no units", do="ask for attn.q, attn.k or attn.z")
        short = site.name.rpartition("blocks.")[2].partition(".")[2] or site.name
        usual: Kind = "head" if site.heads else "site" if short in STREAM else "unit"
        kinds.append(by or usual)
        if kinds[-1] == "head" and not site.heads:
            raise NisslError(f"the units of '{site.name}' do not fall into heads")
    unknown = [s.name for s, k in zip(sites, kinds, strict=True) if k == "unit" and not s.width]
    if unknown and inputs is None:
        raise NisslError(
            f"it is not known how many units '{unknown[0]}' has", do="give inputs= to be run"
        )
    seen = run(net, inputs, sites=unknown) if unknown else {}
    sites = tuple(
        replace(site, width=seen[site.name].shape[-1]) if site.name in seen else site
        for site in sites
    )
    return Nodes(net, sites, tuple(kinds))
