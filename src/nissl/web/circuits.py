"""The circuits that the explorer shows: files of the atlas, and those that were just found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nissl.address import read
from nissl.behaviour.circuit_figure import layer_of, short_name
from nissl.behaviour.circuit_groups import keep_group, read_groups
from nissl.behaviour.circuit_table import CircuitTable, grouped, read_circuit
from nissl.errors import NisslError, require_known

if TYPE_CHECKING:
    from nissl.behaviour import Circuit

__all__ = ["Circuits"]

FOLDER = "circuits"  # of the atlas
MOST, HELD = 500, 8  # edges or nodes that are drawn; circuits that are found and not kept
REST = 400  # nodes that all but the circuit may be
NAME = re.compile(r"\w[\w .+-]{0,79}")


class Circuits:
    """The circuits of an atlas: files of its folder ``circuits``, and those that were just found.

    Parameters
    ----------
    atlas : Path
        Its folder.
    given : str or Path, optional
        A file that lies elsewhere, which has its name in the list too.

    Attributes
    ----------
    found : dict of str to Circuit
        Those that are not kept yet, by a key.

    Examples
    --------
    >>> Circuits(Path("out/smollm2")).names()  # doctest: +SKIP
    ['ioi']
    """

    def __init__(self, atlas: Path, given: str | Path | None = None) -> None:
        self.folder, self.given = atlas / FOLDER, None if given is None else Path(given)
        self.found: dict[str, tuple[Circuit, CircuitTable]] = {}
        self._read: dict[Path, tuple[float, CircuitTable]] = {}

    def names(self) -> list[str]:
        """Name the files; the one that was given is the first."""
        return list(self._files())

    def path(self, name: str) -> Path:
        """Return the file of a circuit; its name is one of `names`, and never a path."""
        files = self._files()
        require_known("circuit", name, list(files))
        return files[name]

    def table(self, name: str, found: str = "") -> CircuitTable:
        """Return what is known of a circuit.

        Parameters
        ----------
        name : str
            Of `names`.
        found : str
            Or the key of one that was just found.

        Returns
        -------
        CircuitTable
            Read again where its file has changed.

        Raises
        ------
        NisslError
            There is none, or its file is damaged.
        """
        if found:
            if found not in self.found:
                raise NisslError("this circuit was found and not kept", do="find it again")
            return self.found[found][1]
        path = self.path(name)
        changed = path.stat().st_mtime
        if self._read.get(path, (0.0,))[0] != changed:
            self._read = {path: (changed, read_circuit(path))}  # one is open at a time
        return self._read[path][1]

    def told(
        self, name: str, found: str = "", *, most: int = 60, closed: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Tell a circuit as a picture and a table show it.

        Parameters
        ----------
        name, found : str
            Which.
        most : int
            How many of its edges or nodes, the largest effects first; at most 500.
        closed : sequence of str
            Groups that are one node.

        Returns
        -------
        dict
            ``kind``, ``network``, ``about``, ``groups``; ``n`` edges or nodes of ``parts``;
            ``nodes``, each with ``id``, ``label``, ``layer``, ``effect``, whether it is a
            ``group``; and ``edges`` ``[from, to, effect]``, the largest first.
        """
        table, groups, wrong = self.table(name, found), dict[str, list[str]](), ""
        try:
            groups = {} if found else read_groups(self.path(name))
        except NisslError as error:  # the circuit can be seen without
            wrong = str(error)
        some = {group: groups[group] for group in closed if group in groups}
        most = min(max(1, most), MOST)
        effects = dict(zip(table.table["unit"], table.table["indirect_effect"], strict=True))
        edges = dict[tuple[str, str], float]()
        if table.kind == "edges":
            edges = grouped(table.edges(most), some)
            effects = {end: 0.0 for ends in edges for end in ends}
            for (begin, end), effect in edges.items():
                effects[begin] += effect
                effects[end] += effect if end == "logits" else 0.0
        else:
            effects = _summed(dict(list(effects.items())[:most]), some)
        return {
            "name": table.name,
            "file": "" if found else str(self.path(name)),
            "network": table.network,
            "kind": table.kind,
            "about": table.about,
            "n": len(table),
            "parts": len(table.units),
            "most": min(most, len(table)),
            "limit": min(len(table), MOST),
            "groups": groups,
            "groups_wrong": wrong,
            "closed": list(some),
            "nodes": _nodes(effects, some),
            "edges": [
                [*ends, effect] for ends, effect in sorted(edges.items(), key=lambda e: -abs(e[1]))
            ],
        }

    def rest(self, name: str, found: str = "") -> list[str]:
        """Return the nodes that a circuit does without: the heads and MLPs, or units, it has not.

        Raises
        ------
        NisslError
            They are more than 400, or none.
        """
        table = self.table(name, found)
        if table.kind == "edges":
            has = {end for ends in table.edges() for end in ends}
            rest = [node for node in table.paths.writers if node not in has]
        else:
            rest = [unit for unit, kept in zip(table.units, table.kept, strict=True) if not kept]
        if not 0 < len(rest) <= REST:
            raise NisslError(
                f"all but the circuit are {len(rest):,} nodes" if rest else "it has every node",
                do="in Python: net.edit(*circuit.only(other))" if rest else "choose a smaller one",
            )
        return rest

    def hold(self, circuit: Circuit, about: Mapping[str, str]) -> str:
        """Hold a circuit that was found until it is kept, and return its key."""
        from nissl.fingerprint import fingerprint

        table = replace(circuit.as_table(), about=dict(about))
        key = fingerprint([table.name, *table.about.values(), str(table.size)])[:12]
        self.found.pop(key, None)
        self.found[key] = circuit, table
        for old in list(self.found)[:-HELD]:
            del self.found[old]
        return key

    def keep(self, found: str, name: str) -> Path:
        """Write a circuit that was found into the folder.

        Parameters
        ----------
        found : str
            Its key.
        name : str
            Letters, digits, spaces and ``. + - _``; of no other circuit.

        Returns
        -------
        Path
            The file, which `nissl.behaviour.load_circuit` opens.

        Raises
        ------
        NisslError
            The name is none or taken, or the file cannot be written.
        """
        table, called = self.table("", found), name.strip()
        if not NAME.fullmatch(called) or called.endswith((".groups", ".")):
            raise NisslError(
                f"'{called[:80]}' is no name of a file", do="give letters, digits and spaces"
            )
        path = self.folder / f"{called}.json"
        if called in self._files() or path.exists():
            raise NisslError(f"there is a circuit '{called}' already", do="give another name")
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise NisslError(
                f"the folder cannot be made: {error.strerror}", where=str(self.folder)
            ) from error
        return replace(table, name=called).save(path)

    def group(self, name: str, group: str, nodes: Iterable[str]) -> dict[str, list[str]]:
        """Keep nodes of a circuit as a group beside its file; none take it away."""
        table = self.table(name)
        known = table.units if table.kind == "nodes" else table.paths.writers
        wanted = list(nodes)
        for node in wanted:
            require_known("node", node, known)
        if group.strip() in known:
            raise NisslError(f"'{group.strip()}' is an address", do="give a name of its own")
        return keep_group(self.path(name), group, wanted)

    def _files(self) -> dict[str, Path]:
        here = sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []
        inside = self.folder.resolve()
        files = {} if self.given is None else {self.given.stem: self.given}
        for path in here:
            # A link may lead elsewhere.
            if not path.name.endswith(".groups.json") and path.resolve().parent == inside:
                files.setdefault(path.stem, path)
        return files


def _summed(effects: Mapping[str, float], groups: Mapping[str, Sequence[str]]) -> dict[str, float]:
    name_of = {node: name for name, nodes in groups.items() for node in nodes}
    found = dict[str, float]()
    for node, effect in effects.items():
        name = name_of.get(node, node)
        found[name] = found.get(name, 0.0) + float(effect)
    return found


def _nodes(
    effects: Mapping[str, float], groups: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Say of each node what it is called, and in which layer it is drawn."""
    members = {name: groups.get(name, [name]) for name in effects}
    inside = read(node for nodes in members.values() for node in nodes)
    n_layers = 1 + max((x.layer for x in inside if x and x.layer is not None), default=-1)
    nodes = []
    for name, effect in effects.items():
        rows = [layer_of(node, n_layers) for node in members[name]]
        group = name in groups
        nodes.append(
            {
                "id": name,
                "label": name if group else short_name(name),
                "layer": sum(rows) / len(rows) if group else rows[0],
                "effect": effect,
                "group": group,
            }
        )
    return sorted(nodes, key=lambda node: float(node["layer"]))
