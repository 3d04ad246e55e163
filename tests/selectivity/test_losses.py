"""Losses against a slow pass text by text, and damage where words of a kind have their neurons."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.network import ablate
from nissl.selectivity import loss_damage, losses
from nissl.selectivity.losses import Predicted
from tiny import ids, tiny

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
    units = pd.DataFrame({
        "unit": [f"block.down_proj:in[{i}]" for i in range(N_NEURONS)],
        "layer": 0, "weight": np.linspace(1, 2, N_NEURONS),
    })  # fmt: skip
    return nissl.load(Planted()), pd.DataFrame(rows, columns=["text", "kind"]), units


def slow_losses(model, texts, *, places=slice(None)):
    out = []
    for text in texts:
        row = torch.as_tensor(np.asarray(text))[None]
        with torch.no_grad():
            log_p = model(input_ids=row).logits[0, :-1].float().log_softmax(-1)
        out.append(-float(log_p.gather(1, row[0, 1:, None])[places].mean()))
    return np.asarray(out)


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "gpt2"])
def test_losses_are_those_of_each_text_alone(name):
    model = tiny(name)
    texts = [row[:n].numpy() for row, n in zip(ids(4, 9), [9, 5, 7, 2], strict=True)]
    net = nissl.load(model)
    found = losses(net, texts, batch_size=3, progress=False)
    np.testing.assert_allclose(found, slow_losses(model, texts), atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "gpt2", "opt"])
@pytest.mark.parametrize("batch_size", [2, 7, 64])
def test_ablations_together_are_those_one_after_the_other(name, batch_size):
    model = tiny(name)
    net = nissl.load(model)
    texts = [row[:n].numpy() for row, n in zip(ids(4, 9), [9, 5, 7, 2], strict=True)]
    groups = [[f"blocks.{1 + n % 2}.mlp.neurons[{i}]" for i in range(n)] for n in range(5)]
    found = Predicted(net, texts, every=2).losses(groups, batch_size=batch_size)
    for group, row in zip(groups, found, strict=True):
        with net.edit(*([ablate(group)] if group else [])):
            expected = slow_losses(model, texts, places=slice(None, None, 2))
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_some_positions_of_all():
    model, texts = tiny("llama"), [row.numpy() for row in ids(3, 9)]
    found = losses(nissl.load(model), texts, every=3, progress=False)
    np.testing.assert_allclose(
        found, slow_losses(model, texts, places=slice(None, None, 3)), atol=1e-5
    )


def test_a_long_text_is_predicted_window_by_window():
    model, text = tiny("llama"), ids(1, 20)[0].numpy()
    found = losses(nissl.load(model), [text], window=8, progress=False)
    parts = slow_losses(model, [text[:8], text[8:16], text[16:]])
    assert found[0] == pytest.approx(np.average(parts, weights=[7, 7, 3]), abs=1e-5)


def test_edits_are_seen_and_restored(planted):
    net, texts, units = planted
    given = list(texts["text"])
    before = losses(net, given, progress=False)
    with net.edit(ablate(list(units.unit[:10]))):
        during = losses(net, given, progress=False)
    assert (during > before)[texts.kind == "k0"].all()
    np.testing.assert_allclose(losses(net, given, progress=False), before)


def test_the_neurons_of_a_kind_hurt_it_and_no_other(planted):
    net, texts, units = planted
    groups = {f"k{k}": list(units.unit[10 * k : 10 * k + 10]) for k in range(KINDS)}
    found = loss_damage(
        net, groups, texts, labels="kind", units=units, n_draws=39, progress=False
    )  # fmt: skip
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
        found = loss_damage(
            net, groups, texts, labels="kind", units=units.iloc[30:], correction=None, seed=draw,
            progress=False,
        )  # fmt: skip
        below += found.table.set_index("label").loc["own - others", "p"] <= 0.05
    assert below <= 4  # of 20 at a level of 0.05: five or more have a chance of 0.003


def test_bad_input_is_refused(planted):
    net, texts, units = planted
    with pytest.raises(NisslError, match="has no units"):
        loss_damage(net, {"k0": []}, texts, labels="kind", units=units, progress=False)
    with pytest.raises(NisslError, match="no text is of kind 'k9'"):
        loss_damage(net, {"k9": ["a"]}, texts, labels="kind", units=units, progress=False)
    with pytest.raises(NisslError, match="no column 'language'"):
        loss_damage(net, {"k0": ["a"]}, texts, labels="language", units=units, progress=False)
    with pytest.raises(NisslError, match="no token that could be predicted"):
        losses(net, [[1]], progress=False)
    with pytest.raises(NisslError, match="every=0"):
        losses(net, [[1, 2]], every=0, progress=False)
