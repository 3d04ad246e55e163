"""Tests over pairs: those that hang together trade places together."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import nissl
from nissl.behaviour import Behaviour
from nissl.behaviour.pair_test import pair_test, pairs_of
from nissl.errors import TooFewSamples
from nissl.statistics import Test

QUIET = {"progress": False}


def pairs(n):
    net = nissl.load(nn.Linear(2, 2), **QUIET)
    return Behaviour(net, torch.ones(n, 2), torch.zeros(n, 2), right=[0] * n, wrong=[1] * n)


def false_positives(exchange):
    """Eight facts, each in four pairs that say the same: nothing has an effect on the mean."""
    behaviour = pairs(32)
    behaviour.exchange = exchange
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        each = rng.standard_normal((8, 1)).repeat(4, 0) + 0.1 * rng.standard_normal((32, 1))
        test = Test(n_permutations=199, seed=seed)
        table = pd.DataFrame({"unit": ["a"]})
        found += (
            pair_test(behaviour, each, units=table, method="m", test=test, **QUIET)
            .table["p"]
            .iloc[0]
            <= 0.05
        )
    return found


def test_pairs_of_one_group_trade_places_together():
    assert false_positives(np.repeat(np.arange(8), 4)) <= 6  # 0.05 of 40: above in 1 of 100 runs
    assert false_positives(None) > 6


def test_means_are_those_of_the_pairs():
    each = np.random.default_rng(0).standard_normal((12, 2)) + np.array([2.0, 0.0])
    table = pd.DataFrame({"unit": ["a", "b"]})
    for test in (Test(), None):
        found = pair_test(pairs(12), each, units=table, method="m", test=test, **QUIET)
        assert found.table["unit"].tolist() == ["a", "b"]
        assert np.allclose(found.table["indirect_effect"], each.mean(0))
    assert pair_test(pairs(12), each, units=table, method="m", **QUIET).significant().units == ["a"]


def test_seven_pairs_are_too_few_to_be_tested():
    assert len(pairs_of(pairs(7))) == 7
    with pytest.raises(TooFewSamples, match="7 pairs"):
        pairs_of(pairs(7), Test())
