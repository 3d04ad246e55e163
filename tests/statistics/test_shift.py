import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.statistics import CircularShift


def test_shifts_keep_order_and_distance():
    group = np.repeat([1, 0], [7, 9])
    index = CircularShift(min_shift=2).draw(np.zeros(16), 40, within=group, seed=0)
    for g in (0, 1):
        place = index[:, group == g] - np.flatnonzero(group == g)[0]
        length = (group == g).sum()
        shift = (place - np.arange(length)) % length
        assert (shift == shift[:, :1]).all()
        # Any stretch may stay where it is, so that draws centre on zero.
        assert sorted(set(shift[:, 0])) == [0, *range(2, length - 1)]
    log = CircularShift(min_shift=2).log_arrangements(np.zeros(16), within=group)
    assert np.exp(log) == pytest.approx(5 * 7)


def test_one_stretch_has_every_shift_once_before_any_twice():
    index = CircularShift(min_shift=3).draw(np.zeros(20), 15, seed=0)
    assert sorted(index[:, 0]) == list(range(3, 18))
    assert np.exp(CircularShift(min_shift=3).log_arrangements(np.zeros(20))) == pytest.approx(16)


def test_short_stretches_are_refused():
    with pytest.raises(NisslError, match="3 samples cannot be shifted by 2"):
        CircularShift(min_shift=2).draw(np.zeros(8), 1, within=[0, 0, 0, 1, 1, 1, 1, 1])
