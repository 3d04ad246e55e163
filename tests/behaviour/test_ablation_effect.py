"""Damage on a network built so that known neurons carry known answers."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.behaviour import ablation_effect, output_magnitude
from nissl.statistics import Test
from tiny import inputs, tiny

KINDS, PER_KIND, N_NEURONS, VOCABULARY = 3, 4, 60, 30


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up_proj, self.down_proj = nn.Linear(8, N_NEURONS), nn.Linear(N_NEURONS, VOCABULARY)

    def forward(self, x):
        return self.down_proj(self.up_proj(x).relu())


class Planted(nn.Module):
    """Answers of kind k are raised by neurons 10k to 10k+9, on prompts of that kind alone."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.block = Block()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.embed.weight.zero_()
            for layer in (self.block.up_proj, self.block.down_proj):
                layer.weight.zero_()
                layer.bias.zero_()
            for kind in range(KINDS):
                mine = slice(10 * kind, 10 * kind + 10)
                self.embed.weight[3 + kind, kind] = 1
                self.block.up_proj.weight[mine, kind] = 1
                self.block.down_proj.weight[20 + kind, mine] = 0.3
            # The rest fires on everything and writes as much, in random directions.
            self.embed.weight[3:6, 7] = 1
            self.block.up_proj.weight[30:, 7] = 1
            noise = torch.randn(VOCABULARY, 30, generator=generator)
            self.block.down_proj.weight[:, 30:] = 0.3 * noise / noise.norm(dim=0)

    def forward(self, input_ids, attention_mask=None):
        logits = self.block(self.embed(input_ids))
        return type("Output", (), {"logits": logits})


class Words:
    pad_token_id, bos_token_id = 0, None

    def encode(self, text, add_special_tokens=True, **options):
        return [int(word) for word in text.split()]


@pytest.fixture
def planted():
    net = nissl.load(Planted(), tokenizer=Words())
    rows = [(f"9 {3 + kind}", f"{20 + kind}", f"k{kind}") for kind in range(KINDS)] * PER_KIND
    facts = pd.DataFrame(rows, columns=["text", "answer", "kind"])
    units = pd.DataFrame(
        {
            "unit": [f"block.down_proj:in[{i}]" for i in range(N_NEURONS)],
            "layer": 0,
            "weight": np.linspace(1, 2, N_NEURONS),
        }
    )
    return net, facts, units


def test_the_neurons_that_carry_a_kind_hurt_it_and_no_other(planted):
    net, facts, units = planted
    groups = {f"k{kind}": list(units.unit[10 * kind : 10 * kind + 10]) for kind in range(KINDS)}
    found = ablation_effect(
        net,
        groups,
        on=facts,
        labels="kind",
        units=units,
        test=Test(n_permutations=39),
        progress=False,
    )
    table = found.table.set_index(["unit", "label"])
    for kind in groups:
        for other in groups:
            expected_large = kind == other
            assert (table.loc[(kind, other), "damage"] > 1) == expected_large
        assert table.loc[(kind, "own - others"), "q"] <= 0.05
        assert table.loc[(kind, kind), "damage"] == pytest.approx(
            slow_damage(net, facts, groups[kind], kind), abs=1e-5
        )


def test_random_neurons_do_no_more_than_random_neurons(planted):
    net, facts, units = planted
    rng = np.random.default_rng(1)
    below = 0
    for draw in range(20):
        groups = {"k0": list(rng.choice(units.unit[30:], 5, replace=False))}
        found = ablation_effect(
            net,
            groups,
            on=facts,
            labels="kind",
            units=units.iloc[30:],
            test=Test(n_permutations=19, correction=None, seed=draw),
            progress=False,
        )
        below += found.table.set_index("label").loc["own - others", "p"] <= 0.05
    assert below <= 4  # of 20 at a level of 0.05: five or more have a chance of 0.003


def test_groups_that_mean_nothing_are_refused(planted):
    net, facts, units = planted
    with pytest.raises(NisslError, match="has no units"):
        ablation_effect(net, {"k0": []}, on=facts, labels="kind", units=units, progress=False)
    with pytest.raises(NisslError, match="no fact is of kind 'k9'"):
        ablation_effect(net, {"k9": ["a"]}, on=facts, labels="kind", units=units, progress=False)


def test_weights_are_mean_activity_times_what_is_written():
    net = nissl.load(tiny("llama"))
    rec = nissl.record(net, inputs("llama"), sites="mlp.neurons", progress=False)
    table = output_magnitude(net, rec)
    row = table[table.unit == "blocks.1.mlp.neurons[5]"].iloc[0]
    column = np.abs(rec.values[:, rec["unit"].values == row.unit]).mean()
    norm = float(net.output_weights("blocks.1.mlp.neurons")[5].norm())
    assert row.weight == pytest.approx(column * norm, rel=1e-5)


def slow_damage(net, facts, units, kind):
    """The same by setting activations to zero by hand, prompt by prompt."""
    lost = []
    index = [int(u.split("[")[1][:-1]) for u in units]
    for _, fact in facts[facts.kind == kind].iterrows():
        ids = torch.tensor([Words().encode(fact.text)])
        with torch.no_grad():
            hidden = net.model.block.up_proj(net.model.embed(ids)).relu()
            before = net.model.block.down_proj(hidden)[0, -1].log_softmax(-1)
            hidden[..., index] = 0
            after = net.model.block.down_proj(hidden)[0, -1].log_softmax(-1)
        lost.append(float((before - after)[int(fact.answer)]))
    return np.mean(lost)
