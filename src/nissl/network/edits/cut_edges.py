"""Cut edges: what one part of a network reads of another is replaced, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.edits.edges import KINDS, Edges, edges_of

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.batch import Batch, Phase

__all__ = ["CutEdges", "cut_edges"]


def cut_edges(
    edges: Iterable[str] | str | Tensor, *, to: Mapping[str, Tensor] | float = 0.0
) -> CutEdges:
    """Replace what readers are given by writers, along edges.

    Parameters
    ----------
    edges : str, iterable of str, or Tensor of shape (n_readers, n_writers)
        Addresses, ``blocks.1.attn.z[head 2] -> blocks.4.attn.q[head 3]``; or for every edge of
        `edges_of` how much of it is cut, from 0 to 1.
    to : mapping of site to Tensor, or number
        What is read instead: 0, or activity of another run at ``edges_of(net).writer_sites``,
        (batch, position, unit) or (unit,), such as its mean.

    Returns
    -------
    CutEdges
        An edit for ``net.edit``. With every edge cut, all that is computed is what the other run
        computed.

    Raises
    ------
    NisslError
        There is no such edge, or the network has none.

    Notes
    -----
    Source: Goldowsky-Dill et al. 2023, Localizing model behavior with path patching; Conmy et al.
    2023. Of a norm the reader sees the whole changed stream.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> from nissl.network import Network
    >>> config = LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=6,
    ...                      num_hidden_layers=2, num_attention_heads=2)
    >>> net = Network(LlamaForCausalLM(config))
    >>> other = net.run([[5, 6, 7]], sites=edges_of(net).writer_sites)
    >>> with net.edit(cut_edges("embed -> blocks.0.attn.q[head 1]", to=other)):
    ...     _ = net.run([[5, 8, 7]], sites="logits")
    """
    return CutEdges([edges] if isinstance(edges, str) else edges, to)


class CutEdges:
    """The edit that cuts edges: see `cut_edges`.

    Parameters
    ----------
    cut : iterable of str or Tensor, shape (n_readers, n_writers)
        Which, or how much of each.
    to : mapping of site to Tensor, or number
        What is read instead.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()

    def __init__(self, cut: Iterable[str] | Tensor, to: Mapping[str, Tensor] | float) -> None:
        self.cut: Any = cut if isinstance(cut, Tensor) else list(cut)
        self.to = to

    def __repr__(self) -> str:
        n = len(self.cut) if isinstance(self.cut, list) else int((self.cut != 0).sum())
        return f"cut_edges({n} edges)"

    def bind(self, net: BaseNetwork) -> _Bound:
        """Return the edit with its edges looked up in a network.

        Parameters
        ----------
        net : Network
            The network.

        Returns
        -------
        Edit
            Another, that has met no prompt.

        Raises
        ------
        NisslError
            There is no such edge.
        """
        edges = edges_of(net)
        share = self.cut
        if not isinstance(share, Tensor):
            share = torch.zeros(edges.allowed.shape, dtype=net.dtype)
            share[edges.index(self.cut)] = 1.0
        if share.shape != edges.allowed.shape:
            raise NisslError(
                f"shares of shape {tuple(share.shape)} are not one for each edge of {edges}",
                do="give shape (n_readers, n_writers)",
            )
        share = torch.where(edges.allowed.to(share.device), share, 0.0)
        return _Bound(edges, share.to(net.device, net.dtype), self.to)


class _Bound:
    """Cut edges of one network, and what writers have added so far in the call under way."""

    def __init__(self, edges: Edges, share: Tensor, to: Mapping[str, Tensor] | float) -> None:
        self.edges, self.share, self.to = edges, share, to
        rows, self.cut = (share != 0).any(1), (share != 0).any(0)
        self.targets: dict[str, tuple[int, str]] = {}
        reads = [s for s in edges.writer_sites if bool(self.cut[edges.columns(s)].any())]
        reads.append("blocks.0.resid_pre")  # where each call begins
        last = edges.net.n_layers
        for layer in range(last):
            heads = [kind for kind in KINDS if bool(rows[edges.rows(layer, kind)].any())]
            self.targets |= {f"blocks.{layer}.attn.{kind}": (layer, kind) for kind in heads}
            if heads:
                reads.append(f"blocks.{layer}.resid_pre")
            if bool(rows[edges.rows(layer, "mlp")].any()):
                self.targets[edges.mlp_input(layer)] = (layer, "mlp")
        if bool(rows[edges.rows(last, "logits")].any()):
            self.targets[edges.logits_input] = (last, "logits")
        self.reads = tuple(dict.fromkeys(reads))
        self.writes = tuple(self.targets)
        self.begin(None)

    def __repr__(self) -> str:
        return f"cut_edges({int((self.share != 0).sum())} edges)"

    def begin(self, batch: Batch | None) -> None:
        """Begin a prompt: see `Edit`."""
        self._clear()

    def _clear(self) -> None:
        self.stream: Tensor | None = None
        self.changes: Tensor | None = None
        self.done = 0  # how many rows of `changes` hold what has been written in this call
        # The first of some readers, what changes for them, and how much had been written.
        self.ahead: tuple[int, Tensor, int] = (0, torch.empty(0), 0)

    def apply(self, site: str, x: Tensor, positions: Tensor | None, phase: Phase) -> Tensor | None:
        """Note what a writer adds, or change what a reader is given: see `Edit`."""
        if site in self.targets:
            return self._read(x, *self.targets[site])
        if site == "blocks.0.resid_pre":
            self._clear()
        if site.endswith(".resid_pre"):
            self.stream = x
        if site in self.edges.writer_sites:
            self._write(site, x, positions, phase)
        return None

    def _write(self, site: str, x: Tensor, positions: Tensor | None, phase: Phase) -> None:
        """Note by how much what readers are given of the writers of a site changes."""
        where = self.edges.columns(site)
        cut = self.cut[where].nonzero().flatten()
        if not len(cut):
            return
        other = self._other(site, x, positions, phase)
        change = self.edges.parted(site, other - x)[cut]
        if torch.is_grad_enabled():
            self.changes = change if self.changes is None else torch.cat([self.changes, change])
        else:
            if self.changes is None:
                self.changes = change.new_empty(int(self.cut.sum()), *change.shape[1:])
            self.changes[self.done : self.done + len(cut)] = change
        self.done += len(cut)

    def _other(self, site: str, x: Tensor, positions: Tensor | None, phase: Phase) -> Tensor:
        """Return what is read instead of a writer's, shape of ``x``."""
        if not isinstance(self.to, Mapping):
            return torch.full_like(x, self.to)
        if site not in self.to:
            raise NisslError("the other run has no values for a writer", where=site)
        other = self.to[site].to(x)
        if other.ndim == 1:
            return other.expand_as(x)
        if positions is None or (other.shape == x.shape and phase == "prefill"):
            if other.shape != x.shape:
                raise NisslError(
                    f"the other run has {tuple(other.shape)}, this one {tuple(x.shape)}", where=site
                )
            return other
        if int(positions.max()) >= other.shape[1]:
            raise NisslError(
                f"the other run has {other.shape[1]} positions, this one goes on beyond them",
                where=site,
                do="give to=0 or means, shape (unit,), while generating",
            )
        index = positions.clamp_min(0)[..., None].expand(*positions.shape, x.shape[-1])
        return other.expand(len(x), -1, -1).gather(1, index)

    def _read(self, x: Tensor, layer: int, kind: str) -> Tensor:
        change = self._change(self.edges.rows(layer, kind))
        if kind in ("mlp", "logits"):
            new: Tensor = x + change[0].reshape(x.shape)  # OPT's lies flat
            return new
        if self.stream is None:
            raise NisslError("attention was called before its block")
        return self.edges.attention_input(layer).project(kind, self.stream + change)

    def _change(self, rows: slice) -> Tensor:
        """Return by how much readers are given something else: (reader, batch, position, width)."""
        if self.changes is None:
            raise NisslError("a reader was called before the first block")
        first, known, done = self.ahead
        if not (first <= rows.start and rows.stop <= first + len(known)):
            # Those that read next are summed with these, for a product with more rows is quicker.
            first, done = rows.start, self.done
            known = self._sum(slice(first, self.edges.together(first)), slice(0, done))
            self.ahead = first, known, done
        change = known[rows.start - first : rows.stop - first]
        if done < self.done:
            change = change + self._sum(rows, slice(done, self.done))
        return change

    def _sum(self, rows: slice, written: slice) -> Tensor:
        if self.changes is None:
            raise NisslError("a reader was called before the first block")
        changes = self.changes[written]
        share = self.share[rows][:, self.cut][:, written]
        summed: Tensor = share @ changes.flatten(1)
        return summed.reshape(-1, *changes.shape[1:])
