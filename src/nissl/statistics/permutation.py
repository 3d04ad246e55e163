"""Permutation test of every unit against labels, over exchangeability blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, require_known
from nissl.progress import progress_bar
from nissl.statistics import pvalues, scores
from nissl.statistics.design import NOT_FINITE, Design
from nissl.statistics.exchangeability import NotExchangeable
from nissl.statistics.finding import Finding
from nissl.statistics.nulls import LabelNull, PermutedLabels
from nissl.statistics.phase_randomised import PhaseRandomised
from nissl.statistics.test import Test

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["permutation_test"]

Array = NDArray[np.floating[Any]]
Score = Callable[[Array, NDArray[Any]], Array]

# Activity, in float64, that is looked at together; and units at least, however long they are.
BATCH_BYTES, BATCH_UNITS = 64 * 2**20, 64


def permutation_test(
    values: Recording | ArrayLike,
    labels: str | ArrayLike,
    *,
    score: str | Score = "cohens_d",
    exchange: str | ArrayLike | None = None,
    test: Test | None = Test(),
    method: str = "permutation_test",
    device: str | None = None,
    progress: bool = True,
) -> Finding:
    """Test whether each unit responds to labels, against labels permuted as the null permits.

    Parameters
    ----------
    values : Recording or array, shape (n_samples, n_units)
        Activity. A Recording on disk is read in batches of units.
    labels : str or array, shape (n_samples,)
        A sample coordinate, or the labels. True and False (or 1 and 0) are one test a unit; other
        labels are tested each against the rest; numbers go with correlation and spearman.
    score : str or callable
        "mean_difference", "cohens_d", "correlation", "spearman", "auroc", "average_precision", or
        ``score(values, labels) -> (n_units,)``, which is called once a draw.
    exchange : str or array, shape (n_samples,), optional
        The exchangeability block of each sample, where the null does not name it.
    test : Test or None
        Null (`PermutedLabels`, `CircularShift` or, of numbers, `PhaseRandomised`), draws (1,000;
        where there are no more labellings than that, each once: p is then exact), tail, correction
        over units and labels together, seed. Two-sided by default; "greater" for average precision
        and for functions. None: scores alone.
    method : str
        The finding's method.
    device : str, optional
        A torch device for the matrix products.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit (and label): score, effect (score less null mean), null mean and
        deviation, p, q, tail, note, rank (1 is the score furthest from none; of equal scores the
        one whose groups lie furthest apart; the draws have no say in it). Units that do not vary
        or hold NaN have p = 1 and a note.

    Raises
    ------
    NotExchangeable
        Samples are not independent and no exchangeability blocks were declared, or there are too
        few for the test's ``smallest_p``.
    NisslError
        Labels without contrast, shapes or options that do not fit.

    Notes
    -----
    Source: Winkler et al. 2014, NeuroImage 92, 381; the +1 rule of Phipson and Smyth 2010.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> label = np.arange(40) % 2 == 0
    >>> values = rng.standard_normal((40, 3)) + 3 * np.outer(label, [0, 1, 0])
    >>> permutation_test(values, label, progress=False).significant().units
    ['unit[1]']
    """
    test = None if test is None else test.own()
    usual: LabelNull | PhaseRandomised = PermutedLabels()
    null = usual if test is None else test.null_or(usual, LabelNull | PhaseRandomised)
    data = Design.of(values, labels, exchange, null)
    kernel, name, sided = _kernel(score, data, device)
    form = None if callable(score) else scores.LINEAR.get(score)
    said: dict[str, str | int | float] = {}
    centre = None
    if test is not None:
        mirrored = form is not None and data.symmetric(null)
        said = _options(data, null, test, test.alternative or sided, mirrored=mirrored)
        if form is not None and data.centred(null, linear=form.linear):
            centre = form.none
        data.require_exchangeable(null)
    n = int(said.get("n_permutations", 0))
    every = said.get("draws") == "all"
    drawn = data.draw(null, n, test.seed if test else 0, every=every)
    step = max(BATCH_UNITS, BATCH_BYTES // (8 * max(len(drawn), len(data.labels))))
    rows: list[list[dict[str, NDArray[Any]]]] = [[] for _ in data.tested]
    maxima = np.full(n, -np.inf)
    with progress_bar(
        f"Testing {name}", total=data.n_units, unit="units", progress=progress
    ) as advance:
        for a in range(0, data.n_units, step):
            x, note = data.read(a, a + step)
            scored = kernel(x)
            for k, label in enumerate(data.tested):
                made = scored(drawn, label)
                order = _order(made[0], x, note, data, drawn, label, name, sided)
                told = _told(made[0], x, data, drawn, label, name)
                row = {name: np.where(note == NOT_FINITE, np.nan, told), **order}
                if test is None:
                    row["note"] = note
                else:
                    row |= _compared(made, told, note, test, said, centre, maxima)
                rows[k].append(row)
            advance(x.shape[1])
    table = data.table(rows, maxima, test)
    about: dict[str, str | int | float] = {
        **said,
        "searched": "units" if data.single else "units x labels",
        "n_tests": int((table["note"] == "").sum()) if test else 0,
        "n_samples": len(data.labels),
        "n_blocks": data.n_blocks,
    }
    return Finding(table, method, data.null_name(null) if test else "none", about, name)


def _kernel(
    score: str | Score, data: Design, device: str | None
) -> tuple[Callable[[Array], Callable[[NDArray[Any], Any], Array]], str, str]:
    """Return what makes of a batch of units what scores draws; its name and usual alternative."""
    if callable(score):
        function = score
        name = getattr(score, "__name__", "score")
        return (
            lambda x: lambda d, k: scores.slow_scores(function, x, data.of_samples(d), k),
            name,
            "greater",
        )
    require_known("score", score, [*scores.LINEAR, "average_precision"])
    linear = scores.LINEAR.get(score)
    if data.labels.dtype.kind in "iuf" and linear is not None and linear.numeric:
        data.tested, data.single = [None], True
    elif data.tested == [None]:
        raise NisslError(
            f"{score} needs labels that name groups, and these are numbers",
            do="use score='correlation' or 'spearman', or cut the numbers into groups",
        )
    if linear is not None and linear.numeric and linear.ranks:
        data.rank_labels()
    if linear is None:

        def ranked(x: Array) -> Callable[[NDArray[Any], Any], Array]:
            order = scores.retrieval_order(x)  # once for all labels
            return lambda d, k: scores.average_precisions(order, data.of_samples(d), k)

        return ranked, score, "greater"
    form, group = linear, data.group if data.aggregated else None
    return (
        lambda x: lambda d, k: scores.linear_scores(form, x, d, k, group=group, device=device),
        score,
        "two-sided",
    )


def _told(
    observed: Array, x: Array, data: Design, drawn: NDArray[Any], label: Any, name: str
) -> Array:
    """Return scores as they are told: those beyond what the draws can hold, exactly."""
    far = np.flatnonzero(np.abs(observed) > scores.FAR)
    if name != "cohens_d" or not len(far):
        return observed
    told = observed.copy()
    told[far] = scores.exact_cohens_d(x[:, far], data.of_samples(drawn[:1])[0] == label)
    return told


def _order(
    observed: Array,
    x: Array,
    note: NDArray[np.str_],
    data: Design,
    drawn: NDArray[Any],
    label: Any,
    name: str,
    alternative: str,
) -> dict[str, Array]:
    """Return by what rows are ranked: how far a score is from none, and, for ties, a separation.

    Neither depends on the draws: of scores that cannot rise any further, as the average precision
    of a unit that tells a label perfectly, effects differ by the noise of their null means alone.
    """
    form = scores.LINEAR.get(name)
    none = form.none if form is not None else 0.0
    if name == "average_precision":
        chosen = data.of_samples(drawn[:1])[0] == label
        none = scores.average_precision_by_chance(len(chosen), int(chosen.sum()))
    far = observed - none
    far = {"two-sided": np.abs(far), "greater": far, "less": -far}[alternative]
    group = data.group if data.aggregated else None
    apart = scores.LINEAR["correlation" if label is None else "cohens_d"]
    tie = scores.linear_scores(apart, x, drawn[:1], label, group=group)[0]
    if label is not None:
        tie = _told(tie, x, data, drawn, label, "cohens_d")
    tie = np.abs(tie)
    untested = (note != "") | ~np.isfinite(far)
    return {"far": np.where(untested, -np.inf, far), "tie": np.where(untested, 0.0, tie)}


def _options(
    data: Design, null: LabelNull | PhaseRandomised, test: Test, alternative: str, *, mirrored: bool
) -> dict[str, str | int | float]:
    """Return the options of the test, the draws to make and the least p they can reach."""
    n, tail = test.draws(1000), test.tail
    log_count = null.log_arrangements(data.labels, exchange=data.exchange, within=data.within)
    count = float(np.exp(min(log_count, 50.0)))
    # A mirror image is as extreme on the other side.
    least = (2 if alternative == "two-sided" and mirrored else 1) / count
    if least > test.smallest_p * (1 + 1e-9):
        raise NotExchangeable(
            f"the null has only {count:.0f} different arrangements, so that no p can be below "
            f"{least:.2g}, and {test.smallest_p:g} is asked for",
            where=f"{data.n_blocks} blocks",
            do="record more blocks, choose smaller blocks that are still exchangeable, "
            "or accept a larger smallest_p",
        )
    # Where there are no more labellings than draws, each is had once and p is exact.
    every = isinstance(null, PermutedLabels) and 3 <= round(count) <= n + 1
    if every or not isinstance(null, PermutedLabels):
        n = min(n, max(2, round(count) - 1))
    if tail != "permutation" and count < 10 * n:
        raise NisslError(
            f"a {tail} tail needs many different arrangements, and the null has {count:.0f}",
            do="use tail='permutation', or record more blocks",
        )
    return {
        "n_permutations": n,
        "draws": "all" if every else "random",
        "seed": test.seed,
        "tail": tail,
        "alternative": alternative,
        "correction": test.correction or "none",
        "least_p": max(1 / (n + 1), least) if tail == "permutation" else least,
    }


def _compared(
    made: Array,
    told: Array,
    note: NDArray[np.str_],
    test: Test,
    said: dict[str, str | int | float],
    centre: float | None,
    maxima: Array,
) -> dict[str, NDArray[Any]]:
    """Compare scores with their draws, and let `maxima` hold the largest of each draw.

    What could not be tested has p of 1, extremity of 0 and a note.
    """
    out = pvalues.compare(
        made[0],
        made[1:],
        alternative=str(said["alternative"]),
        tail=test.tail,
        centre=centre,
        least_p=said["least_p"],
    )
    equal = (note == "") & ~out.tested
    notes = np.where(equal, "not tested: it equals all draws, or is not finite", note)
    tested = notes == ""
    if tested.any():
        np.maximum(maxima, out.drawn[:, tested].max(axis=1), out=maxima)
    return {
        "effect": told - out.null_mean,
        "null_mean": out.null_mean,
        "null_sd": out.null_sd,
        "p": np.where(tested, out.p, 1.0),
        "tail": out.tail,
        "note": notes,
        "extremity": np.where(tested, out.extremity, 0.0),
    }
