"""Bundles: prompts that share their beginning, and batches of one length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

__all__ = ["alike", "bundles_of", "same_length", "together"]

Ids = NDArray[np.int64]
CALL = 8  # tokens that cost about as much as one more call


def bundles_of(ids: list[Ids]) -> list[tuple[int, list[int]]]:
    """Divide prompts by what they share at their beginning, so that few tokens are read.

    Parameters
    ----------
    ids : list of array of int64, each shape (length,)
        Token ids of the prompts.

    Returns
    -------
    list of tuple of int and list of int
        For each bundle, how many tokens it shares (0 for those that are read whole), and which
        prompts are in it.

    Examples
    --------
    >>> bundles_of([np.arange(20), np.append(np.arange(19), 0)])
    [(19, [0, 1])]
    """
    rows = list(range(len(ids)))
    bundles = _divided([row.tolist() for row in ids], rows)[1]
    alone = [row for shared, members in bundles if not shared for row in members]
    return [b for b in bundles if b[0]] + ([(0, alone)] if alone else [])


def alike(bundles: list[tuple[int, list[int]]], most: int) -> Iterator[tuple[int, list[list[int]]]]:
    """Yield bundles that share as many tokens, so that their beginnings are read together.

    Parameters
    ----------
    bundles : list of tuple of int and list of int
        What `bundles_of` returns.
    most : int
        How many at a time.

    Yields
    ------
    shared : int
        How many tokens each of them shares.
    rows : list of list of int
        The prompts of each.

    Examples
    --------
    >>> list(alike([(3, [0, 1]), (2, [2, 3]), (3, [4, 5])], 8))
    [(3, [[0, 1], [4, 5]]), (2, [[2, 3]])]
    """
    by_shared: dict[int, list[list[int]]] = {}
    for shared, rows in bundles:
        by_shared.setdefault(shared, []).append(rows)
    for shared, alike in by_shared.items():
        for at in range(0, len(alike), most):
            yield shared, alike[at : at + most]


def same_length(ids: Sequence[Ids], rows: Sequence[int], most: int) -> list[list[int]]:
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
    >>> same_length([np.zeros(2), np.zeros(1), np.zeros(2)], [0, 1, 2], most=8)
    [[1], [0, 2]]
    """
    batches = []
    for length in sorted({len(ids[row]) for row in rows}):
        same = [row for row in rows if len(ids[row]) == length]
        batches += [same[at : at + most] for at in range(0, len(same), most)]
    return batches


def together(n_groups: int, most: int) -> list[list[int]]:
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
    >>> together(5, 3)
    [[0, 1, 2], [3, 4]]
    """
    n_chunks = -(-n_groups // max(most, 1))
    return [chunk.tolist() for chunk in np.array_split(np.arange(n_groups), n_chunks)]


def _divided(ids: list[list[int]], rows: list[int]) -> tuple[int, list[tuple[int, list[int]]]]:
    """Return the cheaper of one bundle and of bundles by the first token that is not shared."""
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
