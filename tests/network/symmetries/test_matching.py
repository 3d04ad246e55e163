"""Matching: the best order of units by brute force, and planted orders found."""

from itertools import permutations

import numpy as np
import torch

from nissl.network.symmetries.axis import Axis
from nissl.network.symmetries.matching import matched
from nissl.network.symmetries.reorder import reordered
from nissl.network.symmetries.symmetries import Symmetries


def setting(n=5):
    """Return a group of units, an axis of it, and one that is held."""
    axis = Axis(n)
    axis.name = "units"
    return Symmetries({"units": n}, {}), axis, Axis(3, fixed=True)


def test_of_one_tensor_the_best_order_is_found():
    groups, axis, held = setting()
    for seed in range(5):
        x, y = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(seed))
        found = matched([(x, y, (axis, held))], groups, np.random.default_rng(0))["units"]
        every = {p: float((x * y[list(p)]).sum()) for p in permutations(range(5))}
        assert tuple(found) == max(every, key=every.get)


def test_a_planted_order_is_found_with_the_group_on_both_axes():
    groups, axis, held = setting(n=9)
    torch.manual_seed(0)
    x, wide = torch.randn(9, 9), torch.randn(9, 3)
    drawn = groups.random(seed=1)
    pairs = [
        (x, reordered(x, (axis, axis), drawn), (axis, axis)),
        (wide, reordered(wide, (axis, held), drawn), (axis, held)),
    ]
    found = matched(pairs, groups, np.random.default_rng(0))
    assert np.array_equal(drawn["units"][found["units"]], np.arange(9))
    kept = matched(pairs, groups, np.random.default_rng(0), start=found)
    assert np.array_equal(kept["units"], found["units"])


def test_an_axis_may_keep_its_order():
    _, axis, held = setting(n=4)
    x, order = torch.randn(4, 4), {"units": np.array([2, 0, 3, 1])}
    assert torch.equal(reordered(x, (axis, axis), order), x[order["units"]][:, order["units"]])
    assert torch.equal(reordered(x, (axis, axis), order, keep=(0, "units")), x[:, order["units"]])
    assert torch.equal(reordered(x, (held, held), order), x)
