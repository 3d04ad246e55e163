"""Bigram subnetworks: targets keep the bigrams, and what is drawn keeps sizes."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPT = Path(__file__).parents[3] / "replications/circuits/bigram_subnetworks.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_followers_are_drawn_as_often_as_they_follow(script):
    ids = torch.randint(0, 3, (100, 60), generator=torch.Generator().manual_seed(0))
    targets = (ids + torch.randint(1, 3, ids.shape, generator=torch.Generator().manual_seed(1))) % 5
    drawn = script["followers"](ids, targets, np.random.default_rng(0))
    for token in range(3):
        shares = [
            torch.bincount(x[ids == token], minlength=5) / (ids == token).sum()
            for x in (drawn, targets)
        ]
        assert torch.allclose(*shares, atol=0.05)
        assert not shares[0][shares[1] == 0].any()
    again = (drawn == targets)[ids == 0].double().mean()  # what was there has no say
    assert abs(float(again) - 0.5) < 0.05


@pytest.mark.parametrize("near", [1e9, 20])
def test_masks_are_drawn_of_the_same_size_near_in_rank(script, near):
    weights = {"a": torch.randn(40, 30, generator=torch.Generator().manual_seed(0))}
    mask = {"a": weights["a"].abs() > 1.5}
    drawn = script["drawn_mask"](mask, weights, near, np.random.default_rng(0))
    assert drawn["a"].sum() == mask["a"].sum()
    shared, chance = script["overlap"](drawn, mask)
    assert chance == pytest.approx(float(mask["a"].double().mean()))
    if near == 20:
        assert shared > 0.9
        assert not torch.equal(drawn["a"], mask["a"])
    else:
        assert shared == pytest.approx(chance, abs=0.1)
