"""Parallel texts: the same articles in every language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nissl.columns import require_columns
from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["parallel"]


def parallel(texts: pd.DataFrame, *, labels: str = "language", by: str = "article") -> pd.DataFrame:
    """Keep the articles that are there once in every language.

    Parameters
    ----------
    texts : DataFrame
        One row a text.
    labels : str
        The column that names the language.
    by : str
        The column that names the article.

    Returns
    -------
    DataFrame
        Sorted by article and language.

    Raises
    ------
    UnknownName
        A column is not there.
    NisslError
        No article is there in every language.

    Examples
    --------
    >>> import pandas as pd
    >>> texts = pd.DataFrame({"language": list("abb"), "article": [1, 1, 2], "text": list("xyz")})
    >>> parallel(texts)["text"].tolist()
    ['x', 'y']
    """
    require_columns(texts, (labels, by))
    n_languages = texts[labels].nunique()
    counts = texts.groupby(by)[labels].agg(["nunique", "size"])
    whole = counts.index[(counts["nunique"] == n_languages) & (counts["size"] == n_languages)]
    if not len(whole):
        raise NisslError(
            f"no {by} is there once in each of {n_languages} languages", do="give fewer languages"
        )
    return texts[texts[by].isin(whole)].sort_values([by, labels]).reset_index(drop=True)
