"""Candidates: the passages among which a ranker must find the one that answers a query."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nissl.columns import require_columns
from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["candidates"]


def candidates(
    answered: pd.DataFrame, *, n: int, n_queries: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Give each query its passage and others: half of those like it in words, half at random.

    Parameters
    ----------
    answered : DataFrame
        One row a query: ``query``, and ``passage``, the text that answers it. No two are alike.
    n : int
        Candidates of each query, its own passage among them.
    n_queries : int, optional
        So many queries at random; by default all, in their order.
    seed : int
        Of queries and passages at random.

    Returns
    -------
    DataFrame
        Pairs, as `pair_scores` reads them: ``query``, ``passage`` and ``relevant``; of each query
        the relevant passage comes first, then those whose words (tf-idf) are most like the query's.

    Raises
    ------
    UnknownName
        A column is missing.
    NisslError
        There are fewer passages than candidates, or `n` is less than two.

    Examples
    --------
    >>> import pandas as pd
    >>> texts = ["red fish", "blue fish", "green tree", "old house"]
    >>> answered = pd.DataFrame({"query": [f"the {text}" for text in texts], "passage": texts})
    >>> candidates(answered, n=3)["passage"].tolist()[:2]
    ['red fish', 'blue fish']
    """
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer

    require_columns(answered, ("query", "passage"))
    if not 2 <= n <= len(answered):
        raise NisslError(
            f"{n} candidates of {len(answered)} passages", do="give n of 2 or more, or more rows"
        )
    rng, everyone = np.random.default_rng(seed), np.arange(len(answered))
    asked, texts = answered["query"].to_numpy(), answered["passage"].to_numpy()
    chosen = everyone if n_queries is None else rng.permutation(everyone)[:n_queries]
    words = TfidfVectorizer(sublinear_tf=True).fit(texts)
    likeness = (words.transform(asked[chosen]) @ words.transform(texts).T).tocsr()
    rows = []
    for number, row in enumerate(chosen):
        alike = likeness[number].toarray()[0]
        alike[row] = -1
        near = np.argsort(-alike, kind="stable")[: n // 2]
        far = rng.permutation(len(answered))
        far = far[~np.isin(far, [row, *near])][: n - 1 - len(near)]
        rows += [(asked[row], texts[other], other == row) for other in (row, *near, *far)]
    return pd.DataFrame(rows, columns=["query", "passage", "relevant"])
