"""A circuit as a table: what its file says of edges or nodes, read without the network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nissl.address import ARROW
from nissl.behaviour.circuit_paths import CircuitPaths
from nissl.errors import NisslError
from nissl.json_file import write_json

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CircuitTable", "grouped", "largest", "read_circuit"]

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
    def paths(self) -> CircuitPaths:
        """How its edges hang together."""
        ends = [unit.split(ARROW) for unit in self.units]
        writers, readers = (list(dict.fromkeys(side)) for side in zip(*ends, strict=True))
        at = [{name: i for i, name in enumerate(names)} for names in (writers, readers)]
        begin, end = (np.array([at[i][pair[i]] for pair in ends]) for i in (0, 1))
        return CircuitPaths(writers, readers, begin, end)

    @cached_property
    def kept(self) -> Mask:
        """Which parts belong to the circuit, shape (n_parts,)."""
        chosen = largest(self.effects, self.size)
        return self.paths.connected(chosen) if self.kind == "edges" else chosen

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
            served = self.paths.served(reader)
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
