"""Compare: how alike two representations of the same stimuli are, beside chance and a ceiling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.alignment.measures.measure import Measure, measure_of
from nissl.errors import NisslError, TooFewSamples
from nissl.progress import progress_bar
from nissl.recording import Recording, aggregate, align
from nissl.statistics import (
    Finding,
    NotExchangeable,
    PermutedLabels,
    Test,
    against_null,
    autocorrelation,
)
from nissl.statistics.design import column_of
from nissl.statistics.nulls import LabelNull

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Comparison", "aligned", "compare", "moves", "sites_of"]

Array = NDArray[np.floating[Any]]
Side = Recording | ArrayLike | Mapping[str, Any]
GROUPS = 20  # of stimuli, each left out once for the interval
SPLITS = 10  # of repeats, for the ceiling
SLOW = 0.1  # the product of both sides' lag-1 autocorrelations that a permutation may have


@dataclass(frozen=True)
class Comparison:
    """How alike every site of one side is to every site of another.

    Parameters
    ----------
    finding : Finding
        A row for each two sites, ``unit`` "site ~ site": ``first``, ``second``, its value,
        effect, ``null_mean``, p, q, the interval from ``low`` to ``high``, and ``ceiling``.
    measure : Measure
        By which measure.
    """

    finding: Finding
    measure: Measure

    def __repr__(self) -> str:
        kind = "similarity" if self.measure.similarity else "distance"
        return f"Comparison by {self.measure} (a {kind}) of {len(self.table)} pairs of sites"

    @property
    def table(self) -> pd.DataFrame:
        """The rows of the finding."""
        return self.finding.table

    @property
    def value(self) -> float:
        """The value, where two sites were compared."""
        if len(self.table) != 1:
            raise NisslError(f"there are {len(self.table)} values", do="take .matrix or .table")
        return float(self.table[self.measure.name].iloc[0])

    @property
    def matrix(self) -> pd.DataFrame:
        """The values, a row for each site of the first side, a column for each of the second."""
        names = {name: self.table[name].unique() for name in ("first", "second")}
        made = self.table.pivot(index="first", columns="second", values=self.measure.name)
        return made.loc[names["first"], names["second"]]

    def plot(self, *, axes: Axes | None = None) -> Axes:
        """Draw the value beside its null, interval and ceiling; of many sites the matrix.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Where; by default a new figure.

        Returns
        -------
        Axes
            What was drawn on.
        """
        from nissl.statistics.figure import NULL, heatmap

        if len(self.matrix.columns) > 1 and len(self.matrix) > 1:
            axes = heatmap(self.matrix, axes=axes)
            axes.set(title=self.measure.name)
            return axes
        import matplotlib.pyplot as plt

        axes = (
            plt.subplots(figsize=(max(3.0, 0.6 * len(self.table)), 3.6))[1]
            if axes is None
            else axes
        )
        at, value = np.arange(len(self.table)), self.table[self.measure.name]
        if "low" in self.table:
            axes.vlines(at, self.table["low"], self.table["high"], color="C0")
        axes.plot(at, value, "o", color="C0", label=self.measure.name)
        if "null_mean" in self.table:
            axes.plot(at, self.table["null_mean"], "_", color=NULL, markersize=14, label="chance")
        if self.table["ceiling"].notna().any():
            axes.plot(at, self.table["ceiling"], "_", color="C3", markersize=14, label="ceiling")
        labels = self.table["first" if len(self.matrix) > 1 else "second"]
        axes.set_xticks(at, labels, rotation=35, ha="right", fontsize=8)
        axes.legend(fontsize=7, frameon=False)
        return axes


def compare(
    a: Side,
    b: Side,
    *,
    on: str = "stimulus",
    measure: Measure | str = "rsa",
    exchange: str | ArrayLike | None = None,
    repeats: str | None = None,
    test: Test | None = Test(),
    progress: bool = True,
) -> Comparison:
    """Measure how alike two representations of the same stimuli are.

    Parameters
    ----------
    a, b : Recording, array, shape (n_stimuli, n_units), or mapping of str to either
        One sample a stimulus; each site of a Recording, or each of a mapping, by itself. Arrays
        must have the same stimuli in the same order. A measure of noise (`StochasticShape`) reads
        several samples a stimulus, of arrays (n_stimuli, n_repeats, n_units).
    on : str
        The sample coordinate that says which stimulus a sample is.
    measure : Measure or str
        "rsa", "topological_rsa", "cka", "cca", "procrustes", "soft_matching", "stochastic_shape",
        or a `Measure` with its options.
    exchange : str or array, shape (n_stimuli,), optional
        Blocks of stimuli that are permuted together, such as frames of one film; a name is a
        sample coordinate of `a`.
    repeats : str, optional
        The sample coordinate that tells repeats of a stimulus apart in `b`: their mean is compared,
        and the ceiling is the measure between means of halves of them, which the measure of `b`
        with its own truth exceeds.
    test : Test or None
        Draws (200) of stimuli permuted, tail, correction over all pairs of sites, seed. None: no
        null and no interval.
    progress : bool
        Show a bar.

    Returns
    -------
    Comparison
        Values, null, interval (by the jackknife over twenty groups of stimuli), ceiling; picture.

    Raises
    ------
    NotExchangeable
        Stimuli hang together in time and no blocks were declared.
    NisslError
        Stimuli are not shared, occur twice, or come in another order; or activity is not finite.

    Notes
    -----
    Sources are named by the measures. The permutation of stimuli as null: Kriegeskorte et al. 2008.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.standard_normal((40, 5))
    >>> a, b = (shared @ rng.standard_normal((5, n)) for n in (30, 20))
    >>> found = compare(a, b, measure="cka", progress=False)
    >>> bool(found.value > 0.5), bool(found.table["p"][0] < 0.01)
    (True, True)
    """
    by = measure_of(measure)
    firsts, seconds = sites_of(a, "first", by.repeats), sites_of(b, "second", by.repeats)
    seed = test.seed if test else 0
    if by.repeats and repeats is not None:
        raise NisslError(
            f"{by.name} reads all repeats of a stimulus, and has no ceiling",
            do="leave repeats= out",
        )
    halves = {} if repeats is None else _halves(seconds, on, repeats, seed)
    if repeats is not None:
        seconds = {name: aggregate(rec, by=on) for name, rec in seconds.items()}
    read = firsts, seconds
    if by.repeats:
        (one, firsts), (two, seconds) = (repeats_of(side, on) for side in read)
        read = one, two
    aligned(firsts, seconds, on)
    left, right = ({name: by.prepare(x) for name, x in side.items()} for side in read)
    pairs = [(p, q) for p in left for q in right]

    def kept(rows: Any = None) -> list[dict[str, Array]]:
        """Return both sides of all stimuli, or of some."""
        return [
            {name: by.normalise(_taken(by, x, rows)) for name, x in side.items()}
            for side in (left, right)
        ]

    def values(one: dict[str, Array], two: dict[str, Array]) -> list[float]:
        return [by.score(one[p], two[q]) for p, q in pairs]

    one, two = kept()
    observed = values(one, two)
    about = _about(pairs, halves, by)
    if test is None:
        return Comparison(Finding(about.assign(**{by.name: observed}), "compare", "none"), by)
    null = test.null_or(PermutedLabels(), LabelNull)
    x, y = next(iter(firsts.values())), next(iter(seconds.values()))
    orders = moves(x, y, null, exchange, test.draws(200), seed)
    groups = np.array_split(np.random.default_rng(seed).permutation(len(x)), min(GROUPS, len(x)))
    title, total = f"Comparing by {by.name}", len(orders) + len(groups)
    draws, without = [], []
    with progress_bar(title, total=total, unit="draws", progress=progress) as advance:
        for moved in orders:
            draws.append(values({name: _taken(by, x, moved) for name, x in one.items()}, two))
            advance(1)
        for group in groups:
            without.append(values(*kept(np.setdiff1d(np.arange(len(x)), group))))
            advance(1)
    off = _jackknife(np.asarray(without))
    found = against_null(
        observed,
        draws,
        units=about.assign(low=np.subtract(observed, off), high=np.add(observed, off)),
        score=by.name,
        method="compare",
        null=null.name,
        alternative="greater" if by.similarity else "less",
        test=test,
    )
    return Comparison(found, by)


def sites_of(side: Side, which: str = "first", repeats: bool = False) -> dict[str, Any]:
    """Return the sites of one side by name, each a Recording or an array.

    Parameters
    ----------
    side : Recording, array, or mapping of str to either
        One side.
    which : str
        What an array without a name is called.
    repeats : bool
        Arrays may be (n_stimuli, n_repeats, n_units).

    Returns
    -------
    dict of str to Recording or array
        Of a Recording of several sites each by itself.
    """
    if isinstance(side, Mapping):
        found: dict[str, Any] = {}
        for name, one in side.items():
            inner = sites_of(one, str(name), repeats)
            found |= inner if len(inner) > 1 else {str(name): next(iter(inner.values()))}
        if not found:
            raise NisslError("there is nothing to compare", do="give a recording of each side")
        return found
    if not isinstance(side, Recording):
        x = np.asarray(side)
        if x.ndim not in (2, 2 + repeats) or x.dtype.kind not in "fiub":
            raise NisslError(
                f"activity of shape {x.shape} and type {x.dtype}", do="give (n_stimuli, n_units)"
            )
        return {which: x}
    names = dict.fromkeys(side["site"].values.tolist()) if "site" in side.coords else {}
    if len(names) < 2:
        return {str(next(iter(names), which)): side}
    return {str(name): side[:, side["site"].values == name] for name in names}


def repeats_of(sites: dict[str, Any], on: str) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return all samples of each stimulus, and their mean.

    Parameters
    ----------
    sites : dict of str to Recording or array
        Sites, as `sites_of` returns them.
    on : str
        The sample coordinate that says which stimulus a sample is.

    Returns
    -------
    dict of str to array, shape (n_stimuli, n_repeats, n_units)
        NaN where a stimulus has fewer repeats than others.
    dict of str to Recording or array, shape (n_stimuli, n_units)
        What stands for each stimulus where only one sample can.
    """
    found: dict[str, Array] = {}
    means: dict[str, Any] = {}
    for name, x in sites.items():
        if not isinstance(x, Recording):
            found[name] = np.asarray(x, dtype=np.float64)
            means[name] = np.nanmean(found[name], axis=1) if np.ndim(x) == 3 else found[name]
            continue
        means[name] = aggregate(x, by=on)
        where = {value: i for i, value in enumerate(means[name][on].values.tolist())}
        stimulus = np.array([where[value] for value in x[on].values.tolist()])
        order = np.argsort(stimulus, kind="stable")
        place = np.arange(len(order)) - np.searchsorted(stimulus[order], stimulus[order])
        found[name] = np.full((len(where), place.max() + 1, x.shape[1]), np.nan)
        found[name][stimulus[order], place] = x.values[order]
    return found, means


def aligned(
    firsts: dict[str, Any], seconds: dict[str, Any], on: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two sides whose stimuli are the same, row by row, or say why they are not.

    Parameters
    ----------
    firsts, seconds : dict of str to Recording or array
        Sites, as `sites_of` returns them.
    on : str
        The sample coordinate that says which stimulus a sample is.

    Returns
    -------
    dict, dict
        The sites, those of Recordings aligned with the first that there is.
    """
    sides = [*firsts.items(), *seconds.items()]
    lengths = {len(x) for _, x in sides}
    model = next((x for _, x in sides if isinstance(x, Recording)), None)
    if len(lengths) > 1 and not all(isinstance(x, Recording) for _, x in sides):
        said = ", ".join(f"{name}: {len(x)}" for name, x in sides[:6])
        raise NisslError(
            f"the sides have other numbers of stimuli ({said})",
            do="give one sample of each stimulus, in the same order",
        )
    for name, x in sides:
        if isinstance(x, Recording) and model is not None and on not in x.coords:
            raise NisslError(
                f"'{name}' has no sample coordinate '{on}'",
                do=f"give on= one of its own: {', '.join(map(str, x.coords))}",
            )
    if model is not None:
        for _, x in sides:
            if isinstance(x, Recording):
                align(model, x, on=on)
    return firsts, seconds


def moves(x: Any, y: Any, null: LabelNull, exchange: Any, n: int, seed: int) -> NDArray[np.int32]:
    """Return the orders of stimuli that the null draws.

    Parameters
    ----------
    x, y : Recording or array, shape (n_stimuli, n_units)
        Both sides.
    null : LabelNull
        How stimuli may be moved.
    exchange : str or array, shape (n_stimuli,), optional
        Blocks that are moved together.
    n, seed : int
        Draws, and of which seed.

    Returns
    -------
    array of int32, shape (n, n_stimuli)
        Indices.

    Raises
    ------
    NotExchangeable
        Stimuli hang together in time on both sides, and no blocks were declared.
    """
    rec = x if isinstance(x, Recording) else None
    given = getattr(null, "exchange", None) if exchange is None else exchange
    inside = getattr(null, "within", None)
    blocks, within = (
        None if one is None else column_of(name, one, len(x), rec)
        for name, one in (("exchange", given), ("within", inside))
    )
    if blocks is None and isinstance(null, PermutedLabels):
        slow = [autocorrelation(np.asarray(getattr(z, "values", z))) for z in (x, y)]
        if min(slow) > 0 and slow[0] * slow[1] > SLOW:
            raise NotExchangeable(
                f"stimuli that follow each other are alike on both sides (lag-1 autocorrelation "
                f"{slow[0]:.2f} and {slow[1]:.2f})",
                where="exchange",
                do="of a time series declare blocks (runs, films) with exchange=, or use "
                "Test(null=CircularShift()); where stimuli are only sorted by kind, "
                "exchange=np.arange(n_stimuli)",
            )
    return null.draw(np.arange(len(x)), n, exchange=blocks, within=within, seed=seed, start=0)


def _about(pairs: list[tuple[str, str]], halves: dict[str, Any], by: Measure) -> pd.DataFrame:
    """Return what is known of each pair: its sites, and the ceiling of the second."""
    import pandas as pd

    ceilings = {
        name: float(np.mean([by(one.values, two.values) for one, two in made]))
        for name, made in halves.items()
    }
    return pd.DataFrame(
        {
            "unit": [f"{p} ~ {q}" for p, q in pairs],
            "first": [p for p, _ in pairs],
            "second": [q for _, q in pairs],
            "ceiling": [ceilings.get(q, np.nan) for _, q in pairs],
        }
    )


def _halves(sites: dict[str, Any], on: str, repeats: str, seed: int) -> dict[str, Any]:
    """Return pairs of recordings of each site, each the mean of half of the repeats."""
    rng, found = np.random.default_rng(seed), dict[str, Any]()
    for name, rec in sites.items():
        if not isinstance(rec, Recording) or not {on, repeats} <= set(rec.coords):
            raise NisslError(
                f"'{name}' has no '{on}' and '{repeats}'", do="give a Recording with repeats"
            )
        stimulus = np.unique(rec[on].values, return_inverse=True)[1]
        if np.bincount(stimulus).min() < 2:
            raise TooFewSamples(
                f"a stimulus of '{name}' was shown once, so there is no ceiling",
                do="leave repeats= out, or leave such stimuli out",
            )
        found[name] = []
        for _ in range(SPLITS):
            order = np.lexsort((rng.random(len(stimulus)), stimulus))
            place = np.arange(len(order)) - np.searchsorted(stimulus[order], stimulus[order])
            sides = (order[place % 2 == side] for side in (0, 1))
            one, two = (aggregate(rec[np.sort(rows)], by=on) for rows in sides)
            found[name].append(align(one, two, on=on, order="first"))
    return found


def _taken(by: Measure, x: Array, rows: Any) -> Array:
    """Return some stimuli, or all in another order."""
    if rows is None:
        return x
    return x[np.ix_(rows, rows)] if by.pairs else x[rows]


def _jackknife(without: Array) -> Array:
    """Return half the width of the 95% interval of values, from those without each group."""
    from scipy.stats import t

    n = len(without)
    error = np.sqrt((n - 1) / n * ((without - without.mean(0)) ** 2).sum(0))
    return np.asarray(t.ppf(0.975, n - 1) * error)
