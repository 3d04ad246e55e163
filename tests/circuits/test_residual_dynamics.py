"""Dynamics over depth: planted blocks that contract, add nothing or expand; a slow form."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl.circuits import residual_dynamics
from nissl.errors import NisslError
from nissl.statistics import Test
from tiny import tiny

TEXTS = np.random.default_rng(0).integers(3, 40, (20, 6)).tolist()
TEST = Test(n_permutations=99)


class Towards(nn.Module):
    """Moves the stream by a share of what it is away from an attractor."""

    def __init__(self, share, width=32, order=None):
        super().__init__()
        self.share, self.order = share, order
        self.attractor = torch.linspace(-1, 1, width)

    def forward(self, x):
        x = x + self.share * (self.attractor - x)
        return x if self.order is None else x[..., self.order]


class Stream(nn.Module):
    def __init__(self, *blocks, width=32):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.blocks = nn.Embedding(40, width), nn.ModuleList(blocks)

    def forward(self, input_ids, attention_mask=None):
        x = self.embed(input_ids)
        for block in self.blocks:
            x = block(x)
        return x


def dynamics(*blocks, **options):
    net = nissl.load(Stream(*blocks))
    sites = ["embed", *(f"blocks.{i}" for i in range(len(blocks)))]
    options = {"after": 3, "test": TEST, "progress": False, **options}
    return residual_dynamics(net, TEXTS, sites=sites, **options).table


def test_blocks_that_contract_recover_and_those_that_expand_do_not():
    contracts, adds_nothing, expands = (
        dynamics(*(Towards(share) for _ in range(5))) for share in (0.5, 0.0, -0.5)
    )
    left = [0.5**3] * 3 + [0.25, 0.5]  # three blocks later, at most behind the last
    assert contracts["remaining"].tolist() == pytest.approx(left, rel=1e-5)
    assert contracts["along"].tolist() == pytest.approx(left, rel=1e-5)
    assert adds_nothing["remaining"].tolist() == pytest.approx([1] * 5, rel=1e-5)
    assert adds_nothing["velocity"].max() == 0
    assert adds_nothing["growth"].tolist() == pytest.approx([1] * 5)
    assert expands["remaining"].iloc[0] == pytest.approx(1.5**3, rel=1e-5)
    assert (np.diff(contracts["velocity"]) < 0).all()
    assert (np.diff(expands["velocity"]) > 0).all()


def test_units_are_continuous_unless_a_block_shuffles_them():
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    found = dynamics(Towards(0.3), Towards(0.3, order=order), Towards(0.3))
    assert found["continuity"].iloc[[0, 2]].tolist() == pytest.approx([1, 1], abs=1e-5)
    assert abs(found["continuity"].iloc[1]) < 0.3
    assert (found["q"] <= 0.05).tolist() == [True, False, True]


def test_density_is_the_share_of_units_that_are_active():
    stream = Stream(Towards(0.0))
    with torch.no_grad():
        stream.embed.weight[:] = (torch.arange(32) < 8).float()
        stream.embed.weight[:, 0] *= torch.randint(0, 2, (40,)) * 2 - 1
    found = residual_dynamics(
        nissl.load(stream), TEXTS, sites=["embed", "blocks.0"], test=TEST, progress=False
    )
    assert found.table["density"].tolist() == pytest.approx([0.25])


def test_the_numbers_are_those_of_a_slow_form():
    net = nissl.load(tiny("llama"))
    texts = [row[: 4 + i % 3] for i, row in enumerate(TEXTS)]  # of different lengths
    found = residual_dynamics(net, texts, push=0.2, after=1, test=TEST, progress=False).table
    states = []
    with torch.no_grad():
        for row in texts:
            out = net.model.model(torch.tensor([row]), output_hidden_states=True)
            states.append(torch.stack([h[0, -1] for h in out.hidden_states[1:3]]))
    here, there = torch.stack(states, 1).double().numpy()
    r = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(here.T, there.T, strict=True)])
    step = np.linalg.norm(there - here, axis=1).mean()
    assert found["unit"].tolist() == ["blocks.0.resid_post", "blocks.1.resid_post"]
    assert found["continuity"].iloc[0] == pytest.approx(r, rel=1e-5)
    assert found["velocity"].iloc[0] == pytest.approx(step, rel=1e-5)
    rng = np.random.default_rng(0)
    by = rng.standard_normal(here.shape)
    by *= 0.2 * np.linalg.norm(here, axis=1, keepdims=True) / np.linalg.norm(by, axis=1)[:, None]
    ratios = []
    for row, push, without in zip(texts, by, there, strict=True):

        def pushed(module, args, output, push=push):
            output[0, -1] += torch.from_numpy(push)
            return output

        handle = net.model.model.layers[0].register_forward_hook(pushed)
        with torch.no_grad():
            out = net.model.model(torch.tensor([row]), output_hidden_states=True)
        handle.remove()
        moved = out.hidden_states[2][0, -1].double().numpy() - without
        ratios.append(np.linalg.norm(moved) / np.linalg.norm(push))
    assert found["remaining"].iloc[0] == pytest.approx(np.mean(ratios), rel=1e-4)


def test_what_cannot_be_is_said():
    with pytest.raises(NisslError, match="5 texts"):
        residual_dynamics(nissl.load(tiny("llama")), TEXTS[:5], progress=False)
    with pytest.raises(NisslError, match="1 sites"):
        residual_dynamics(nissl.load(tiny("llama")), TEXTS, sites="blocks.0.resid_post")
