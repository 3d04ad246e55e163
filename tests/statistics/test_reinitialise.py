import pytest
import torch
from torch import nn

from nissl.errors import NisslError
from nissl.statistics import ReinitialisedNetwork
from tiny import tiny


class Scale(nn.Module):
    """A module with a parameter and no `reset_parameters`."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64) * 3)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 64)
        self.scale = Scale()
        self.norm = nn.BatchNorm1d(64)
        self.head = nn.Linear(64, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(self.norm(self.embed(x) * self.scale.weight))


@pytest.fixture
def trained():
    torch.manual_seed(0)
    network = Tied().eval()
    with torch.no_grad():
        network.embed.weight.mul_(0.02).add_(0.01)
        network.norm.running_mean.fill_(7)
        network.scale.weight.normal_(3, 0.1)
    return network


def test_draws_differ_from_each_other_and_not_by_chance(trained):
    before = {k: v.clone() for k, v in trained.state_dict().items()}
    state = torch.get_rng_state()
    a, b = list(ReinitialisedNetwork().draw(trained, 2, seed=1))
    again = next(ReinitialisedNetwork().draw(trained, 1, seed=1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in trained.state_dict().items())
    assert not torch.equal(a.embed.weight, b.embed.weight)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in a.state_dict().items())


@pytest.mark.parametrize(("family", "gain"), [("llama", 1.0), ("gemma", 0.0), ("gpt2", 1.0)])
def test_norms_begin_as_they_were_made(family, gain):
    network = tiny(family)
    norms = [m for m in network.modules() if "norm" in type(m).__name__.lower()]
    with torch.no_grad():
        for norm in norms:
            norm.weight.normal_(3.0, 0.5)
    fresh = next(ReinitialisedNetwork().draw(network, 1))
    made = [m.weight for m in fresh.modules() if "norm" in type(m).__name__.lower()]
    assert len(made) == len(norms) > 2
    assert all((weight == gain).all() for weight in made)
    assert all((norm.weight != gain).any() for norm in norms)


def test_reset_uses_each_module_and_keeps_what_is_shared(trained):
    fresh = next(ReinitialisedNetwork().draw(trained, 1))
    assert fresh.head.weight is fresh.embed.weight
    assert abs(float(fresh.embed.weight.detach().std()) - 1) < 0.1  # nn.Embedding's own start
    assert float(fresh.norm.running_mean.abs().max()) == 0
    assert abs(float(fresh.scale.weight.detach().mean()) - 3) < 0.1  # from its moments
    assert not fresh.training
    assert fresh(torch.arange(5)).shape == (5, 20)


def test_moments_keep_the_scale_of_each_tensor(trained):
    fresh = next(ReinitialisedNetwork(how="moments").draw(trained, 1))
    old, new = trained.embed.weight.detach(), fresh.embed.weight.detach()
    assert float(new.std()) == pytest.approx(float(old.std()), rel=0.1)
    assert float(new.mean()) == pytest.approx(float(old.mean()), abs=0.003)
    assert abs(float(torch.corrcoef(torch.stack([old.ravel(), new.ravel()]))[0, 1])) < 0.12


def test_a_draw_is_not_the_start_of_a_network_made_under_the_same_seed():
    torch.manual_seed(0)
    made = nn.Linear(4, 4)
    fresh = next(ReinitialisedNetwork().draw(made, 1, seed=0))
    assert not torch.equal(made.weight, fresh.weight)


def test_a_function_makes_networks_under_the_seed():
    first = [
        float(n.weight[0, 0].detach())
        for n in ReinitialisedNetwork().draw(lambda: nn.Linear(2, 2), 3, seed=5)
    ]
    again = [
        float(n.weight[0, 0].detach())
        for n in ReinitialisedNetwork().draw(lambda: nn.Linear(2, 2), 3, seed=5)
    ]
    assert first == again
    assert len(set(first)) == 3


def test_what_is_no_network_is_refused():
    with pytest.raises(NisslError, match="a str is no network"):
        next(ReinitialisedNetwork().draw("smollm2", 1))
    with pytest.raises(NisslError, match="moments"):
        next(ReinitialisedNetwork(how="moment").draw(nn.Linear(1, 1), 1))
