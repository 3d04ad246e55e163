"""Prompts with shared prefixes: each is there once, and little is read twice."""

import numpy as np

from nissl.behaviour.prefix_sharing import (
    chunked,
    of_one_length,
    shared_prefixes,
    with_like_prefixes,
)

PROMPTS = [
    "abcdefga",
    "abcdefgb",
    "abcdefgcd",
    "abcdefgca",
    "xyxyxyxyxya",
    "xyxyxyxyxyb",
    "xyxyxyxyxyca",
    "m",
    "mn",
    "mn",
    "abcdefga",
]
IDS = [np.frombuffer(prompt.encode(), np.uint8).astype(np.int64) for prompt in PROMPTS]


def test_prefixes_hold_every_prompt_once_and_read_little():
    prefixes = shared_prefixes(IDS)
    assert sorted(row for _, rows in prefixes for row in rows) == list(range(len(IDS)))
    for shared, rows in prefixes:
        assert len({tuple(IDS[row][:shared]) for row in rows}) == 1
        assert all(len(IDS[row]) > shared for row in rows)
    read = sum(shared + sum(len(IDS[r]) - shared for r in rows) for shared, rows in prefixes)
    assert read < 0.7 * sum(map(len, IDS))


def test_batches_are_of_one_length_and_prefixes_that_are_alike_come_together():
    batches = of_one_length(IDS, range(len(IDS)), 3)
    assert sorted(row for rows in batches for row in rows) == list(range(len(IDS)))
    assert all(len(rows) <= 3 and len({len(IDS[row]) for row in rows}) == 1 for rows in batches)
    prefixes = [(2, [0, 1]), (3, [2]), (2, [3]), (2, [4])]
    assert list(with_like_prefixes(prefixes, 2)) == [(2, [[0, 1], [3]]), (2, [[4]]), (3, [[2]])]
    assert [len(chunk) for chunk in chunked(10, 4)] == [4, 3, 3]
