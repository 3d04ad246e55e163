"""In which circuits of an atlas a unit is, itself or by its head or layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nissl.address import read
from nissl.behaviour.circuit_table import CircuitTable, read_circuit
from nissl.errors import NisslError

if TYPE_CHECKING:
    from nissl.address import Address
    from nissl.web.circuits import Circuits

__all__ = ["UnitCircuits"]

MOST = 100  # circuits that are looked into


class UnitCircuits:
    """What circuits say of single units.

    Parameters
    ----------
    circuits : Circuits
        Those of an atlas. Of each file the effects of its nodes are held until it changes.

    Examples
    --------
    >>> UnitCircuits(circuits)("blocks.19.mlp.neurons[812]")  # doctest: +SKIP
    [{'circuit': 'ioi', 'node': 'blocks.19.mlp.out', 'effect': 0.31, 'rank': 4, 'n': 22}]
    """

    def __init__(self, circuits: Circuits) -> None:
        self.circuits = circuits
        self._held: dict[Path, tuple[float, dict[str, float]]] = {}

    def __call__(self, unit: str) -> list[dict[str, Any]]:
        """Find a unit in the circuits.

        Parameters
        ----------
        unit : str
            Its address.

        Returns
        -------
        list of dict
            For each circuit that has it ``circuit``, its ``node`` that is the unit, its head or
            its MLP, the node's ``effect`` (of edges, the sum of those that leave it), and its
            ``rank`` by size among the ``n`` nodes. What cannot be read has ``wrong`` instead.
        """
        found: list[dict[str, Any]] = []
        for name in self.circuits.names()[:MOST]:
            try:
                effects = self._effects(self.circuits.path(name))
            except (NisslError, OSError) as error:
                found.append({"circuit": name, "wrong": str(error)})
                continue
            largest = sorted(effects, key=lambda node: -abs(effects[node]))
            found += [
                {
                    "circuit": name,
                    "node": node,
                    "effect": effects[node],
                    "rank": rank,
                    "n": len(largest),
                }
                for rank, node in enumerate(largest, 1)
                if _has(node, unit)
            ]
        return found

    def _effects(self, path: Path) -> dict[str, float]:
        changed = path.stat().st_mtime
        if self._held.get(path, (0.0,))[0] != changed:
            self._held[path] = changed, _effects(read_circuit(path))
        return self._held[path][1]


def _effects(table: CircuitTable) -> dict[str, float]:
    """Return the effect of every node of a circuit."""
    effects = dict[str, float]()
    if table.kind == "nodes":
        rows = zip(table.table["unit"], table.table["indirect_effect"], strict=True)
        return {str(unit): float(effect) for unit, effect in rows}
    for (begin, _), effect in table.edges().items():
        effects[begin] = effects.get(begin, 0.0) + effect
    return effects


def _has(node: str, unit: str) -> bool:
    """Say whether a node is a unit, its head, or the output of its MLP."""
    if node == unit:
        return True
    of_node, of_unit = read([node, unit])
    if of_node is None or of_unit is None or of_node.layer is None or of_node.index is not None:
        return False
    return of_node.layer == of_unit.layer and _same(of_node, of_unit)


def _same(node: Address, unit: Address) -> bool:
    if node.head is not None:
        return node.head == unit.head and unit.site.endswith("attn.z")
    ends = ("mlp.neurons", "mlp.out", "mlp")
    return node.site == unit.site or (unit.site.endswith(ends) and node.site.endswith(ends))
