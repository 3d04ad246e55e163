"""Damage to texts, where words of a kind have their neurons."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.behaviour import ablation_effect, losses
from nissl.network import ablate
from nissl.statistics import Test

KINDS, N_NEURONS, VOCABULARY = 3, 60, 30


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up_proj, self.down_proj = nn.Linear(8, N_NEURONS), nn.Linear(N_NEURONS, VOCABULARY)

    def forward(self, x):
        return self.down_proj(self.up_proj(x).relu())


class Planted(nn.Module):
    """Words 10k to 10k+9 are of kind k, and neurons 10k to 10k+9 expect another of them."""

    def __init__(self):
        super().__init__()
        self.embed, self.block = nn.Embedding(VOCABULARY, 8), Block()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            for kind in range(KINDS):
                mine = slice(10 * kind, 10 * kind + 10)
                self.embed.weight[mine, kind] = 1
                self.block.up_proj.weight[mine, kind] = 1
                self.block.down_proj.weight[mine, mine] = 0.3
            # The rest fires on everything and writes as much, in random directions.
            self.embed.weight[:, 7] = 1
            self.block.up_proj.weight[30:, 7] = 1
            noise = torch.randn(VOCABULARY, 30, generator=generator)
            self.block.down_proj.weight[:, 30:] = noise / noise.norm(dim=0)

    def forward(self, input_ids, attention_mask=None):
        return type("Output", (), {"logits": self.block(self.embed(input_ids))})


@pytest.fixture
def planted():
    rng = np.random.default_rng(0)
    rows = [(list(rng.integers(0, 10, 12) + 10 * k), f"k{k}") for k in range(KINDS)] * 3
    units = pd.DataFrame(
        {
            "unit": [f"block.down_proj:in[{i}]" for i in range(N_NEURONS)],
            "layer": 0,
            "weight": np.linspace(1, 2, N_NEURONS),
        }
    )
    return nissl.load(Planted()), pd.DataFrame(rows, columns=["text", "kind"]), units


def test_the_neurons_of_a_kind_hurt_it_and_no_other(planted):
    net, texts, units = planted
    groups = {f"k{k}": list(units.unit[10 * k : 10 * k + 10]) for k in range(KINDS)}
    found = ablation_effect(
        net,
        groups,
        on=texts,
        labels="kind",
        units=units,
        test=Test(n_permutations=39),
        progress=False,
        measure="loss",
    )
    table = found.table.set_index(["unit", "label"])
    before = losses(net, list(texts["text"]), progress=False)
    for kind in groups:
        with net.edit(ablate(groups[kind])):
            after = losses(net, list(texts["text"]), progress=False)
        for other in groups:
            risen = (after - before)[texts.kind == other].mean()
            assert table.loc[(kind, other), "damage"] == pytest.approx(risen, abs=1e-6)
            assert (risen > 0.1) == (kind == other)
        assert table.loc[(kind, "own - others"), "q"] <= 0.05


def test_random_neurons_do_no_more_than_random_neurons(planted):
    net, texts, units = planted
    rng = np.random.default_rng(1)
    below = 0
    for draw in range(20):
        groups = {"k0": list(rng.choice(units.unit[30:], 5, replace=False))}
        found = ablation_effect(
            net,
            groups,
            on=texts,
            labels="kind",
            units=units.iloc[30:],
            test=Test(correction=None, seed=draw),
            progress=False,
            measure="loss",
        )
        below += found.table.set_index("label").loc["own - others", "p"] <= 0.05
    assert below <= 4  # of 20 at a level of 0.05: five or more have a chance of 0.003


def test_bad_input_is_refused(planted):
    net, texts, units = planted
    with pytest.raises(NisslError, match="has no units"):
        ablation_effect(
            net, {"k0": []}, on=texts, labels="kind", units=units, progress=False, measure="loss"
        )
    with pytest.raises(NisslError, match="no text is of kind 'k9'"):
        ablation_effect(
            net, {"k9": ["a"]}, on=texts, labels="kind", units=units, progress=False, measure="loss"
        )
    with pytest.raises(NisslError, match="called 'language'"):
        ablation_effect(
            net,
            {"k0": ["a"]},
            on=texts,
            labels="language",
            units=units,
            progress=False,
            measure="loss",
        )
