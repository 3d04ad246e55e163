"""Compare: how alike two representations of the same stimuli are, beside chance and a ceiling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.alignment.comparison import Comparison
from nissl.alignment.measures.measure import Array, Measure, measure_of
from nissl.errors import NisslError, TooFewSamples
from nissl.progress import tracked
from nissl.recording import Recording, aggregate
from nissl.recording.repeats import aligned_responses, halves_of_repeats
from nissl.recording.units_by_site import by_site
from nissl.statistics import Finding, Test, against_null
from nissl.statistics.bootstrap import jackknife_margin
from nissl.statistics.sample_orders import sample_orders

__all__ = ["Side", "compare"]

Side = Recording | ArrayLike | Mapping[str, Any]
GROUPS = 20  # of stimuli, each left out once for the interval
SPLITS = 10  # of repeats, for the ceiling


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
        "rsa", "topological_rsa", "cka", "cca", "procrustes", "linear_predictivity",
        "soft_matching", "stochastic_shape", or a `Measure` with its options.
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
    import pandas as pd

    by = measure_of(measure)
    firsts, seconds = by_site(a, repeats=by.repeats), by_site(b, "second", repeats=by.repeats)
    ceilings: dict[str, float] = {}
    if repeats is not None:
        if by.repeats:
            raise NisslError(
                f"{by.name} reads all repeats of a stimulus, and has no ceiling",
                do="leave repeats= out",
            )
        ceilings = _ceilings(seconds, on, repeats, by, test.seed if test else 0)
        seconds = {name: aggregate(rec, by=on) for name, rec in seconds.items()}
    read, (firsts, seconds) = aligned_responses([firsts, seconds], on, repeats=by.repeats)
    left, right = ({name: by.prepare(x) for name, x in side.items()} for side in read)
    one, two = _normalised(by, left), _normalised(by, right)
    observed = _values(by, one, two)
    pairs = [(first, second, ceilings.get(second, np.nan)) for first in left for second in right]
    about = pd.DataFrame(pairs, columns=["first", "second", "ceiling"])
    about.insert(0, "unit", about["first"] + " ~ " + about["second"])
    if test is None:
        return Comparison(Finding(about.assign(**{by.name: observed}), "compare", "none"), by)
    x, y = next(iter(firsts.values())), next(iter(seconds.values()))
    orders, null = sample_orders(x, y, test, n=200, exchange=exchange)
    shuffled = np.random.default_rng(test.seed).permutation(len(x))
    groups = np.array_split(shuffled, min(GROUPS, len(x)))
    draws, without = [], []
    for order in tracked(orders, f"Comparing by {by.name}", unit="draws", progress=progress):
        moved = {name: _taken(by, z, order) for name, z in one.items()}
        draws.append(_values(by, moved, two))
    for group in tracked(groups, "Leaving stimuli out", unit="groups", progress=progress):
        rest = np.setdiff1d(np.arange(len(x)), group)
        without.append(_values(by, _normalised(by, left, rest), _normalised(by, right, rest)))
    margin = jackknife_margin(without)
    found = against_null(
        observed,
        draws,
        units=about.assign(low=observed - margin, high=observed + margin),
        score=by.name,
        method="compare",
        null=null,
        alternative="greater" if by.similarity else "less",
        test=test,
    )
    return Comparison(found, by)


def _taken(by: Measure, x: Array, rows: NDArray[np.integer[Any]]) -> Array:
    """Return some stimuli, or all in another order."""
    return np.asarray(x[np.ix_(rows, rows)] if by.pairs else x[rows])


def _normalised(
    by: Measure, side: dict[str, Array], rows: NDArray[np.integer[Any]] | None = None
) -> dict[str, Array]:
    """Return sites, or some of their stimuli, as they are scored."""
    return {
        name: by.normalise(x if rows is None else _taken(by, x, rows)) for name, x in side.items()
    }


def _values(by: Measure, one: dict[str, Array], two: dict[str, Array]) -> Array:
    return np.asarray([by.score(x, y) for x in one.values() for y in two.values()])


def _ceilings(
    sites: dict[str, Any], on: str, repeats: str, by: Measure, seed: int
) -> dict[str, float]:
    """Return for each site the mean of the measure between means of halves of its repeats."""
    rng, found = np.random.default_rng(seed), {}
    for name, rec in sites.items():
        if not isinstance(rec, Recording) or not {on, repeats} <= set(rec.coords):
            raise NisslError(
                f"'{name}' has no '{on}' and '{repeats}'", do="give a Recording with repeats"
            )
        if np.unique(rec[on].values, return_counts=True)[1].min() < 2:
            raise TooFewSamples(
                f"a stimulus of '{name}' was shown once, so there is no ceiling",
                do="leave repeats= out, or leave such stimuli out",
            )
        halves = [halves_of_repeats(rec, on, rng) for _ in range(SPLITS)]
        found[name] = float(np.mean([by(one.values, two.values) for one, two in halves]))
    return found
