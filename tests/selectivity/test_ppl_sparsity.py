"""A network of which a fifth of the neurons matters, and chance."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.behaviour import losses
from nissl.behaviour.tail_error import Tails
from nissl.network.sites.architectures.architecture import Architecture, Matrices
from nissl.network.sites.hook_points import Input
from nissl.selectivity import ppl_sparsity, thresholded
from nissl.selectivity.ppl_sparsity import _searched
from tiny import ids, tiny

GROUPS, WORDS, N_NEURONS = 5, 30, 40
PLANTED = Architecture(
    "Planted",
    (),
    blocks="blocks",
    embed="embed",
    final_norm=None,
    block=lambda path, config: {"mlp.neurons": Input(f"{path}.down")},
    matrices=Matrices("up", "down"),
)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(GROUPS, N_NEURONS, bias=False)
        self.down = nn.Linear(N_NEURONS, WORDS, bias=False)

    def forward(self, x):
        return self.down(self.up(x))


class Planted(nn.Module):
    """A word of group g is followed by one of group g + 1, as a fifth of the neurons knows.

    The others are shut in the first layer, and a thousandth as active in the second.
    """

    def __init__(self, layers=2):
        super().__init__()
        self.config = SimpleNamespace(hidden_size=WORDS, num_attention_heads=1)
        self.embed = nn.Embedding(WORDS, GROUPS)
        self.blocks = nn.ModuleList(Block() for _ in range(layers))
        group, knows = torch.arange(WORDS) % GROUPS, torch.arange(N_NEURONS) % GROUPS
        noise = torch.randn(WORDS, N_NEURONS, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            self.embed.weight.copy_(torch.eye(GROUPS)[group])
            follows = (group[:, None] == (knows + 1) % GROUPS).float()
            for block in self.blocks:
                block.down.weight.copy_(0.3 * follows)
                block.up.weight.copy_(torch.eye(GROUPS)[knows])
            self.blocks[1].up.weight += 1e-3 * noise[:GROUPS].T.sign()

    def forward(self, input_ids, attention_mask=None):
        x = self.embed(input_ids)
        return SimpleNamespace(logits=sum(block(x) for block in self.blocks))


@pytest.fixture
def planted():
    rng = np.random.default_rng(0)
    walks = [(np.arange(24) + k) % GROUPS + GROUPS * rng.integers(0, 6, 24) for k in range(6)]
    return nissl.load(Planted(), architecture=PLANTED), walks


def test_the_share_that_contributes_is_found(planted):
    net, texts = planted
    found = ppl_sparsity(net, texts, p=1, progress=False)
    np.testing.assert_allclose(found.table["ratio"], 1 / GROUPS)
    said = found.provenance
    assert said["ratio"] == pytest.approx(1 / GROUPS)
    assert 6 <= said["perplexity"] < 7  # six words of thirty are possible
    assert said["perplexity_thresholded"] < 1.01 * said["perplexity"]
    assert said["perplexity_random"] > 1.5 * said["perplexity"]
    assert (found.table["effect"] < -0.3).all()
    assert "p" not in found.table
    assert found.table["site"].tolist() == [f"blocks.{i}.mlp.neurons" for i in (0, 1)]


def test_the_edit_is_what_was_measured(planted):
    net, texts = planted
    found = ppl_sparsity(net, texts, p=1, progress=False)
    with net.edit(thresholded(net, found)):
        there = losses(net, texts, progress=False).mean()
        left = net.run(texts[0][None], sites="mlp.neurons")
    assert np.exp(there) == pytest.approx(found.provenance["perplexity_thresholded"])
    for x in left.values():
        assert ((x != 0).sum(-1) == N_NEURONS / GROUPS).all()


def test_no_gain_over_chance_where_all_contributions_are_alike():
    write = np.eye(64)
    rng = np.random.default_rng(3)
    tails = Tails(rng.choice([-1.0, 1.0], (20, 64)) * (1 + 1e-4 * rng.random((20, 64))), write)
    for error in (0.2, 0.5, 0.8):
        assert tails.ratio(tails.threshold(error)) == pytest.approx(tails.chance(error), abs=0.03)


@pytest.mark.parametrize(("name", "options"), [("llama", {}), ("gpt2", {}), ("gemma3_text", {})])
def test_perplexity_rises_by_no_more_than_p(name, options):
    net = nissl.load(tiny(name, **options))
    texts = [row.numpy() for row in ids(8, 12)]
    sparse, sparser = (ppl_sparsity(net, texts, p=p, progress=False).provenance for p in (0.5, 5))
    for found, p in ((sparse, 0.5), (sparser, 5)):
        assert found["perplexity_thresholded"] <= (1 + p / 100) * found["perplexity"]
        assert 0 <= found["ratio"] <= 1
    assert sparser["tail_error"] >= sparse["tail_error"]


def test_a_given_tail_error_is_shared_by_all_layers():
    net = nissl.load(tiny("gpt2", activation_function="relu"))
    texts = [row.numpy() for row in ids(8, 12)]
    table = ppl_sparsity(net, texts, tail_error=0.2, progress=False).table
    assert table["tail_error"].between(0.15, 0.2).all()
    nothing = ppl_sparsity(net, texts, tail_error=0.0, progress=False)
    rec = nissl.record(net, texts, sites="mlp.neurons", progress=False)
    open_ = (rec.values != 0).mean(0).reshape(3, -1).mean(1)
    # Of a ReLU's neurons those that are shut cost nothing.
    np.testing.assert_allclose(nothing.table["ratio"], open_, atol=0.03)
    assert nothing.provenance["perplexity_thresholded"] == pytest.approx(
        nothing.provenance["perplexity"]
    )


def test_bad_input_is_refused(planted):
    net, texts = planted
    with pytest.raises(NisslError, match="p=0 and tail_error=None allow nothing"):
        ppl_sparsity(net, texts, p=0, progress=False)
    with pytest.raises(NisslError, match="tail_error=2"):
        ppl_sparsity(net, texts, tail_error=2, progress=False)
    with pytest.raises(NisslError, match="no weights are known"):
        ppl_sparsity(nissl.load(tiny("llama")), texts, sites="resid_post", progress=False)
    with pytest.raises(NisslError, match="writes nothing"):
        Tails(np.zeros((3, 4)), np.eye(4))
    with pytest.raises(NisslError, match="not finite"):
        Tails(np.full((3, 4), np.nan), np.eye(4))


@pytest.mark.parametrize("steepness", [0.02, 1.0, 400.0])
def test_the_search_resolves_small_tail_errors_too(steepness):
    found = _searched(lambda e: 3 + steepness * e**2, 3.0, 3.01, progress=False)
    truth = np.sqrt(0.01 / steepness)
    assert 0.9 * truth <= found <= truth
    assert _searched(lambda e: 3.0, 3.0, 3.01, progress=False) == 1  # nothing is needed
