"""Paths of a circuit: which of its edges lead from the embedding to the logits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from nissl.address import read

__all__ = ["CircuitPaths"]

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"


class CircuitPaths:
    """How edges hang together: which lie on a path from the embedding to the logits.

    Parameters
    ----------
    writers, readers : sequence of str
        Addresses, as `nissl.network.edges_of` names them.
    begin, end : array of int, shape (n_edges,)
        The writer and the reader of each edge.
    """

    def __init__(
        self, writers: Sequence[str], readers: Sequence[str], begin: Any, end: Any
    ) -> None:
        self.writers, self.readers, self.begin, self.end = writers, readers, begin, end

    @cached_property
    def owners(self) -> list[list[int]]:
        """Which writers each reader belongs to, the logits to none."""
        number = {name: i for i, name in enumerate(self.writers)}
        n_heads, n_keys = 1, 1
        for address in read([*self.writers, *self.readers]):
            if address is None or address.head is None:
                continue
            if address.site.endswith((".k", ".v")):
                n_keys = max(n_keys, address.head + 1)
            else:
                n_heads = max(n_heads, address.head + 1)
        each = max(1, n_heads // n_keys)  # a key head serves so many heads of queries
        owners: list[list[int]] = []
        for name, address in zip(self.readers, read(self.readers), strict=True):
            served = [name]
            if address is not None and address.head is not None:
                block, _, kind = address.site.rpartition(".")
                n = each if kind in ("k", "v") else 1
                heads = range(address.head * n, (address.head + 1) * n)
                served = [f"{block}.z[head {head}]" for head in heads]
            owners.append([number[one] for one in served if one in number])
        return owners

    def served(self, reader: str) -> list[str]:
        """Return the writers that a reader belongs to; the logits are their own.

        Parameters
        ----------
        reader : str
            Its address.

        Returns
        -------
        list of str
            A head of queries and its MLP are one, a shared key or value has several heads.
        """
        return [self.writers[i] for i in self.owners[self._number[reader]]] or [reader]

    @cached_property
    def _number(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.readers)}

    def connected(self, kept: Mask) -> Mask:
        """Return those on a path from the embedding to the logits: no other has an effect.

        Parameters
        ----------
        kept : array of bool, shape (n_edges,)
            Edges.

        Returns
        -------
        array of bool, shape (n_edges,)
            Some of them.
        """
        kept = kept.copy()
        n_writers, n_readers = len(self.writers), len(self.readers)
        is_embedding = np.array([name == "embed" for name in self.writers])
        is_logits = np.array([name == "logits" for name in self.readers])
        while True:
            fed = is_embedding.copy()  # writers to which something comes
            for reader in np.unique(self.end[kept]):
                fed[self.owners[reader]] = True
            used = np.zeros(n_writers, dtype=bool)  # writers from which something goes
            used[self.begin[kept]] = True
            needed = is_logits.copy()  # readers whose writer is used
            for reader in range(n_readers):
                needed[reader] |= bool(used[self.owners[reader]].any())
            new: Mask = kept & fed[self.begin] & needed[self.end]
            if bool((new == kept).all()):
                return new
            kept = new
