import numpy as np
import pytest

from nissl.errors import NisslError, TooFewSamples
from nissl.statistics import folds
from nissl.statistics.folds import as_folds


def test_every_sample_is_tested_once_and_no_group_is_on_both_sides():
    rng = np.random.default_rng(0)
    run = rng.permutation(np.repeat([f"run {i}" for i in range(7)], rng.integers(1, 9, 7)))
    for made in (folds(run), folds(run, n=3), folds(run, n=3, seed=4)):
        assert np.array_equal(np.sort(np.concatenate([test for _, test in made])), range(len(run)))
        for train, test in made:
            assert not set(run[train]) & set(run[test])
            assert np.array_equal(np.union1d(train, test), range(len(run)))
    assert len(folds(run)) == 7


def test_gathered_groups_are_neighbours_in_time_whatever_they_are_called():
    run = np.repeat([10, 2, 33, 4], 3)  # sorted they would be 2, 4, 10, 33
    assert [run[test].tolist() for _, test in folds(run, n=2)] == [
        [10] * 3 + [2] * 3,
        [33] * 3 + [4] * 3,
    ]
    blocks = [test.tolist() for _, test in folds(n_samples=7, n=3)]
    assert blocks == [[0, 1, 2], [3, 4], [5, 6]]
    assert len(folds(n_samples=50)) == 5


@pytest.mark.parametrize("times", [None, np.cumsum(np.random.default_rng(1).random(60))])
def test_the_gap_equals_a_comparison_of_every_pair(times):
    when = np.arange(60) if times is None else times
    group = np.random.default_rng(2).integers(0, 30, 60) // 5
    for gap in (0, 1.0, 2.5):
        for train, test in folds(group, gap=gap, times=times):
            distance = np.abs(when[:, None] - when[test]).min(axis=1)
            assert np.array_equal(train, np.flatnonzero(distance > gap))


def test_folds_may_be_given_as_a_number_as_groups_or_as_they_are():
    made = folds([0, 0, 1, 1])
    for given in (2, [0, 0, 1, 1], np.array(["a", "a", "b", "b"]), made):
        for ours, theirs in zip(as_folds(given, 4), made, strict=True):
            assert [side.tolist() for side in ours] == [side.tolist() for side in theirs]


@pytest.mark.parametrize(
    "bad",
    [
        [([0, 1], [1, 2])],
        [([0, 1], [])],
        [([0, 1], [4])],
        [([-1, 1], [2])],
        [(np.array([True, False]), np.array([0]))],
    ],
)
def test_folds_that_leak_or_are_empty_are_refused(bad):
    with pytest.raises(NisslError):
        as_folds(bad, 4)


def test_what_cannot_be_divided_is_refused():
    for make in (
        lambda: folds([1, 1, 2], n=3),
        lambda: folds([1, 1, 1]),
        lambda: folds(n_samples=4),
        lambda: folds([]),
        lambda: folds(),
        lambda: folds(n_samples=10, n=1),
        lambda: folds(n_samples=10, n=2, gap=5),
    ):
        with pytest.raises(TooFewSamples):
            make()
    for make in (
        lambda: folds([1, 2, 3], n_samples=4),
        lambda: folds([1.0, np.nan, 2.0]),
        lambda: folds(["a", None, "b"]),
        lambda: folds([[1, 2], [3, 4]]),
        lambda: folds(n_samples=5, gap=-1),
        lambda: folds(n_samples=5, gap=np.nan),
        lambda: folds(n_samples=5, times=[0, 1, 1, 2, 3]),
        lambda: folds(n_samples=5, times=[0, 1, np.nan, 2, 3]),
        lambda: folds(n_samples=5, times=[0, 1, 2]),
    ):
        with pytest.raises(NisslError):
            make()
