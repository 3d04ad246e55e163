"""Edges: which parts of a network write into the residual stream, and which read from it.

A writer adds to the stream: what enters the first block, each head, each MLP. A reader is given the
stream, through its norm: the queries, keys and values of each head, each MLP, the logits. There is
an edge from each writer to each later reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nissl.address import parse
from nissl.errors import NisslError, UnknownName
from nissl.network.sites.hook_points import FusedPart
from nissl.network.sites.linear_map import matrix_of, without_hooks

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network.sites.base import BaseNetwork

__all__ = ["AttentionInput", "Edges", "edges_of"]

KINDS = ("q", "k", "v")


@dataclass(frozen=True)
class AttentionInput:
    """How the heads of a block read the stream.

    Parameters
    ----------
    norm : nn.Module or None
        What the stream passes through first.
    weights, biases : dict of str to Tensor, shapes (n_heads, d_model, d_head), (n_heads, 1, d_head)
        Of "q", "k" and "v".
    """

    norm: nn.Module | None
    weights: dict[str, Tensor]
    biases: dict[str, Tensor]

    def normed(self, x: Tensor) -> Tensor:
        """Return the stream as the projections are given it, shape of ``x``."""
        # Its forward: a call would fire the hooks on it.
        found: Tensor = x if self.norm is None else self.norm.forward(x)
        return found

    def project(self, kind: str, x: Tensor) -> Tensor:
        """Return what each head makes of a stream of its own.

        Parameters
        ----------
        kind : {"q", "k", "v"}
            Which projection.
        x : Tensor, shape (n_heads, batch, position, d_model)
            The stream that each head reads.

        Returns
        -------
        Tensor, shape (batch, position, n_heads * d_head)
            As at the site ``attn.q``, ``attn.k`` or ``attn.v``.
        """
        heads = self.normed(x).flatten(1, 2) @ self.weights[kind] + self.biases[kind]
        whole: Tensor = heads.unflatten(1, x.shape[1:3]).movedim(0, 2).flatten(2)
        return whole


class Edges:
    """The edges of a network: see `edges_of`.

    Parameters
    ----------
    net : Network
        The network.

    Attributes
    ----------
    writers, readers : list of str
        Their addresses, in the order of computation: ``embed`` (the stream as the first block is
        given it), ``blocks.1.attn.z[head 2]``, ``blocks.1.mlp.out``; as readers
        ``blocks.4.attn.q[head 3]``, ``blocks.4.mlp.out`` (what the MLP is given) and ``logits``.
    allowed : Tensor, shape (n_readers, n_writers), bool
        Whether there is an edge.
    """

    def __init__(self, net: BaseNetwork) -> None:
        self.net = net
        self.n_heads = {k: self._site(0, f"attn.{k}").heads or 0 for k in (*KINDS, "z")}
        self.writers, self.readers = ["embed"], list[str]()
        seen: list[int] = []  # how many writers come before each reader
        for layer in range(net.n_layers):
            block = f"blocks.{layer}"
            before = len(self.writers)
            for kind in KINDS:
                names = [f"{block}.attn.{kind}[head {h}]" for h in range(self.n_heads[kind])]
                self.readers += names
                seen += [before] * len(names)
            self.writers += [f"{block}.attn.z[head {h}]" for h in range(self.n_heads["z"])]
            together = f"{block}.resid_mid" not in net.named_sites
            self.readers.append(f"{block}.mlp.out")
            seen.append(before if together else len(self.writers))
            self.writers.append(f"{block}.mlp.out")
        self.readers.append("logits")
        seen.append(len(self.writers))
        self.allowed = torch.arange(len(self.writers)) < torch.tensor(seen)[:, None]

    def __len__(self) -> int:
        return int(self.allowed.sum())

    def __repr__(self) -> str:
        return f"Edges({len(self.writers)} writers, {len(self.readers)} readers, {len(self)} edges)"

    def table(self) -> pd.DataFrame:
        """Return what is known of each edge.

        Returns
        -------
        DataFrame, n_edges rows
            ``unit`` (its address), ``writer``, ``reader``; in the order of ``allowed``.
        """
        import pandas as pd

        readers, writers = self.allowed.nonzero().T.tolist()
        names = [self.writers[w] for w in writers], [self.readers[r] for r in readers]
        units = [f"{writer} -> {reader}" for writer, reader in zip(*names, strict=True)]
        return pd.DataFrame({"unit": units, "writer": names[0], "reader": names[1]})

    @property
    def writer_sites(self) -> list[str]:
        """The sites at which what each writer adds is read, in their order."""
        blocks = (f"blocks.{layer}" for layer in range(self.net.n_layers))
        added = (f"{block}.{name}" for block in blocks for name in ("attn.heads", "mlp.out"))
        return ["blocks.0.resid_pre", *added]

    def rows(self, layer: int, kind: str) -> slice:
        """Return which readers the heads of a block are, or its MLP.

        Parameters
        ----------
        layer : int
            The block; `n_layers` for the logits.
        kind : {"q", "k", "v", "mlp", "logits"}
            Which of its readers.

        Returns
        -------
        slice
            Of ``readers``.
        """
        sizes = {**{k: self.n_heads[k] for k in KINDS}, "mlp": 1, "logits": 1}
        start = layer * (sum(sizes.values()) - 1)
        if kind != "logits":
            for before in (*KINDS, "mlp"):
                if before == kind:
                    break
                start += sizes[before]
        return slice(start, start + sizes[kind])

    def together(self, row: int) -> int:
        """Return where the readers end that come right after one: the heads of one block."""
        size: int = self.rows(1, "q").start
        return min((row // size + 1 + (row % size == size - 1)) * size - 1, len(self.readers))

    def columns(self, site: str) -> slice:
        """Return which writers are read at a site of `writer_sites`."""
        if site == "blocks.0.resid_pre":
            return slice(0, 1)
        _, layer, name = site.split(".", 2)
        start = 1 + int(layer) * (self.n_heads["z"] + 1)
        end = start + self.n_heads["z"]
        return slice(start, end) if name == "attn.heads" else slice(end, end + 1)

    def parted(self, site: str, x: Tensor) -> Tensor:
        """Return what the writers of one site add, shape (writer, batch, position, d_model)."""
        where = self.columns(site)
        parts: Tensor = x.unflatten(-1, (where.stop - where.start, -1))
        return parts.movedim(-2, 0)

    def stacked(self, activity: Mapping[str, Tensor]) -> Tensor:
        """Return what every writer adds.

        Parameters
        ----------
        activity : mapping of site to Tensor
            What ``net.run`` returned for `writer_sites`.

        Returns
        -------
        Tensor, shape (batch, n_writers, position, d_model)
            But for biases of attention, which no edge carries.
        """
        parts = [self.parted(site, activity[site]).transpose(0, 1) for site in self.writer_sites]
        return torch.cat(parts, 1)

    def index(self, edges: Iterable[str]) -> tuple[Tensor, Tensor]:
        """Return where edges lie.

        Parameters
        ----------
        edges : iterable of str
            Addresses: ``blocks.1.attn.z[head 2] -> blocks.4.attn.q[head 3]``.

        Returns
        -------
        readers, writers : Tensor, each shape (n_edges,), int64
            Their numbers.

        Raises
        ------
        NisslError
            There is no such edge.
        """
        found = []
        for text in edges:
            address = parse(str(text))
            if address.target is None:
                raise NisslError(f"'{text}' is no edge", do="write 'writer -> reader'")
            begin, end = str(address).split(" -> ")
            row, column = self._number("reader", end), self._number("writer", begin)
            if not self.allowed[row, column]:
                raise NisslError(f"'{begin}' is computed after '{end}'", where=str(text))
            found.append((row, column))
        if not found:
            raise NisslError("no edge is named")
        rows, columns = torch.tensor(found).T
        return rows, columns

    def names(self, readers: Iterable[int], writers: Iterable[int]) -> list[str]:
        """Return the addresses of edges by the numbers of their ends."""
        ends = zip(readers, writers, strict=True)
        return [f"{self.writers[int(w)]} -> {self.readers[int(r)]}" for r, w in ends]

    def mlp_input(self, layer: int) -> str:
        """Return the site that the MLP of a block reads, and nothing else does."""
        mid = self.net.named_sites.get(f"blocks.{layer}.resid_mid")
        if mid is not None:
            return f"{mid.hook_point.path}:in"
        architecture: Any = self.net.architecture
        block = self.net.block(layer)
        wanted = architecture.matrices.norm if architecture.matrices is not None else ()
        parts = dict(block.named_children())
        norm = next((name for name in wanted if name in parts), None)
        if norm is None:
            raise NisslError("it is not known what the MLP reads", where=f"blocks.{layer}")
        return f"{self.net.named_sites[f'blocks.{layer}.resid_pre'].hook_point.path}.{norm}:in"

    def mlp_norm(self, layer: int) -> nn.Module:
        """Return the module that the MLP of a block reads through."""
        return self.net.model.get_submodule(self.mlp_input(layer).removesuffix(":in"))

    @property
    def logits_input(self) -> str:
        """The site that the logits read, through the final norm."""
        if "final_norm" in self.net.named_sites:
            return f"{self.net.named_sites['final_norm'].hook_point.path}:in"
        raise NisslError("the network has no final norm, so that nothing reads the logits' input")

    def attention_input(self, layer: int) -> AttentionInput:
        """Return how the heads of a block read the stream.

        Parameters
        ----------
        layer : int
            The block.

        Returns
        -------
        AttentionInput
            Its norm and matrices, adapters in them.

        Raises
        ------
        NisslError
            Its queries, keys or values are no linear map of the stream.
        """
        return self._attention[layer]

    @cached_property
    def _attention(self) -> list[AttentionInput]:
        return [self._attention_input(layer) for layer in range(self.net.n_layers)]

    def _attention_input(self, layer: int) -> AttentionInput:
        weights: dict[str, Tensor] = {}
        biases: dict[str, Tensor] = {}
        like = torch.empty(0, dtype=self.net.dtype, device=self.net.device)
        width = self._site(layer, "resid_pre").width or 0
        for kind in KINDS:
            site = self._site(layer, f"attn.{kind}")
            point: Any = site.hook_point
            module = self.net.model.get_submodule(point.path)
            matrix = matrix_of(module, width, like, where=site.name)
            if matrix.shape[0] != width:
                raise NisslError(
                    f"'{site.name}' is no linear map of the residual stream",
                    do="cut edges of another network",
                )
            with without_hooks(module), torch.no_grad():
                bias = module.forward(like.new_zeros(1, 1, width))[0]
            if isinstance(point, FusedPart):
                matrix, bias = point.part(matrix), point.part(bias)
            heads = self.n_heads[kind]
            weights[kind] = matrix.detach().unflatten(-1, (heads, -1)).movedim(1, 0)
            biases[kind] = bias.detach().unflatten(-1, (heads, -1)).movedim(1, 0)
        return AttentionInput(self._attention_norm(layer), weights, biases)

    def _attention_norm(self, layer: int) -> nn.Module | None:
        """Return the norm through which attention reads: the one that has no other task."""
        block = self.net.block(layer)
        architecture: Any = self.net.architecture
        mlp = self.mlp_input(layer).removesuffix(":in").rpartition(".")[2]
        taken = {mlp, *architecture.norms}
        norms = [n for n, m in block.named_children() if "norm" in type(m).__name__.lower()]
        free = [name for name in norms if name not in taken]
        if len(free) > 1:
            raise NisslError(
                f"it is not known which norm attention reads through: {', '.join(free)}",
                where=f"blocks.{layer}",
            )
        name = free[0] if free else mlp if mlp in norms else None
        return None if name is None else block.get_submodule(name)

    def _site(self, layer: int, name: str) -> Any:
        return self.net.named_sites[f"blocks.{layer}.{name}"]

    def _number(self, what: str, name: str) -> int:
        known = self.writers if what == "writer" else self.readers
        if name not in known:
            raise UnknownName(what, name, known, do="edges_of(net) lists writers and readers")
        return known.index(name)


def edges_of(net: BaseNetwork) -> Edges:
    """Return the edges of a transformer.

    Parameters
    ----------
    net : Network
        A decoder or encoder whose blocks add to a residual stream.

    Returns
    -------
    Edges
        Writers, readers, and how each reads.

    Raises
    ------
    NisslError
        The stream itself is normed after each addition (BERT), so that what a writer adds does not
        reach a reader as it was added; or the network has no names for its attention.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> from nissl.network import Network
    >>> config = LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=6,
    ...                      num_hidden_layers=2, num_attention_heads=2)
    >>> edges_of(Network(LlamaForCausalLM(config)))
    Edges(7 writers, 15 readers, 46 edges)
    """
    needed = ("attn.q", "attn.k", "attn.v", "attn.heads", "mlp.out", "resid_pre")
    missing = [n for n in needed if f"blocks.0.{n}" not in net.named_sites]
    if missing or net.architecture is None:
        raise NisslError(
            f"the edges of {net.name} are not known: it has no sites {', '.join(missing)}",
            do="ask for effects of nodes, which any network has",
        )
    if net.architecture.post_norm:
        raise NisslError(
            f"{net.name} norms the residual stream after each addition, so that it is no sum of "
            "what was written into it",
            do="ask for effects and circuits of nodes, over='attn.z'",
        )
    return Edges(net)
