"""A circuit as a table: what its file says of edges or nodes, read without the network."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nissl.address import ARROW, read
from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CircuitTable", "Ways", "grouped", "largest", "read_circuit", "write_json"]

FORMAT = "nissl.circuit 1"
KINDS = ("edges", "nodes")
Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
Effects: TypeAlias = "dict[tuple[str, str], float]"


@dataclass(frozen=True, repr=False)
class CircuitTable:
    """What the file of a circuit says: every part with its effect, and how many belong to it.

    Parameters
    ----------
    name, network : str
        What the circuit and its network are called.
    kind : {"edges", "nodes"}
        What it is made of.
    size : float
        Which share of its parts it has.
    units : list of str
        The addresses of all parts.
    effects : array of float64, shape (n_parts,)
        Their effects where it was found.
    sites, nodes : list of str
        Where activity of another run is needed to replace parts, and what the nodes of each are.
    about : dict of str
        What else is kept, such as the prompts that it was found on.

    Examples
    --------
    >>> units = ["embed -> blocks.0.mlp.out", "embed -> logits", "blocks.0.mlp.out -> logits"]
    >>> table = CircuitTable("planted", "tiny", "edges", 0.7, units, np.array([2.0, 0.1, -3.0]))
    >>> table.edges()
    {('blocks.0.mlp.out', 'logits'): -3.0, ('embed', 'blocks.0.mlp.out'): 2.0}
    """

    name: str
    network: str
    kind: str
    size: float
    units: list[str]
    effects: Floats
    sites: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Circuit of {self.name}: {len(self)} of {len(self.units)} {self.kind}"

    def __len__(self) -> int:
        return int(self.kept.sum())

    @cached_property
    def ways(self) -> Ways:
        """How its edges hang together."""
        ends = [unit.split(ARROW) for unit in self.units]
        writers, readers = (list(dict.fromkeys(side)) for side in zip(*ends, strict=True))
        at = [{name: i for i, name in enumerate(names)} for names in (writers, readers)]
        begin, end = (np.array([at[i][pair[i]] for pair in ends]) for i in (0, 1))
        return Ways(writers, readers, begin, end)

    @cached_property
    def kept(self) -> Mask:
        """Which parts belong to the circuit, shape (n_parts,)."""
        chosen = largest(self.effects, self.size)
        return self.ways.connected(chosen) if self.kind == "edges" else chosen

    @cached_property
    def table(self) -> pd.DataFrame:
        """Its edges or nodes, the largest effects first.

        Columns ``unit``, ``writer`` and ``reader`` of an edge, ``indirect_effect``.
        """
        import pandas as pd

        rows = np.flatnonzero(self.kept)
        rows = rows[np.argsort(-np.abs(self.effects[rows]), kind="stable")]
        units = [self.units[row] for row in rows]
        columns: dict[str, Any] = {"unit": units}
        if self.kind == "edges":
            columns["writer"], columns["reader"] = (
                [unit.split(ARROW)[i] for unit in units] for i in (0, 1)
            )
        return pd.DataFrame(columns | {"indirect_effect": self.effects[rows]})

    def edges(self, most: int | None = None) -> Effects:
        """Return the effects of its edges from node to node: a head is one, whatever it reads.

        Parameters
        ----------
        most : int, optional
            Of the largest so many; by default of all.

        Returns
        -------
        dict of (str, str) to float
            What goes into a key or value that several heads share is divided evenly among those
            of them that the circuit has.

        Raises
        ------
        NisslError
            The circuit is of nodes.
        """
        if self.kind != "edges":
            raise NisslError("a circuit of nodes has no edges", do="leave over= out")
        table, found = self.table, dict[tuple[str, str], float]()
        used = set(table["writer"])
        rows = zip(table["writer"], table["reader"], table["indirect_effect"], strict=True)
        for number, (writer, reader, effect) in enumerate(rows):
            if number == most:
                break
            served = self.ways.served(reader)
            ends = [name for name in served if name in used] or served
            for end in ends:
                found[writer, end] = found.get((writer, end), 0.0) + float(effect) / len(ends)
        return found

    def save(self, path: str | Path) -> Path:
        """Write the file; one that is there already is whole or as it was.

        Parameters
        ----------
        path : str or Path
            Where to.

        Returns
        -------
        Path
            The file.
        """
        said = {
            "format": FORMAT,
            "name": self.name,
            "network": self.network,
            "kind": self.kind,
            "sites": self.sites,
            "nodes": self.nodes,
            "size": self.size,
            "about": self.about,
            "effects": dict(zip(self.units, self.effects.tolist(), strict=True)),
        }
        return write_json(Path(path), said, what="the circuit")


class Ways:
    """How edges hang together: which lie on a way from the embedding to the logits.

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
        """Return those on a way from the embedding to the logits: no other has an effect.

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


def largest(effects: Floats, size: float) -> Mask:
    """Return which parts have the largest effects, of either sign.

    Parameters
    ----------
    effects : array of float64, shape (n_parts,)
        Their effects.
    size : float
        Which share of them.

    Returns
    -------
    array of bool, shape (n_parts,)
        At least one.

    Examples
    --------
    >>> largest(np.array([1.0, -3.0, 2.0]), 0.7).tolist()
    [False, True, True]
    """
    kept = np.zeros(len(effects), dtype=bool)
    n = max(1, round(size * len(effects)))
    kept[np.argsort(-np.abs(effects), kind="stable")[:n]] = True
    return kept


def grouped(edges: Mapping[tuple[str, str], float], groups: Mapping[str, Iterable[str]]) -> Effects:
    """Collapse groups of nodes: effects of edges that become one are summed.

    Parameters
    ----------
    edges : mapping of (str, str) to float
        What `CircuitTable.edges` returns.
    groups : mapping of str to iterable of str
        The nodes of each.

    Returns
    -------
    dict of (str, str) to float
        With the names of groups in place of their nodes. Edges inside a group are left out.

    Examples
    --------
    >>> grouped({("a", "b"): 1.0, ("a", "c"): 2.0, ("b", "c"): 4.0}, {"both": ["b", "c"]})
    {('a', 'both'): 3.0}
    """
    name_of = {node: name for name, nodes in groups.items() for node in nodes}
    found = dict[tuple[str, str], float]()
    for ends, effect in edges.items():
        begin, end = (name_of.get(node, node) for node in ends)
        if begin != end:
            found[begin, end] = found.get((begin, end), 0.0) + effect
    return found


def read_circuit(path: str | Path) -> CircuitTable:
    """Read the file of a circuit, without its network.

    Parameters
    ----------
    path : str or Path
        What ``Circuit.save`` wrote.

    Returns
    -------
    CircuitTable
        All that it says.

    Raises
    ------
    NisslError
        It is no such file.

    Examples
    --------
    >>> read_circuit("ioi.json").table.head()  # doctest: +SKIP
    """
    try:
        said = json.loads(Path(path).read_text(encoding="utf-8"))
        if said["format"] != FORMAT or said["kind"] not in KINDS:
            raise ValueError(f"its format is {said['format']!r}, of {said['kind']!r}")
        effects = {str(unit): float(x) for unit, x in said["effects"].items()}
        values = np.array(list(effects.values()), dtype=np.float64)
        if not len(values) or not np.isfinite(values).all():
            raise ValueError("effects are missing, or not finite")
        edges = [unit.count(ARROW) == 1 for unit in effects]
        if not all(edges) if said["kind"] == "edges" else any(edges):
            raise ValueError(f"not all of its parts are {said['kind']}")
        about = {str(key): str(text) for key, text in said.get("about", {}).items()}
        lists = {key: [str(one) for one in said[key]] for key in ("sites", "nodes")}
        names = str(said["name"]), str(said["network"]), str(said["kind"])
        return CircuitTable(
            *names,
            float(said["size"]),
            list(effects),
            values,
            sites=lists["sites"],
            nodes=lists["nodes"],
            about=about,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NisslError(
            f"this is no circuit: {type(error).__name__} {error}",
            where=str(path),
            do="give a file that Circuit.save wrote",
        ) from error


def write_json(path: Path, said: Mapping[str, Any], *, what: str) -> Path:
    """Write a file of JSON that is whole or as it was.

    Parameters
    ----------
    path : Path
        Where to.
    said : mapping
        What it holds.
    what : str
        What it is, for an error.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    NisslError
        It cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")
        partial.replace(path)
    except (OSError, UnicodeEncodeError) as error:
        partial.unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) else "a letter has no encoding"
        raise NisslError(f"{what} cannot be written: {why}", where=str(path)) from error
    return path
