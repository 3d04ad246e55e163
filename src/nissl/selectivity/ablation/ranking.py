"""Ranking: how well a cross-encoder finds the passage of a query, and what ablation costs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.columns import require_columns
from nissl.errors import NisslError
from nissl.selectivity.ablation.groups import ablated_groups
from nissl.selectivity.inputs.pairs import check_pairs, pair_scores
from nissl.statistics import Finding, Test

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from nissl.network import Network

__all__ = ["ranking_damage", "reciprocal_ranks"]


def ranking_damage(
    net: Network,
    groups: Mapping[str, Sequence[str]],
    pairs: pd.DataFrame,
    *,
    labels: str,
    units: pd.DataFrame,
    score: Callable[[Tensor], Tensor] | None = None,
    at: int = 10,
    window: int | None = None,
    test: Test = Test(),
    batch_size: int = 64,
    progress: bool = True,
) -> Finding:
    """Ablate each group of units, and measure how much worse queries of each label are answered.

    Parameters
    ----------
    net : Network
        A cross-encoder.
    groups : mapping of str to sequence of str
        Addresses of the units found for each label.
    pairs : DataFrame
        Columns ``query``, ``passage``, ``relevant`` and `labels`; queries that were not used to
        find the units.
    labels : str
        The column that names the kind of query, such as its collection.
    units : DataFrame
        All units that may be drawn: ``unit``, ``layer`` and ``weight`` (`weighed`).
    score, window, batch_size
        As in `pair_scores`.
    at : int
        As in `reciprocal_ranks`.
    test : Test
        Null (`MatchedUnits`), draws (19 random groups for each), tail, correction over all groups
        and labels, seed.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each group and label, and one for each group against itself less the rest
        (``label`` is "own - others"): ``damage`` is the fall of the mean reciprocal rank; effect,
        null mean, p and q against the matched units.

    Raises
    ------
    NisslError
        A group is empty, or names no label of the queries; a query has two labels; or the pairs
        cannot be ranked.

    Examples
    --------
    >>> ranking_damage(net, {"names": found.units}, tested, labels="collection",
    ...                units=weighed(net, made["size"]))  # doctest: +SKIP
    """
    from nissl.network import ablate

    check_pairs(pairs)
    require_columns(pairs, (labels,))
    of_query = pairs.groupby("query", sort=False)[labels]
    if (of_query.nunique() > 1).any():
        raise NisslError(f"a query has two values of '{labels}'", do="name its queries apart")

    def ask(some: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        return np.stack([ranks_without(group) for group in some])

    def ranks_without(group: Sequence[str]) -> NDArray[np.float64]:
        with net.edit(*([ablate(list(group))] if len(group) else [])):
            got = pair_scores(
                net, pairs, score=score, window=window, batch_size=batch_size, progress=False
            )
        return np.asarray(reciprocal_ranks(pairs, got, at=at), dtype=np.float64)

    return ablated_groups(
        net,
        groups,
        ask,
        of_query.first(),
        units=units,
        test=test,
        progress=progress,
        method="ranking_damage",
        item="query",
    )


def reciprocal_ranks(pairs: pd.DataFrame, scores: ArrayLike, *, at: int = 10) -> pd.Series[float]:
    """Return one over the rank of each query's best relevant passage among its candidates.

    Parameters
    ----------
    pairs : DataFrame
        Columns ``query`` and ``relevant``.
    scores : array, shape (n_pairs,)
        Larger is ranked before smaller; equal ones share the mean of their ranks.
    at : int
        Ranks beyond count as zero.

    Returns
    -------
    Series of float, shape (n_queries,)
        By query, in the order of their first rows. Its mean is MRR@`at`.

    Raises
    ------
    NisslError
        A query has no relevant passage, or no other; there are not as many scores as pairs, or one
        is not finite.

    Examples
    --------
    >>> import pandas as pd
    >>> pairs = pd.DataFrame({"query": list("aaabb"), "relevant": [1, 0, 0, 0, 1]})
    >>> reciprocal_ranks(pairs, [0.5, 0.9, 0.1, 0.2, 0.3]).to_dict()
    {'a': 0.5, 'b': 1.0}
    """
    import pandas as pd

    check_pairs(pairs, needed=("query", "relevant"))
    values, relevant = np.asarray(scores, dtype=float), pairs["relevant"].to_numpy(dtype=bool)
    if values.shape != (len(pairs),) or not np.isfinite(values).all():
        raise NisslError(
            f"scores of shape {values.shape} for {len(pairs)} pairs, or one that is not finite",
            do="give one finite number a pair",
        )
    codes, queries = pd.factorize(pairs["query"])
    best = np.full(len(queries), -np.inf)
    np.maximum.at(best, codes[relevant], values[relevant])
    others = np.bincount(codes[~relevant], minlength=len(queries))
    alone = (others == 0) | np.isinf(best)
    if alone.any():
        raise NisslError(
            "a query has no relevant passage among its candidates, or nothing else",
            where=str(queries[int(np.argmax(alone))]),
            do="give every query a relevant passage and others",
        )
    before = (values > best[codes]) + 0.5 * (values == best[codes])
    rank = 1 + np.bincount(codes[~relevant], before[~relevant], minlength=len(queries))
    return pd.Series(np.where(rank <= at, 1 / rank, 0.0), index=list(queries))
