"""Orders of samples: those of the null, in blocks where declared, and refused in slow series."""

import numpy as np
import pytest

from nissl import NisslError, Test
from nissl.recording import as_recording
from nissl.statistics import CircularShift, MatchedUnits, NotExchangeable, PermutedLabels
from nissl.statistics.sample_orders import sample_orders

RNG = np.random.default_rng(0)


def test_orders_are_permutations_and_the_same_of_one_seed():
    x = RNG.standard_normal((20, 3))
    orders, null = sample_orders(x, x, Test(seed=3), n=7)
    assert null == "PermutedLabels()"
    assert orders.shape == (7, 20)
    assert (np.sort(orders, axis=1) == np.arange(20)).all()
    assert np.array_equal(sample_orders(x, x, Test(n_permutations=7, seed=3), n=2)[0], orders)
    assert not np.array_equal(sample_orders(x, x, Test(seed=4), n=7)[0], orders)


def test_blocks_are_moved_together_by_name_or_as_given():
    film = np.repeat(np.arange(5), 4)
    rec = as_recording(RNG.standard_normal((20, 3)), samples={"film": film})
    by_name, _ = sample_orders(rec, rec, Test(), n=5, exchange="film")
    given, _ = sample_orders(rec.values, rec.values, Test(), n=5, exchange=film)
    own, _ = sample_orders(rec, rec, Test(null=PermutedLabels(exchange="film")), n=5)
    assert np.array_equal(by_name, given)
    assert np.array_equal(by_name, own)
    assert all((np.ptp(film[order].reshape(5, 4), axis=1) == 0).all() for order in by_name)
    with pytest.raises(NisslError, match="bare array"):
        sample_orders(rec.values, rec.values, Test(), n=5, exchange="film")


def test_series_that_are_slow_on_both_sides_are_refused():
    x, y = (np.random.default_rng(s).standard_normal((300, 4)).cumsum(0) for s in (1, 2))
    with pytest.raises(NotExchangeable, match="CircularShift"):
        sample_orders(x, y, Test(), n=5)
    sample_orders(x, RNG.permutation(y), Test(), n=5)
    sample_orders(x, y, Test(), n=5, exchange=np.arange(300))
    orders, null = sample_orders(x, y, Test(null=CircularShift()), n=5)
    assert null.startswith("CircularShift")
    assert (np.diff(orders, axis=1) % 300 == 1).all()
    with pytest.raises(NisslError, match="another question"):
        sample_orders(x, y, Test(null=MatchedUnits()), n=5)
