"""Prefix sharing: prompts that begin with the same tokens, and batches of one length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

__all__ = ["chunked", "of_one_length", "shared_prefixes", "with_like_prefixes"]

Ids = NDArray[np.int64]
CALL = 8  # tokens that cost about as much as one more call


def shared_prefixes(ids: list[Ids]) -> list[tuple[int, list[int]]]:
    """Divide prompts by what they share at their beginning, so that few tokens are read.

    Parameters
    ----------
    ids : list of array of int64, each shape (length,)
        Token ids of the prompts.

    Returns
    -------
    list of tuple of int and list of int
        For each prefix, how many tokens it has (0 for prompts that are read whole), and which
        prompts begin with it.

    Examples
    --------
    >>> shared_prefixes([np.arange(20), np.append(np.arange(19), 0)])
    [(19, [0, 1])]
    """
    rows = list(range(len(ids)))
    prefixes = _divided([row.tolist() for row in ids], rows)[1]
    alone = [row for shared, members in prefixes if not shared for row in members]
    return [b for b in prefixes if b[0]] + ([(0, alone)] if alone else [])


def with_like_prefixes(
    prefixes: list[tuple[int, list[int]]], most: int
) -> Iterator[tuple[int, list[list[int]]]]:
    """Yield prefixes of one length, some at a time, so that they are read together.

    Parameters
    ----------
    prefixes : list of tuple of int and list of int
        What `shared_prefixes` returns.
    most : int
        How many at a time.

    Yields
    ------
    shared : int
        How many tokens each of them has.
    rows : list of list of int
        The prompts of each.

    Examples
    --------
    >>> list(with_like_prefixes([(3, [0, 1]), (2, [2, 3]), (3, [4, 5])], 8))
    [(3, [[0, 1], [4, 5]]), (2, [[2, 3]])]
    """
    by_shared: dict[int, list[list[int]]] = {}
    for shared, rows in prefixes:
        by_shared.setdefault(shared, []).append(rows)
    for shared, some in by_shared.items():
        for at in range(0, len(some), most):
            yield shared, some[at : at + most]


def of_one_length(ids: Sequence[Ids], rows: Sequence[int], most: int) -> list[list[int]]:
    """Divide prompts into batches of one length, so that nothing is padded.

    Parameters
    ----------
    ids : sequence of array of int64, each shape (length,)
        Token ids of all prompts.
    rows : sequence of int
        Which are divided.
    most : int
        How many in a batch.

    Returns
    -------
    list of list of int
        The rows of each batch, short prompts first.

    Examples
    --------
    >>> of_one_length([np.zeros(2), np.zeros(1), np.zeros(2)], [0, 1, 2], most=8)
    [[1], [0, 2]]
    """
    batches = []
    for length in sorted({len(ids[row]) for row in rows}):
        same = [row for row in rows if len(ids[row]) == length]
        batches += [same[at : at + most] for at in range(0, len(same), most)]
    return batches


def chunked(n_groups: int, most: int) -> list[list[int]]:
    """Divide groups into as few chunks as hold at most so many each, of about one size.

    Parameters
    ----------
    n_groups : int
        How many groups.
    most : int
        How many in a chunk.

    Returns
    -------
    list of list of int
        The numbers of the groups.

    Examples
    --------
    >>> chunked(5, 3)
    [[0, 1, 2], [3, 4]]
    """
    n_chunks = -(-n_groups // max(most, 1))
    return [chunk.tolist() for chunk in np.array_split(np.arange(n_groups), n_chunks)]


def _divided(ids: list[list[int]], rows: list[int]) -> tuple[int, list[tuple[int, list[int]]]]:
    """Return the cheaper of one prefix and of prefixes by the first token that is not shared."""
    total = sum(len(ids[r]) for r in rows)
    if len(rows) == 1:
        return total, [(0, rows)]
    # The last token of each prompt is left to be read.
    columns = zip(*(ids[r][:-1] for r in rows), strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    cost = total - shared * (len(rows) - 1) + CALL
    by_next: dict[int, list[int]] = {}
    for row in rows:
        by_next.setdefault(ids[row][shared], []).append(row)
    if len(by_next) > 1:
        parts = [_divided(ids, part) for part in by_next.values()]
        if sum(part[0] for part in parts) < cost:
            return sum(part[0] for part in parts), [b for part in parts for b in part[1]]
    return (cost, [(shared, rows)]) if shared and cost < total else (total, [(0, rows)])
