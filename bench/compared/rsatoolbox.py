"""rsatoolbox: a matrix of dissimilarities; two of them compared, with resampling."""

from __future__ import annotations

from typing import Any

from bench.compared.task import Given, Task, Work

DRAWS = 20


def matrix_theirs(given: Given) -> Work:
    """``calc_rdm`` by correlation."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    data = Dataset(given["first"])
    return lambda: calc_rdm(data, method="correlation").get_matrices()[0]


def matrix_ours(given: Given) -> Work:
    """``dissimilarities``."""
    from nissl.statistics import dissimilarities

    x = given["first"]
    return lambda: dissimilarities(x, measure="correlation", progress=False)


def alike_theirs(given: Given) -> Work:
    """``compare`` of two matrices by Spearman's correlation."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    sides = [Dataset(given[name]) for name in ("first", "second")]

    def work() -> Any:
        one, two = (calc_rdm(side, method="correlation") for side in sides)
        return compare(one, two, method="spearman")[0, 0]

    return work


def alike_ours(given: Given) -> Work:
    """The same number, without a null."""
    from nissl.alignment import compare

    one, two = given["first"], given["second"]
    return lambda: compare(one, two, measure="rsa", test=None, progress=False).value


def tested_theirs(given: Given) -> Work:
    """A null of stimuli permuted, by ``permute_rdms``."""
    import numpy as np
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare
    from rsatoolbox.rdm.rdms import permute_rdms

    # `permute_rdms` asks for this name.
    names = {"index": np.arange(len(given["first"]))}
    sides = [Dataset(given[name], obs_descriptors=names) for name in ("first", "second")]

    def work() -> Any:
        rng = np.random.default_rng(0)
        one, two = (calc_rdm(side, method="correlation") for side in sides)
        orders = [rng.permutation(one.n_cond) for _ in range(DRAWS)]
        null = [compare(permute_rdms(one, p), two, method="spearman")[0, 0] for p in orders]
        found = compare(one, two, method="spearman")[0, 0]
        assert max(null) < found
        return found

    return work


def tested_ours(given: Given) -> Work:
    """The permutation null, and the interval by the jackknife."""
    from nissl import Test
    from nissl.alignment import compare

    one, two = given["first"], given["second"]
    how: Any = {"measure": "rsa", "test": Test(n_permutations=DRAWS), "progress": False}

    return lambda: compare(one, two, **how).value


TASKS = [
    Task(
        "dissimilarities of 500 stimuli, 576 units, by correlation",
        matrix_theirs,
        matrix_ours,
        1e-4,
    ),
    Task("two such matrices compared, Spearman", alike_theirs, alike_ours, 1e-4),
    Task(
        "the same with a null of 20 permutations of the stimuli",
        tested_theirs,
        tested_ours,
        1e-4,
        rounds=2,
        note="the correlation is compared; ours also leaves out 20 groups of stimuli, for an "
        "interval",
    ),
]
