"""Ranking: how well a cross-encoder finds the passage of a query."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from nissl.behaviour.pairs import check_pairs
from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["reciprocal_ranks"]


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
