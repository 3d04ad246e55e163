"""Connectivity: which units go together, over all samples, run by run or window by window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.brain.connectivity_measures import MEASURES, Measure
from nissl.errors import NisslError, TooFewSamples, UnknownName, require_known
from nissl.progress import progress_bar
from nissl.statistics import (
    CircularShift,
    Finding,
    NotExchangeable,
    PermutedLabels,
    PhaseRandomised,
    Test,
)
from nissl.statistics.exchangeability import autocorrelation, require_stationary
from nissl.statistics.nulls import LabelNull, codes
from nissl.statistics.pvalues import against_null
from nissl.statistics.series import read_series, run_starts, some_units

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nissl.recording import Recording

__all__ = ["Connectivity", "connectivity"]

Array = NDArray[np.floating[Any]]
BATCH_BYTES = 64 * 2**20


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
    measure : str
        What was measured.
    directed : bool
        Whether the edge from a to b may differ from that from b to a.
    edges : Finding
        One row for each edge ``a -> b``; where the measure is not directed, for each pair. Of
        several matrices their mean, and the spread beside it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> found = connectivity(rng.standard_normal((50, 3)), test=None)
    >>> found
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
        return self.values if self.values.ndim == 2 else np.asarray(self.values.mean(axis=0))

    @property
    def p(self) -> Array:
        """Corrected p of the mean, shape (n_units, n_units); NaN on the diagonal."""
        if "q" not in self.edges.table:
            raise NisslError(
                "edges were not tested, or not corrected", do="give connectivity test="
            )
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
        for known in self.units.to_dict("records"):
            graph.add_node(known["unit"], **{str(k): v for k, v in known.items() if k != "unit"})
        table = self.edges.table
        table = table[table["q"] <= q] if "q" in table else table
        for edge in table.to_dict("records"):
            about = {"weight": edge[self.measure]} | ({"q": edge["q"]} if "q" in edge else {})
            graph.add_edge(edge["source"], edge["target"], **about)
        return graph

    def plot(self, kind: str = "matrix", *, order: str | None = None, q: float = 0.05) -> Figure:
        """Draw the mean as a matrix or a graph.

        Parameters
        ----------
        kind : {"matrix", "graph"}
            A matrix; of pairs that were tested, the lower half holds only what was found. Or units
            on a circle, joined by the edges that were found, the largest 150 of them.
        order : str, optional
            The column of units that they are put in order of; by default ``region`` where there are
            regions, else clusters of units whose edges are alike.
        q : float
            The largest corrected p of an edge.

        Returns
        -------
        matplotlib Figure
            A new one.
        """
        from nissl.brain.connectivity_figure import draw_graph, draw_matrix

        require_known("kind", kind, ("matrix", "graph"))
        column = order or ("region" if "region" in self.units else None)
        if column is not None and column not in self.units:
            raise UnknownName("column of units", column, [str(c) for c in self.units])
        if column is not None and self.units[column].nunique() > 1:
            places: Any = np.argsort(codes(self.units[column].astype(str)), kind="stable")
        else:
            from scipy.cluster.hierarchy import leaves_list, linkage

            places = leaves_list(linkage(self.mean, "average", optimal_ordering=True))
        draw = draw_matrix if kind == "matrix" else draw_graph
        return draw(self, places, q)

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
        "correlation", "covariance", "partial_correlation", "lagged_correlation", "granger",
        "mutual_information", "coherence", "phase_locking", "affinity"; or a function of
        (n_samples, n_units) that returns (n_units, n_units).
    by : str, optional
        Sample coordinate: a matrix for each of its values.
    window, step : float, optional
        A matrix for each window of this length, from step to step (by default half a window); in
        seconds where samples have a ``time``, else in samples. Windows lie inside runs.
    test : Test or None
        `CircularShift` of each unit by itself inside runs, `PhaseRandomised`, or `PermutedLabels`
        where samples are independent; 1,000 draws. Tested is the mean over matrices. None: no p.
    progress : bool
        Show a bar.
    **options
        Of the measure: ``lag``, ``order``, ``band``, ``rate``, ``segment``, ``bins``, ``width``,
        ``estimator``, ``penalty``; ``rate`` in Hz is that of ``time`` where it is not given.

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
    the residuals are shifted, too, and the larger p is kept. Measured at p <= 0.05: 0.05 on 30
    units of 400 samples that forget by 0.6 (with residuals alone 0.08); 0.06 to 0.1 of edges
    between slow units under fast ones that drive them all (with series alone 0.16 to 0.35).

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

    made = _measure(measure, options)
    x, units, stretch, rate = read_series(rec)
    parts, matrices = _parts(rec, stretch, by, window, step, rate)
    if "rate" in made.takes:
        options.setdefault("rate", rate)
        if options["rate"] is None:
            raise NisslError("samples have no time", where=made.name, do="give rate= in Hz")

    def measured(series: Array) -> Array:
        return np.stack([_one(made, series[rows], stretch[rows], options) for rows in parts])

    centred = _centred(x, stretch)
    for k, rows in enumerate(parts):
        _require_varying(x[rows], stretch[rows], units, "" if len(parts) == 1 else f"matrix {k}")
    values = measured(centred)
    pairs = _pairs(x.shape[1], made.directed)
    ends = [units["unit"].to_numpy()[side] for side in pairs]
    names = [f"{a} -> {b}" for a, b in zip(*ends, strict=True)]
    table = pd.DataFrame({"unit": names, "source": ends[0], "target": ends[1]})
    score = values.mean(axis=0)[pairs]
    if test is None:
        edges = Finding(table.assign(**{made.name: score}), "connectivity", "none", {}, made.name)
    else:
        if options.get("estimator", "empirical") != "empirical":
            raise NisslError(
                "shrunk partial correlations are biased, and no null tells by how much",
                where="estimator",
                do="give test=None, or estimator='empirical' and more samples than units",
            )
        null: Any = test.null_or(CircularShift(), (LabelNull, PhaseRandomised))
        tested = []
        for series in made.shuffled(centred):
            within = _require_null(made, null, series, stretch, rec)
            drawn = _draws(made, measured, series, null, within, test, pairs, progress)
            count = null.log_arrangements(np.arange(len(x)), exchange=None, within=within)
            about = {"score": made.name, "method": "connectivity", "null": null.name}
            least = float(np.exp(-count))
            tested.append(
                against_null(
                    score,
                    drawn,
                    units=table,
                    **about,
                    alternative=made.alternative,
                    least_p=least,
                    test=test,
                )
            )
        edges = reduce(_larger_p, tested)
        edges = edges.assign(
            {"seed": test.seed, "n_samples": len(x), "n_runs": int(stretch[-1]) + 1}
        )
    if len(parts) > 1:
        edges = edges.assign(spread=values.std(axis=0, ddof=1)[pairs])
    stacked = values if by is not None or window is not None else values[0]
    return Connectivity(stacked, units, matrices, made.name, made.directed, edges)


def _measure(given: str | Callable[..., Array], options: dict[str, Any]) -> Measure:
    if isinstance(given, str):
        require_known("measure", given, list(MEASURES))
    made = MEASURES[given] if isinstance(given, str) else Measure(given)
    for name in options:
        require_known(f"option of {made.name}", name, [n for n in made.takes if n != "starts"])
    return made


def _parts(
    rec: Any,
    stretch: NDArray[np.int64],
    by: str | None,
    window: float | None,
    step: float | None,
    rate: float | None,
) -> tuple[list[NDArray[np.int64]], pd.DataFrame]:
    """Return the samples of each matrix, and what each is of."""
    import pandas as pd

    from nissl.statistics.design import column_of

    every = np.arange(len(stretch))
    label = None if by is None else column_of("by", by, len(stretch), rec)
    if window is None:
        if label is None:
            return [every], pd.DataFrame(index=[0])
        names = pd.unique(label)
        return [np.flatnonzero(label == name) for name in names], pd.DataFrame({by: names})
    scale = rate or 1.0
    size = round(window * scale)
    hop = round((window / 2 if step is None else step) * scale)
    if size < 3 or hop < 1:
        raise NisslError(
            f"windows of {size} samples every {hop}", where="window", do="give longer ones"
        )
    runs = np.split(every, run_starts(stretch)[1:])
    parts = [run[a : a + size] for run in runs for a in range(0, len(run) - size + 1, hop)]
    if not parts:
        raise TooFewSamples(
            f"no run holds a window of {size} samples", where="window", do="give a shorter one"
        )
    time = every if rate is None else np.asarray(rec["time"].values, float)
    about = {"start": time[[p[0] for p in parts]], "stop": time[[p[-1] for p in parts]]}
    about["time"] = (about["start"] + about["stop"]) / 2
    return parts, pd.DataFrame({} if label is None else {by: label[[p[0] for p in parts]]}).assign(
        **about, run=stretch[[p[0] for p in parts]]
    )


def _centred(x: Array, stretch: NDArray[np.int64]) -> Array:
    """Return series less the mean of each run."""
    starts = run_starts(stretch)
    lengths = np.diff(starts, append=len(x))
    means = np.add.reduceat(x, starts, axis=0) / lengths[:, None]
    return np.asarray(x - np.repeat(means, lengths, axis=0))


def _one(made: Measure, x: Array, stretch: NDArray[np.int64], options: dict[str, Any]) -> Array:
    """Measure one matrix."""
    known = {"starts": run_starts(stretch)} if "starts" in made.takes else {}
    return made.function(_centred(x, stretch), **known, **options)


def _require_varying(x: Array, stretch: NDArray[np.int64], units: pd.DataFrame, where: str) -> None:
    power = (_centred(x, stretch) ** 2).mean(axis=0)
    flat = power <= 1e-24 * (x**2).mean(axis=0)
    if flat.any():
        raise NisslError(
            f"{flat.sum()} units do not vary within runs",
            where=f"{where} {some_units(units, flat)}".strip(),
            do="leave them out, or give longer windows",
        )


def _require_null(
    made: Measure, null: Any, x: Array, stretch: NDArray[np.int64], rec: Any
) -> NDArray[np.int64]:
    """Return the stretches inside which a null moves samples, or say why it may not."""
    within = stretch
    if getattr(null, "within", None):
        from nissl.statistics.design import column_of

        column = codes(column_of("within", null.within, len(x), rec))
        within = codes(column * (stretch.max() + 1) + stretch)
    if isinstance(null, PermutedLabels):
        memory = autocorrelation(x, exchange=within)
        if memory > max(0.1, 3 / np.sqrt(len(x))):
            raise NotExchangeable(
                f"neighbouring samples are correlated: lag-1 autocorrelation {memory:.2f}",
                where=null.name,
                do="use CircularShift, which leaves each series as it is",
            )
    else:
        slow = (x[1:] * x[:-1]).mean(axis=0) / (x**2).mean(axis=0)
        middle = int(np.argsort(slow)[len(slow) // 2])
        share = require_stationary(x, x[:, middle], exchange=within, where=null.name)
        if share > made.memory:
            raise NotExchangeable(
                f"runs are short for how slow series are: they remember over {share:.3f} of a run",
                where=made.name,
                do=f"record longer (at most {made.memory} holds the level), or give test=None",
            )
    return within


def _draws(
    made: Measure,
    measured: Callable[[Array], Array],
    x: Array,
    null: Any,
    within: NDArray[np.int64],
    test: Test,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    progress: bool,
) -> Array:
    """Return every edge of series that were moved against each other, shape (n_draws, n_edges)."""
    from nissl.recording.free_memory import require_memory

    n = test.draws(1000)
    require_memory(40 * n * len(pairs[0]), "edges of draws", do="give fewer units or draws")
    labels = np.arange(len(x))
    drawn = np.empty((n, len(pairs[0])))
    batch = max(1, BATCH_BYTES // (8 * x.size))
    with progress_bar(f"Testing {made.name}", total=n, unit="draws", progress=progress) as advance:
        for a in range(0, n, batch):
            m = min(batch, n - a)
            moved = np.empty((m, *x.shape[::-1]))  # a unit lies along memory
            for u, column in enumerate(x.T):
                how: Any = {"within": within, "seed": test.seed * x.shape[1] + u, "start": a}
                if isinstance(null, PhaseRandomised):
                    moved[:, u] = null.draw_series(column, m, **how)
                else:
                    moved[:, u] = column[null.draw(labels, m, exchange=None, **how)]
            for d, one in enumerate(moved):
                drawn[a + d] = measured(one.T).mean(axis=0)[pairs]
            advance(m)
    return drawn


def _larger_p(one: Finding, other: Finding) -> Finding:
    """Return every edge as it was under the null that tells against it."""
    a, b = one.table, other.table
    keep = np.broadcast_to((a["p"] >= b["p"]).to_numpy()[:, None], a.shape)
    table = a.where(keep, b)
    if "q" in table:
        table["q"] = np.maximum(a["q"], b["q"])
    return replace(one, table=table)


def _pairs(n: int, directed: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of the edges of a matrix."""
    rows, columns = np.nonzero(~np.eye(n, dtype=bool)) if directed else np.triu_indices(n, 1)
    return rows, columns
