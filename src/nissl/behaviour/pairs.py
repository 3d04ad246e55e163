"""Pairs of a query and a passage, and what a cross-encoder, which reads both at once, says of them.

A table of pairs has a row for each query and candidate: ``query`` and ``passage`` (texts) and
``relevant`` (whether the passage answers the query).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.columns import require_columns
from nissl.errors import NisslError, first_line
from nissl.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from nissl.network import Network

__all__ = ["as_truth", "by_length", "check_pairs", "encode_pairs", "log_odds", "pair_scores"]


def pair_scores(
    net: Network,
    pairs: pd.DataFrame,
    *,
    score: Callable[[Tensor], Tensor] | None = None,
    window: int | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> NDArray[np.float64]:
    """Return how relevant a cross-encoder thinks each passage to its query.

    Parameters
    ----------
    net : Network
        Reads both texts at once; edits in force are seen.
    pairs : DataFrame
        Columns ``query`` and ``passage``.
    score : callable, optional
        Given the logits of a batch, or what the model returns where it has none, returns one number
        a pair; by default `log_odds`.
    window : int, optional
        Tokens of a pair; longer passages are cut. By default the model's context.
    batch_size : int
        Pairs in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    array of float64, shape (n_pairs,)
        Larger is more relevant.

    Raises
    ------
    NisslError
        A column is missing, the network has no tokenizer, or `score` gives not one number a pair.

    Examples
    --------
    >>> pair_scores(net, pairs)  # doctest: +SKIP
    array([ 3.1, -2.4])
    """
    import torch

    from nissl.network.run.calls import call_model, tensor_call

    check_pairs(pairs, needed=("query", "passage"))
    of = score or log_odds
    found = np.zeros(len(pairs))
    order = by_length(pairs)
    with progress_bar(
        f"Ranking with {net.name}", total=len(order), unit="pairs", progress=progress
    ) as advance:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            inputs, _ = encode_pairs(net, pairs.iloc[rows], window=window)
            with torch.inference_mode():
                output = call_model(net, tensor_call(net, inputs))
                got = of(getattr(output, "logits", output))
            if got.shape != (len(rows),):
                raise NisslError(
                    f"the score has shape {tuple(got.shape)} for {len(rows)} pairs",
                    do="give score=, which returns one number a pair",
                )
            found[rows] = got.double().cpu().numpy()
            advance(len(rows))
    return found


def log_odds(logits: Tensor) -> Tensor:
    """Return how relevant pairs are, from the logits of a cross-encoder.

    Parameters
    ----------
    logits : Tensor, shape (n_pairs,), (n_pairs, 1) or (n_pairs, 2)
        One number a pair, or those of the classes not relevant and relevant.

    Returns
    -------
    Tensor, shape (n_pairs,)
        The number, or the difference of the two.

    Raises
    ------
    NisslError
        There are more classes.

    Examples
    --------
    >>> import torch
    >>> log_odds(torch.tensor([[1.0, 3.0]])).tolist()
    [2.0]
    """
    shape = tuple(getattr(logits, "shape", ()))
    if len(shape) == 1:
        return logits
    if len(shape) == 2 and shape[1] in (1, 2):
        return logits[:, -1] - logits[:, 0] if shape[1] == 2 else logits[:, 0]
    raise NisslError(
        f"the model returns {shape or type(logits).__name__}, which is no relevance of pairs",
        do="give score=, which returns one number a pair",
    )


def check_pairs(
    pairs: pd.DataFrame, *, needed: Sequence[str] = ("query", "passage", "relevant")
) -> None:
    """Refuse a table that lacks columns of pairs.

    Parameters
    ----------
    pairs : DataFrame
        A table of pairs.
    needed : sequence of str
        Its columns.

    Raises
    ------
    NisslError
        It has no rows, or lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> check_pairs(pd.DataFrame({"query": ["a"]}), needed=("query",))
    """
    require_columns(pairs, needed)
    if not len(pairs):
        raise NisslError("there are no pairs", do="give a row for each query and candidate")


def encode_pairs(
    net: Network, pairs: pd.DataFrame, *, window: int | None = None
) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """Return the arguments by which a cross-encoder reads pairs, and where the queries lie.

    Parameters
    ----------
    net : Network
        With a tokenizer.
    pairs : DataFrame
        Columns ``query`` and ``passage``.
    window : int, optional
        Tokens of a pair; longer passages are cut. By default the model's context.

    Returns
    -------
    inputs : dict of str to Tensor, each shape (n_pairs, position)
        Padded to the longest.
    queries : array of bool, shape (n_pairs, position)
        True at the tokens of the query, special ones left out.

    Raises
    ------
    NisslError
        The tokenizer does not say which text a token is of, cannot pad, or a query fills the
        window.

    Examples
    --------
    >>> encode_pairs(net, pairs)[0]["input_ids"]  # doctest: +SKIP
    """
    tokenizer, longest = net.require_tokenizer(), window or net.context
    texts = list(pairs["query"]), list(pairs["passage"])
    cut = {"truncation": "only_second", "max_length": longest} if longest else {}
    try:
        made = tokenizer(*texts, padding=True, return_tensors="pt", **cut)
        parts = [made.sequence_ids(row) for row in range(len(pairs))]
    except Exception as error:  # tokenizers raise no kind of their own
        raise NisslError(
            f"the tokenizer cannot read these pairs: {first_line(error)}",
            where=type(tokenizer).__name__,
            do="the query must leave room for its passage in the window; the tokenizer must be a "
            "fast one of transformers and have a padding token",
        ) from error
    return dict(made), np.array([[part == 0 for part in row] for row in parts])


def by_length(pairs: pd.DataFrame) -> NDArray[np.int64]:
    """Return the rows from the shortest pair to the longest, so that little is padded."""
    return np.asarray(
        np.argsort(pairs["query"].str.len() + pairs["passage"].str.len(), kind="stable")
    )


def as_truth(labels: NDArray[Any], name: str) -> NDArray[np.bool_]:
    """Return labels as true and false."""
    given = np.asarray(labels)
    if not np.isin(given, [0, 1]).all():
        raise NisslError("a label is neither true nor false", where=name, do="give True or False")
    return given.astype(bool)
