"""Connectivity: which units go together, over all samples, run by run or window by window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, require_known
from nissl.progress import tracked
from nissl.recording.free_memory import require_memory
from nissl.statistics import Finding, Test, against_null
from nissl.statistics.connectivity_measures import measure_of
from nissl.statistics.pvalues import larger_p
from nissl.statistics.series import (
    centred,
    moved_series,
    null_of_series,
    parts_of,
    read_series,
    require_movable,
    require_varying,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nissl.recording import Recording

__all__ = ["Connectivity", "connectivity"]

Array = NDArray[np.floating[Any]]
Index = NDArray[np.int64]


@dataclass(frozen=True, repr=False)
class Connectivity:
    """Edges between units.

    Parameters
    ----------
    values : array, shape (n_units, n_units) or (n_matrices, n_units, n_units)
        Row a, column b is the edge from a to b.
    units : DataFrame, n_units rows
        ``unit`` and what else is known of each.
    matrices : DataFrame, n_matrices rows
        The run of each matrix, or where its window begins, ends and has its middle.
    measure, directed : str, bool
        What was measured, and whether the edge from b to a may be another.
    edges : Finding
        A row for each edge ``a -> b``, or pair where edges have no direction. Of several matrices
        their mean, and the spread beside it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> connectivity(rng.standard_normal((50, 3)), test=None)
    Connectivity of 3 units: correlation
    """

    values: Array
    units: pd.DataFrame
    matrices: pd.DataFrame
    measure: str
    directed: bool
    edges: Finding

    @property
    def mean(self) -> Array:
        """The mean over matrices, shape (n_units, n_units)."""
        return np.array(self.values if self.values.ndim == 2 else self.values.mean(axis=0))

    @property
    def p(self) -> Array:
        """Corrected p of the mean, shape (n_units, n_units); NaN on the diagonal."""
        if "q" not in self.edges.table:
            raise NisslError("edges were not tested, or not corrected", do="give test=")
        p = np.full(self.mean.shape, np.nan)
        p[_pairs(len(p), self.directed)] = self.edges.table["q"]
        return p if self.directed else np.fmin(p, p.T)

    def graph(self, q: float = 0.05) -> Any:
        """Return the edges as a graph.

        Parameters
        ----------
        q : float
            The largest corrected p of an edge, where edges were tested.

        Returns
        -------
        networkx.Graph or networkx.DiGraph
            What is known of units on the nodes; ``weight`` (and ``q``) on the edges.
        """
        import networkx  # type: ignore[import-untyped]

        graph = networkx.DiGraph() if self.directed else networkx.Graph()
        graph.add_nodes_from(self.units.set_index("unit").to_dict("index").items())
        table = self.edges.table.rename(columns={self.measure: "weight"})
        if "q" in table:
            table = table[table["q"] <= q]
        about = table.filter(["weight", "q"]).to_dict("records")
        graph.add_edges_from(zip(table["source"], table["target"], about, strict=True))
        return graph

    def plot(self, kind: str = "matrix", *, order: str | None = None, q: float = 0.05) -> Figure:
        """Draw the mean as a matrix or a graph.

        Parameters
        ----------
        kind : {"matrix", "graph"}
            A matrix, of tested pairs below the diagonal what was found; or units on a circle,
            joined by the largest 150 edges that were found.
        order : str, optional
            The column that units are sorted by: ``region``, else clusters of alike edges.
        q : float
            The largest corrected p of an edge.

        Returns
        -------
        matplotlib Figure
            A new one.
        """
        from nissl.brain.connectivity_figure import draw_graph, draw_matrix

        require_known("kind", kind, ("matrix", "graph"))
        return (draw_matrix if kind == "matrix" else draw_graph)(self, order, q)

    def __repr__(self) -> str:
        several = f" x {len(self.values)} matrices" if self.values.ndim == 3 else ""
        return f"Connectivity of {len(self.units)} units{several}: {self.measure}"


def connectivity(
    rec: Recording | ArrayLike,
    *,
    measure: str | Callable[..., Array] = "correlation",
    by: str | None = None,
    window: float | None = None,
    step: float | None = None,
    test: Test | None = Test(),
    progress: bool = True,
    **options: Any,
) -> Connectivity:
    """Measure the edge between every two units, against series moved in time against each other.

    Means of runs are taken out, and nothing is measured from one run to the next: a run ends where
    ``subject``, ``session``, ``run``, ``trial`` and the like change, and where times jump.

    Parameters
    ----------
    rec : Recording or array, shape (n_samples, n_units)
        Activity in the order of time; an array is one run.
    measure : str or callable
        "correlation", "partial_correlation", "lagged_correlation", "granger",
        "mutual_information", "coherence", "phase_locking", "affinity"; or a function of
        (n_samples, n_units) that returns (n_units, n_units).
    by : str, optional
        Sample coordinate: a matrix for each of its values.
    window, step : float, optional
        A matrix for each window of this length, from step to step (by default half a window), in
        seconds, or samples where there is no ``time``. Windows lie inside runs.
    test : Test or None
        `CircularShift` of each unit by itself inside runs, `PhaseRandomised`, or `PermutedLabels`
        where samples are independent; 1,000 draws. Tested is the mean over matrices. None: no p.
    progress : bool
        Show a bar.
    **options
        Of the measure: ``lag``, ``order``, ``band``, ``rate`` (by default of ``time``, Hz),
        ``segment``, ``bins``, ``width``, ``estimator``.

    Returns
    -------
    Connectivity
        Matrices and edges.

    Raises
    ------
    NotExchangeable
        Autocorrelated series would be permuted sample by sample, or runs are too short to shift.
    NisslError
        A unit does not vary or is not finite, times do not increase, no window fits, or the measure
        does not know an option.

    Notes
    -----
    Shifts leave each series its own spectrum, and break all ties at once. For partial correlation
    the residuals are shifted, too, and the larger p is kept; measured at p <= 0.05: 0.05, and 0.06
    to 0.1 of edges between slow units under fast ones that drive them all.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((300, 3))
    >>> x[:, 2] += x[:, 0]
    >>> found = connectivity(x, test=Test(n_permutations=99), progress=False)
    >>> found.edges.significant().units
    ['unit[0] -> unit[2]']
    """
    import pandas as pd

    x, units, stretch, rate = read_series(rec)
    made = measure_of(measure, options, rate)
    parts, matrices = parts_of(rec, stretch, rate, by=by, window=window, step=step)
    for k, rows in enumerate(parts):
        which = f"matrix {k} " if len(parts) > 1 else ""
        require_varying(x[rows], stretch[rows], units, where=which)
    if test is not None and options.get("estimator", "empirical") != "empirical":
        raise NisslError(
            "shrunk partial correlations are biased, and no null tells by how much",
            where="estimator",
            do="give test=None, or estimator='empirical' and more samples than units",
        )
    pairs = _pairs(x.shape[1], made.directed)

    def measured(series: Array) -> Array:
        return np.stack([made(series[rows], stretch[rows], **options) for rows in parts])

    x = centred(x, stretch)
    values = measured(x)
    score = values.mean(axis=0)[pairs]
    source, target = (units["unit"].to_numpy()[side] for side in pairs)
    names = [f"{a} -> {b}" for a, b in zip(source, target, strict=True)]
    table = pd.DataFrame({"unit": names, "source": source, "target": target})
    if test is None:
        edges = Finding(table.assign(**{made.name: score}), "connectivity", "none", {}, made.name)
    else:
        null, within, least_p = null_of_series(test, rec, stretch)
        n, found = test.draws(1000), []
        require_memory(40 * n * len(score), "draws of edges", do="give fewer units or draws")
        how: Any = {"score": made.name, "method": "connectivity", "null": null.name, "test": test}
        how |= {"units": table, "alternative": made.alternative, "least_p": least_p}
        for series in made.shuffled(x):
            require_movable(series, null, within, memory=made.memory)
            moved = moved_series(series, null, within, n, seed=test.seed)
            moved = tracked(moved, "Testing edges", total=n, unit="draws", progress=progress)
            drawn = np.stack([measured(one).mean(axis=0)[pairs] for one in moved])
            found.append(against_null(score, drawn, **how))
        about = {"seed": test.seed, "n_samples": len(x), "n_runs": int(stretch[-1]) + 1}
        edges = reduce(larger_p, found).assign(about)
    if len(parts) > 1:
        edges = edges.assign(spread=values.std(axis=0, ddof=1)[pairs])
    stacked = values[0] if by is None and window is None else values
    return Connectivity(stacked, units, matrices, made.name, made.directed, edges)


def _pairs(n: int, directed: bool) -> tuple[Index, Index]:
    """Return rows and columns of the edges of a matrix."""
    rows, columns = np.nonzero(~np.eye(n, dtype=bool)) if directed else np.triu_indices(n, 1)
    return rows, columns
