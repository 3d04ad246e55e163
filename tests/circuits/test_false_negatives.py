"""Bounds on effects that were not looked for: they hold as often as stated."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour, Patching
from nissl.circuits import effects, false_negative_bound
from nissl.network import nodes_of
from tiny import tiny


def added_up(seed, *, large=0.0, curve=None):
    """Hidden units whose effects add up, one of a stated size among small ones."""
    torch.manual_seed(seed)
    first, last = nn.Linear(1, 40), nn.Linear(40, 2, bias=False)
    with torch.no_grad():
        first.weight.fill_(1.0)
        first.bias.zero_()
        last.weight[1] = 0.0
        last.weight[0] = 0.1 * torch.randn(40)
        last.weight[0, 7] = large
    net = nissl.load(nn.Sequential(first, last, *([curve] if curve else [])).double())
    pairs = Behaviour(
        net, torch.ones(2, 1).double(), torch.zeros(2, 1).double(), right=[0] * 2, wrong=[1] * 2
    )
    nodes = nodes_of(net, "0", inputs=torch.ones(1, 1).double())
    return Patching(pairs), nodes, last.weight[0].detach().numpy()


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_bound_holds_as_often_as_stated(share):
    held, tight = 0, []
    for seed in range(60):
        patching, nodes, truth = added_up(seed)
        found = false_negative_bound(
            patching, nodes, n_subsets=100, share=share, confidence=0.8, seed=seed
        )
        bound = found.table["bound"].max()
        held += int(bound >= np.abs(truth).max())
        tight.append(bound / np.abs(truth).max())
    assert held >= 42  # the binomial interval of 0.8
    assert np.median(tight) < 3


def test_each_place_is_covered_as_often_as_stated():
    covered = []
    for seed in range(30):
        patching, nodes, truth = added_up(seed)
        found = false_negative_bound(patching, nodes, confidence=0.9, seed=seed)
        rows = found.table.sort_index()
        covered.append(rows["bound"].to_numpy() >= np.abs(truth))
    assert 0.88 < np.mean(covered) <= 1.0


def test_a_large_effect_is_not_bounded_away_until_it_is_verified():
    patching, nodes, _ = added_up(0, large=3.0, curve=nn.Tanhshrink())
    found = false_negative_bound(patching, nodes)
    assert found.table["unit"].iloc[0] == "0[7]"
    assert 1.33 < found.table["bound"].iloc[0] < 2  # alone it takes 1.326 away
    rest = false_negative_bound(patching, nodes, verified=found.top(1))
    assert len(rest.table) == 39
    assert rest.table["bound"].max() < 0.5


@pytest.mark.parametrize("lengths", [(6,) * 8, (6, 7) * 4])
def test_places_of_a_language_model_are_patched_as_effects_has_them(lengths):
    rng = np.random.default_rng(0)
    clean = [rng.integers(3, 40, length) for length in lengths]
    corrupted = [row.copy() for row in clean]
    for row in corrupted:
        row[3] = (row[3] + 5) % 37 + 3
    net = nissl.load(tiny("llama"))
    pairs = Behaviour(net, clean, corrupted, right=[5] * 8, wrong=[9] * 8)
    exact = effects(pairs, over=["attn.z", "blocks.2.mlp.out"], method="exact", progress=False)
    patching = Patching(pairs, "denoising")
    nodes = nodes_of(net, ["attn.z", "blocks.2.mlp.out"])
    found = false_negative_bound(patching, nodes, verified=exact.top(3), share=0.03, n_subsets=1500)
    keys = ["unit", "position"]
    both = found.table.merge(exact.table, on=keys, suffixes=("", "_exact"))
    assert len(both) == len(exact.table) - 3 == len(found.table)
    assert np.corrcoef(both["effect"], both["indirect_effect"])[0, 1] > 0.9


def test_what_cannot_be_bounded_is_said():
    patching, nodes, _ = added_up(0)
    with pytest.raises(NisslError, match="too few"):
        false_negative_bound(patching, nodes, n_subsets=5, share=0.01)
