"""One module at several places: a site is the place, not the module."""

import copy

import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.network import ablate
from nissl.network.gradients import gradients


class Block(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.lin, self.act = nn.Linear(4, 4), act

    def forward(self, x):
        return x + self.act(self.lin(x))


class Listed(nn.Module):
    """Blocks in a list, which is called by nobody, and the same module once more at the root."""

    def __init__(self, act, at_root=True):
        super().__init__()
        self.blocks = nn.ModuleList(Block(act) for _ in range(3))
        if at_root:
            self.act = act

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.act(x) if hasattr(self, "act") else x


def chain(act):
    return nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 4), act)


MODELS = {
    "blocks in a chain": (
        lambda a: nn.Sequential(*(Block(a) for _ in range(3))),
        ["0.act", "1.act", "2.act"],
    ),
    "blocks in a list": (Listed, ["blocks.0.act", "blocks.1.act", "blocks.2.act", "act"]),
    "layers of a chain": (chain, ["1", "3", "5"]),
    "a chain in a chain": (
        lambda a: nn.Sequential(nn.Linear(4, 4), chain(a)),
        ["1.1", "1.3", "1.5"],
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_shared_nonlinearity_is_that_of_its_place(name):
    torch.manual_seed(0)
    make, paths = MODELS[name]
    shared, x = make(nn.Tanh()), torch.randn(5, 4)
    apart = copy.deepcopy(shared)  # the same, each place with a module of its own
    for path in dict(apart.named_modules(remove_duplicate=False)):
        parent, _, own = path.rpartition(".")
        if isinstance(apart.get_submodule(path), nn.Tanh):
            setattr(apart.get_submodule(parent), own, nn.Tanh())
    ours, theirs = nissl.load(shared), nissl.load(apart)
    assert set(paths) <= set(ours.sites()["site"])
    for path in paths:
        for site in (path, f"{path}:in"):
            a, b = ours.run(x, sites=site), theirs.run(x, sites=site)
            assert torch.equal(a[site], b[site])
            a, b = (nissl.record(n, x, sites=site, progress=False) for n in (ours, theirs))
            assert (a.values == b.values).all()
            with ours.edit(ablate(sites=site)), theirs.edit(ablate(sites=site)):
                assert torch.equal(ours.model(x), theirs.model(x))
                assert torch.equal(ours.model(x), theirs.model(x))  # a second call
        how = {"sites": path, "metric": lambda y: y.square().sum()}
        a, b = (gradients(n, x, **how) for n in (ours, theirs))
        assert torch.equal(a[path], b[path])
    two = [paths[0], paths[2]]
    with ours.edit(ablate(sites=two)), theirs.edit(ablate(sites=two)):
        assert torch.equal(ours.model(x), theirs.model(x))


class Twice(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.first, self.lin, self.second = act, nn.Linear(4, 4), act

    def forward(self, x):
        return self.second(self.lin(self.first(x)))


def test_places_that_cannot_be_told_apart_are_refused_by_name():
    for model, path in (
        (Twice(nn.Tanh()), "first"),
        (nn.Sequential(*[Block(nn.Tanh())] * 2), "0.act"),
    ):
        net = nissl.load(model)
        with pytest.raises(NisslError, match="cannot be told apart"), net.edit(ablate(sites=path)):
            pass
        with pytest.raises(NisslError, match="cannot be told apart"):
            nissl.record(net, torch.randn(5, 4), sites=path, progress=False)
    tied = nissl.load(nn.Sequential(*[Block(nn.Tanh())] * 2))
    x = torch.randn(5, 4)
    found = tied.run(x, sites=["0", "1"])
    assert torch.equal(found["0"], tied.model[0](x))
    assert torch.equal(found["1"], tied.model(x))


def test_a_place_from_which_the_module_is_never_called_is_said():
    model = nn.Sequential(Block(nn.Tanh()), Block(nn.Tanh()))
    model[1].unused = nn.Sequential(model[0].act)
    net = nissl.load(model)
    with pytest.raises(NisslError, match=r"it is also 0\.act"):
        net.run(torch.randn(5, 4), sites="1.unused.0")


def test_a_cell_called_again_and_again_at_one_place_is_edited_at_every_call():
    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.Linear(4, 4)

        def forward(self, x):
            return self.cell(self.cell(x))

    net, x = nissl.load(Steps()), torch.randn(5, 4)
    assert net.run(x, sites="cell")["cell"].shape == (5, 2, 4)
    with net.edit(ablate(sites="cell")):
        assert not net.model(x).any()
