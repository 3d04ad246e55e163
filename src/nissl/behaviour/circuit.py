"""A circuit: the few edges, or nodes, of a network that suffice for a behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from torch import Tensor

from nissl.behaviour.circuit_parts import EdgeParts, NodeParts, Parts, drawn_alike
from nissl.behaviour.circuit_table import CircuitTable, largest, read_circuit
from nissl.behaviour.patching import Patching
from nissl.errors import NisslError, first_line
from nissl.network.edits.nodes import nodes_of
from nissl.progress import Progress, progress_bar

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from nissl.behaviour.behaviour import Behaviour
    from nissl.network import Network

__all__ = ["SIZES", "Circuit", "load_circuit"]

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, repr=False)
class Circuit:
    """The parts of a network that do most for a behaviour, and the pairs that they are tested on.

    Parameters
    ----------
    net : Network
        The network.
    parts : EdgeParts or NodeParts
        Everything that it could be made of.
    scores_of_parts : array of float64, shape (n_parts,)
        Their effects where it was found.
    size : float
        Which share of them it has.
    tested_on : Behaviour or None
        Pairs that did not choose it; None where it was loaded.
    name : str
        What it is called.
    batch_size : int
        Pairs in a call.
    """

    net: Network
    parts: Parts
    scores_of_parts: np.ndarray[Any, np.dtype[np.float64]]
    size: float
    tested_on: Behaviour | None
    name: str
    batch_size: int = 16

    def __repr__(self) -> str:
        return f"Circuit of {self.name}: {len(self)} of {len(self.parts)} {self.parts.kind}"

    def __len__(self) -> int:
        return int(self.kept().sum())

    def _repr_html_(self) -> str:
        from nissl.behaviour.circuit_html import circuit_html

        edges = self.graph().edges(data="effect") if self.parts.kind == "edges" else ()
        return circuit_html(edges, self.table, self.net.n_layers, title=repr(self))

    @property
    def table(self) -> pd.DataFrame:
        """Its edges or nodes with their effects, the largest first."""
        table = self.parts.table().assign(indirect_effect=self.scores_of_parts)[self.kept()]
        order = np.argsort(-np.abs(table["indirect_effect"].to_numpy()), kind="stable")
        return table.iloc[order].reset_index(drop=True)

    @property
    def units(self) -> list[str]:
        """The addresses of its edges or nodes, the largest effects first."""
        return [str(unit) for unit in self.table["unit"]]

    def kept(self, size: float | None = None) -> Mask:
        """Tell which parts belong to the circuit, shape (n_parts,).

        Parameters
        ----------
        size : float, optional
            Of the circuit that has another share of the network.

        Returns
        -------
        array of bool
            Those of the largest effects that lie on a path from the embedding to the logits.
        """
        wanted = self.size if size is None else size
        return self.parts.connected(largest(self.scores_of_parts, wanted))

    def only(self, other: dict[str, Tensor]) -> list[Any]:
        """Return the edits that leave the circuit alone at work.

        Parameters
        ----------
        other : dict of str to Tensor
            What takes the place of all else: activity at ``parts.sites`` of another run, or its
            mean.

        Returns
        -------
        list of Edit
            For ``net.edit``.
        """
        return self.parts.edits(~self.kept(), other)

    def scores(
        self,
        *,
        sizes: Sequence[float] | None = None,
        n_random: int = 19,
        seed: int = 0,
        progress: Progress = True,
    ) -> pd.DataFrame:
        """Test the circuit on the pairs that did not choose it, beside random circuits.

        Parameters
        ----------
        sizes : sequence of float, optional
            Shares of the network to be tested; by default its own. `SIZES` are those of the
            published benchmark.
        n_random : int
            Random circuits of each size, with as many edges between each pair of layers, or nodes
            in each layer.
        seed : int
            Of the random circuits.
        progress : bool or callable
            Show a bar; or what is told how many prompts were run, and of how many.

        Returns
        -------
        DataFrame
            A row a size: ``size``, ``n``; ``faithfulness`` of the circuit alone at work (1 as the
            whole network, 0 as with everything replaced by the corrupted run); ``completeness``,
            what is lost when the circuit alone is replaced (1 all of it); ``random``, the mean
            faithfulness of random circuits; ``p``, the share of them that come as near to 1, with
            the +1 rule. Its ``attrs`` hold "CMD" and "CPR" where there are several sizes.

        Raises
        ------
        NisslError
            The circuit was loaded, and has no pairs to be tested on.

        Notes
        -----
        Source: faithfulness and completeness, Wang et al. 2023; CMD, the area between faithfulness
        and 1, and CPR, the area under faithfulness, over sizes: Mueller et al. 2025, MIB. CPR
        rewards a circuit that leaves out what hurts, CMD does not.
        """
        import pandas as pd

        pairs = self.tested_on
        if pairs is None:
            raise NisslError(
                "the circuit has no pairs to be tested on", do="load_circuit(path, tested_on=...)"
            )
        wanted = [self.size] if sizes is None else list(sizes)
        rng = np.random.default_rng(seed)
        kept = [self.kept(size) for size in wanted]
        masks = [np.zeros(len(self.parts), dtype=bool)]  # nothing is kept: everything replaced
        for mask in kept:
            masks += [mask, ~mask]
            masks += [drawn_alike(self.parts.groups, mask, rng) for _ in range(n_random)]
        values = self._values(pairs, masks, progress)
        whole, nothing = float(pairs.clean_value.double().mean()), values[0]
        if whole == nothing:
            raise NisslError("the behaviour is as large with everything replaced")
        shares = (values[1:] - nothing) / (whole - nothing)
        each = shares.reshape(len(wanted), 2 + n_random)
        off = np.abs(1 - each)
        table = pd.DataFrame(
            {
                "size": [mask.mean() for mask in kept],
                "n": [int(mask.sum()) for mask in kept],
                "faithfulness": each[:, 0],
                "completeness": 1 - each[:, 1],
            }
        )
        if n_random:
            table["random"] = each[:, 2:].mean(1)
            table["p"] = (1 + (off[:, 2:] <= off[:, :1]).sum(1)) / (n_random + 1)
        if len(wanted) > 1:
            at = np.asarray(wanted, dtype=float)
            table.attrs = {
                "CMD": float(np.trapezoid(off[:, 0], at)),
                "CPR": float(np.trapezoid(each[:, 0], at)),
            }
        return table

    def minimality(self, *, progress: bool = True) -> pd.DataFrame:
        """Return what the circuit loses without each of its parts: those at zero are not needed.

        Parameters
        ----------
        progress : bool
            Show a bar.

        Returns
        -------
        DataFrame
            ``table`` with ``loss``, in shares of the behaviour.
        """
        if self.tested_on is None:
            raise NisslError("the circuit has no pairs to be tested on")
        kept, table = self.kept(), self.table
        number = {unit: i for i, unit in enumerate(self.parts.table()["unit"])}
        masks = [np.zeros_like(kept), kept]
        for unit in table["unit"]:
            without = kept.copy()
            without[number[unit]] = False
            masks.append(without)
        values = self._values(self.tested_on, masks, progress)
        whole = float(self.tested_on.clean_value.double().mean())
        return table.assign(loss=(values[1] - values[2:]) / (whole - values[0]))

    def _values(self, pairs: Behaviour, masks: list[Mask], progress: Progress) -> Any:
        """Return the metric, a mean over pairs, with what each mask keeps alone at work."""
        total = np.zeros(len(masks))
        title, n = f"Circuits of {self.net.name}", len(pairs) * len(masks)
        with progress_bar(title, total=n, unit="prompts", progress=progress) as advance:
            for start in range(0, len(pairs), self.batch_size):
                one = Patching(pairs, "noising", rows=slice(start, start + self.batch_size))
                other = one.given(self.parts.sites)
                for number, mask in enumerate(masks):
                    with self.net.edit(*self.parts.edits(~mask, other)):
                        value = one.metric(one.run()[0])
                    total[number] += float(value.double().sum())
                    advance(len(value))
        return total / len(pairs)

    def as_table(self) -> CircuitTable:
        """Return what its file says: effects of all parts, without the network.

        Returns
        -------
        CircuitTable
            Of the same parts in the same order.
        """
        parts, units = self.parts, [str(unit) for unit in self.parts.table()["unit"]]
        kinds = list(parts.nodes.kinds) if isinstance(parts, NodeParts) else []
        names = self.name, self.net.name, parts.kind
        effects = np.asarray(self.scores_of_parts, dtype=np.float64)
        return CircuitTable(*names, self.size, units, effects, sites=parts.sites, nodes=[*kinds])

    def graph(self) -> Any:
        """Return the circuit as a ``networkx.DiGraph`` with ``effect`` on its edges.

        Returns
        -------
        networkx.DiGraph
            A head is one node, whatever of it is read: see `CircuitTable.edges`.
        """
        import networkx  # type: ignore[import-untyped]

        graph = networkx.DiGraph()
        for (begin, end), effect in self.as_table().edges().items():
            graph.add_edge(begin, end, effect=effect)
        return graph

    def plot(self, *, axes: Axes | None = None) -> Axes:
        """Draw the circuit: layers upwards, heads and MLPs across, width by effect.

        Parameters
        ----------
        axes : Axes, optional
            Where; by default a new figure.

        Returns
        -------
        Axes
            What was drawn on.
        """
        from nissl.behaviour.circuit_figure import draw

        return draw(self.graph(), self.net.n_layers, title=repr(self), axes=axes)

    def save(self, path: str | Path) -> Path:
        """Write the circuit as JSON: its name, size, and the effect of every part.

        Parameters
        ----------
        path : str or Path
            Where to.

        Returns
        -------
        Path
            The file.
        """
        return self.as_table().save(path)


def load_circuit(net: Network, path: str | Path, *, tested_on: Behaviour | None = None) -> Circuit:
    """Read a circuit that was saved.

    Parameters
    ----------
    net : Network
        The network, or another of the same parts.
    path : str or Path
        The file.
    tested_on : Behaviour, optional
        Pairs to test it on.

    Returns
    -------
    Circuit
        The same parts in the same order.

    Raises
    ------
    NisslError
        It is no such file, or of a network with other parts.
    """
    said = read_circuit(path)
    try:
        parts: Parts
        if said.kind == "edges":
            parts = EdgeParts(net)
        else:
            inputs = None if tested_on is None else tested_on.call(tested_on.clean_ids[:1])
            kinds: Any = tuple(said.nodes)
            parts = NodeParts(replace(nodes_of(net, said.sites, inputs=inputs), kinds=kinds))
        effects = dict(zip(said.units, said.effects, strict=True))
        scores = np.asarray([float(effects[unit]) for unit in parts.table()["unit"]])
        if len(scores) < len(effects):
            raise ValueError(f"it has {len(effects):,} parts, the network has {len(scores):,}")
    except (NisslError, ValueError, KeyError, TypeError, IndexError) as error:
        raise NisslError(
            f"this is no circuit of {net.name}: {type(error).__name__} {first_line(error)}",
            where=str(path),
            do=f"it was found in {said.network}",
        ) from error
    return Circuit(net, parts, scores, said.size, tested_on, said.name)
