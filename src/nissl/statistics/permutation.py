"""Permutation test of every unit against labels, over exchangeable blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.progress import progress_bar
from nissl.statistics import pvalues, scores
from nissl.statistics.design import NOT_FINITE, Design
from nissl.statistics.exchange import NotExchangeable
from nissl.statistics.finding import Finding
from nissl.statistics.nulls import LabelNull, PermutedLabels

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["permutation_test"]

Array = NDArray[np.floating[Any]]
Score = Callable[[Array, NDArray[Any]], Array]

BLOCK_BYTES = 64 * 2**20  # of activity, in float64, looked at together


def permutation_test(
    values: Recording | ArrayLike,
    labels: str | ArrayLike,
    *,
    score: str | Score = "cohens_d",
    units: Sequence[str] | None = None,
    block: str | ArrayLike | None = None,
    null: LabelNull = PermutedLabels(),
    n_permutations: int = 1000,
    tail: str = "permutation",
    correction: str | None = "max",
    alternative: str | None = None,
    smallest_p: float = 0.05,
    seed: int = 0,
    device: str | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Finding:
    """Test whether each unit responds to labels, against labels moved as the null moves them.

    Parameters
    ----------
    values : Recording or array, shape (n_samples, n_units)
        Activity. A Recording on disk is read in blocks of units.
    labels : str or array, shape (n_samples,)
        A sample coordinate, or the labels. True and False (or 1 and 0) are one test a unit; other
        labels are tested each against the rest; numbers go with correlation and spearman.
    score : str or callable
        "mean_difference", "cohens_d", "correlation", "spearman", "auroc", "average_precision", or
        ``score(values, labels) -> (n_units,)``, which is called once a draw.
    units : sequence of str, optional
        Addresses, where `values` is an array.
    block : str or array, shape (n_samples,), optional
        The exchangeable block of each sample, where the null does not name it.
    null : PermutedLabels or CircularShift
        How labels are moved.
    n_permutations : int
        Draws of the null; fewer where a circular shift has fewer.
    tail : {"permutation", "normal", "gpd"}
        How to go below 1 / (n_permutations + 1); named in each row's ``tail``.
    correction : {"max", "bh", "bonferroni"} or None
        Over units and labels together.
    alternative : {"two-sided", "greater", "less"}, optional
        Two-sided by default; "greater" for average precision and for functions.
    smallest_p : float
        Refuse where the null has too few arrangements to reach this p.
    seed : int
        The seed of the draws.
    device : str, optional
        A torch device for the matrix products.
    batch_size : int, optional
        Units looked at together; by default as many as 64 MB hold. Changes nothing else.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit (and label): score, effect (score less null mean), null mean and
        deviation, p, q, tail, note. Units that do not vary or hold NaN have p = 1 and a note.

    Raises
    ------
    NotExchangeable
        Samples hang together and no block says how.
    NisslError
        Too few blocks for `smallest_p`, labels without contrast, shapes or options that do not fit.

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
    data = Design.of(values, labels, units, block, null)
    kernel, name, sided = _kernel(score, data, device)
    pvalues.known_option("tail", tail, pvalues.TAILS)
    alternative = alternative or sided
    least, n_permutations = _attainable(data, null, n_permutations, smallest_p, tail, alternative)
    data.refuse_hanging(null)
    drawn = data.draw(null, n_permutations, seed)
    step = batch_size or max(64, BLOCK_BYTES // (8 * max(len(drawn), len(data.labels))))
    rows: list[list[dict[str, NDArray[Any]]]] = [[] for _ in data.tested]
    maxima = np.full(n_permutations, -np.inf)
    with progress_bar(
        f"Testing {name}", total=data.n_units, unit="units", progress=progress
    ) as advance:
        for a in range(0, data.n_units, step):
            x, note = data.read(a, a + step)
            scored = kernel(x)
            for k, label in enumerate(data.tested):
                made = scored(drawn, label)
                out = pvalues.compare(made[0], made[1:], alternative=alternative, tail=tail)
                p, extremity, notes = _untested(out, note)
                rows[k].append(
                    {
                        name: np.where(note == NOT_FINITE, np.nan, made[0]),
                        "effect": made[0] - out.null_mean,
                        "null_mean": out.null_mean,
                        "null_sd": out.null_sd,
                        "p": p,
                        "tail": out.tail,
                        "note": notes,
                        "extremity": extremity,
                    }
                )
                if (notes == "").any():
                    np.maximum(maxima, out.drawn[:, notes == ""].max(axis=1), out=maxima)
            advance(x.shape[1])
    table = data.table(rows, name, correction, maxima, tail)
    said: dict[str, str | int | float] = {
        "n_permutations": n_permutations,
        "seed": seed,
        "tail": tail,
        "alternative": alternative,
        "correction": correction or "none",
        "searched": "units" if data.single else "units x labels",
        "n_tests": int((table["note"] == "").sum()),
        "n_samples": len(data.labels),
        "n_blocks": data.n_blocks,
        "least_p": least,
    }
    return Finding(table, "permutation_test", null.name, said, name)


def _kernel(
    score: str | Score, data: Design, device: str | None
) -> tuple[Callable[[Array], Callable[[NDArray[Any], Any], Array]], str, str]:
    """Return what makes of a block of units what scores draws; its name and usual alternative."""
    if callable(score):
        function = score
        name = getattr(score, "__name__", "score")
        return (
            lambda x: lambda d, k: scores.slow_scores(function, x, data.spread(d), k),
            name,
            "greater",
        )
    pvalues.known_option("score", score, [*scores.LINEAR, "average_precision"])
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
            return lambda d, k: scores.average_precisions(order, data.spread(d), k)

        return ranked, score, "greater"
    form, group = linear, data.group if data.aggregated else None
    return (
        lambda x: lambda d, k: scores.linear_scores(form, x, d, k, group=group, device=device),
        score,
        "two-sided",
    )


def _attainable(
    data: Design, null: LabelNull, n: int, smallest_p: float, tail: str, alternative: str
) -> tuple[float, int]:
    """Return the least p that draws can reach and the draws to make, or refuse."""
    if n < 2:
        raise NisslError(f"{n} permutations are too few", do="use at least 99")
    log_count = null.log_arrangements(data.labels, block=data.block, within=data.within)
    count = float(np.exp(min(log_count, 50.0)))
    # Groups of equal size may trade their labels, which is as extreme on the other side.
    least = (2 if alternative == "two-sided" and data.symmetric(null) else 1) / count
    if least > smallest_p * (1 + 1e-9):
        raise NotExchangeable(
            f"the null has only {count:.0f} different arrangements, so that no p can be below "
            f"{least:.2g}, and {smallest_p:g} is asked for",
            where=f"{data.n_blocks} blocks",
            do="record more blocks, choose smaller blocks that are still exchangeable, "
            "or accept a larger smallest_p",
        )
    if not isinstance(null, PermutedLabels):
        n = min(n, max(2, round(count) - 1))
    if tail != "permutation" and count < 10 * n:
        raise NisslError(
            f"a {tail} tail needs many different arrangements, and the null has {count:.0f}",
            do="use tail='permutation', or record more blocks",
        )
    return max(1 / (n + 1), least) if tail == "permutation" else least, n


def _untested(
    out: pvalues.Compared, note: NDArray[np.str_]
) -> tuple[Array, Array, NDArray[np.str_]]:
    """Return p, extremity and notes, with 1 and 0 where nothing could be tested."""
    flat = (note == "") & ~(out.null_sd > 0)
    notes = np.where(flat, "not tested: the null does not vary or is not finite", note)
    return np.where(notes == "", out.p, 1.0), np.where(notes == "", out.extremity, 0.0), notes
