import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.statistics import CircularShift, PermutedLabels
from nissl.statistics.nulls import LabelNull


def test_draws_do_not_depend_on_how_they_are_batched():
    labels = np.arange(30) % 3
    for null in (PermutedLabels(), CircularShift(), CircularShift(min_shift=3)):
        whole = null.draw(labels, 10, seed=3)
        parts = [null.draw(labels, 4, seed=3), null.draw(labels, 6, seed=3, start=4)]
        assert np.array_equal(whole, np.concatenate(parts))
        assert not np.array_equal(whole, null.draw(labels, 10, seed=4))
        assert isinstance(null, LabelNull)


def test_single_samples_are_permuted_evenly():
    index = PermutedLabels().draw(np.arange(4), 4000, seed=0)
    assert (np.sort(index, axis=1) == np.arange(4)).all()
    counts = np.array([np.bincount(column, minlength=4) for column in index.T])
    assert np.abs(counts - 1000).max() < 150  # five deviations


def test_blocks_with_one_label_each_move_whole():
    block = np.repeat(np.arange(6), [1, 2, 3, 1, 2, 3])
    labels = block % 2
    for row in PermutedLabels().draw(labels, 50, exchange=block, seed=0):
        moved = labels[row]
        first = np.unique(block, return_index=True)[1]
        assert np.array_equal(moved, moved[first][block])
        assert moved[first].sum() == 3


def test_equal_blocks_trade_their_sequences_of_labels():
    labels = np.array([0, 0, 1, 1, 1, 0, 0, 1, 0])
    block = np.repeat([2, 0, 1], 3)
    sequences = {tuple(labels[block == b]) for b in range(3)}
    for row in PermutedLabels().draw(labels, 30, exchange=block, seed=0):
        assert {tuple(labels[row][block == b]) for b in range(3)} == sequences


def test_other_blocks_are_permuted_inside():
    labels, block = np.array([0, 1, 1, 0, 1]), np.array([0, 0, 0, 1, 1])
    for row in PermutedLabels().draw(labels, 30, exchange=block, seed=0):
        assert np.array_equal(block[row], block)
    with pytest.raises(NisslError, match="cannot be permuted whole"):
        PermutedLabels(how="whole").draw(labels, 1, exchange=block)


def test_nothing_leaves_its_stratum():
    labels, within = np.arange(12) % 2, np.repeat([1, 0], 6)
    block = np.arange(12) // 2
    assert (within[PermutedLabels().draw(labels, 30, within=within, seed=0)] == within).all()
    index = PermutedLabels().draw(block % 3, 30, exchange=block, within=within, seed=0)
    assert (within[index] == within).all()
    with pytest.raises(NisslError, match="more than one stratum"):
        PermutedLabels().draw(block, 1, exchange=block, within=labels)


@pytest.mark.parametrize(
    ("labels", "block", "within", "count"),
    [
        ([0, 0, 1, 1], None, None, 6),
        ([0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 2, 2], None, 3),
        ([0, 1, 0, 1, 1], [0, 0, 1, 1, 1], None, 6),
        ([0, 1, 1, 0], [0, 0, 1, 1], None, 2),
        ([0, 1, 0, 1], None, [0, 0, 1, 1], 4),
    ],
)
def test_arrangements_are_counted(labels, block, within, count):
    null, labels = PermutedLabels(), np.asarray(labels)
    log = null.log_arrangements(labels, exchange=block, within=within)
    assert np.exp(log) == pytest.approx(count)
    seen = {tuple(labels[i]) for i in null.draw(labels, 300, exchange=block, within=within, seed=1)}
    assert len(seen) == count
    others = [tuple(labels[i]) for i in null.every(labels, exchange=block, within=within)]
    assert len(others) == count - 1
    assert {*others, tuple(labels)} == seen
