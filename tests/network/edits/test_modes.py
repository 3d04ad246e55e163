"""Gradient checkpointing and training mode: what is computed again, and what is drawn."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import nissl
from nissl import NisslError
from nissl.network import scale
from nissl.network.gradients import gradients
from tiny import ids, tiny

SITE = "blocks.1.mlp.neurons"


class Own(nn.Module):
    """Two parts, each computed again for the backward pass."""

    def __init__(self, reentrant):
        super().__init__()
        self.reentrant = reentrant
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        for part in (self.a, self.b):
            x = checkpoint(part, x, use_reentrant=self.reentrant).tanh()
        return x


def checkpointed(kind, reentrant):
    """A model, what it reads, a site in a part that is computed again, and a weight before it."""
    torch.manual_seed(0)
    if kind == "own":
        model, x = Own(reentrant), torch.randn(5, 3, requires_grad=True)
        return model, lambda: model(x).square().sum(), "a", model.a.weight
    model = tiny("llama")
    how = {"use_reentrant": reentrant}
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)
    model.train()
    embedded = model.get_input_embeddings()(ids()).detach().requires_grad_()
    weight = model.model.layers[1].mlp.down_proj.weight
    return model, lambda: model(inputs_embeds=embedded).logits.square().sum(), SITE, weight


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("kind", ["own", "llama"])
def test_a_backward_pass_after_the_edit_is_refused_and_inside_is_right(kind, reentrant):
    model, loss, site, weight = checkpointed(kind, reentrant)
    flags = [module.training for module in model.modules()]
    net = nissl.load(model)
    for module, training in zip(model.modules(), flags, strict=True):
        module.training = training
    edit = scale(sites=site, by=3.0)
    with net.edit(edit):
        loss().backward()
    inside = weight.grad.clone()
    model.zero_grad()
    with net.edit(edit):
        number = loss()
    with pytest.raises(NisslError, match="inside the `with` block"):
        number.backward()
    # By hand, nothing computed again.
    module = net.model.get_submodule(net.find(site)[0].hook_point.path)
    if kind == "own":
        handle = module.register_forward_hook(lambda m, a, y: 3.0 * y)
    else:
        handle = module.register_forward_pre_hook(lambda m, a: (3.0 * a[0],))
    model.zero_grad()
    loss().backward()  # the next call takes the guard away; a plain hook is there both times
    handle.remove()
    torch.testing.assert_close(inside, weight.grad)
    model.zero_grad()
    loss().backward()
    assert not torch.allclose(inside, weight.grad)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradients_at_sites_that_are_computed_again_are_refused(reentrant):
    net, x = nissl.load(Own(reentrant)), torch.randn(5, 3, requires_grad=True)
    with pytest.raises(NisslError, match="gradient_checkpointing_disable"):
        gradients(net, x, sites="a", metric=lambda y: y.sum())
    with pytest.raises(NisslError, match="gradient_checkpointing_disable"):
        net.run(x, sites="a", gradients=True)
    assert net.run(x, sites="a")["a"].shape == (5, 4)


@pytest.mark.filterwarnings("ignore")
def test_gradients_of_a_model_in_training_are_those_of_evaluation():
    net = nissl.load(tiny("llama"))
    expected = gradients(net, ids(), sites=SITE, metric=lambda y: y.square().sum())
    net.model.gradient_checkpointing_enable()
    net.model.train()
    found = gradients(net, ids(), sites=SITE, metric=lambda y: y.square().sum())
    torch.testing.assert_close(found[SITE], expected[SITE])
    assert net.model.training


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.drop, self.norm = nn.Linear(3, 8), nn.Dropout(0.5), nn.BatchNorm1d(8)

    def forward(self, x):
        return self.norm(self.drop(self.a(x)))


@pytest.mark.parametrize("part", ["", "drop"])
def test_training_mode_draws_nothing_and_learns_nothing_in_our_calls(part):
    net, x = nissl.load(Dropping()), torch.randn(64, 3)
    expected = net.model(x).detach()
    net.model.get_submodule(part).train()
    flags = [module.training for module in net.model.modules()]
    before = net.model.norm.running_mean.clone()
    for _ in range(2):
        rec = nissl.record(net, x, sites="norm", progress=False)
        np.testing.assert_array_equal(rec.values, expected)
        assert torch.equal(net.run(x, sites="norm")["norm"], expected)
    assert [module.training for module in net.model.modules()] == flags
    assert torch.equal(net.model.norm.running_mean, before)
    broken = nissl.load(Dropping())
    broken.model.train()
    with pytest.raises(NisslError):
        broken.run(x, sites="nothing")
    with pytest.raises(NisslError, match="failed on its inputs"):
        broken.run(torch.randn(4, 7), sites="norm")
    assert all(module.training for module in broken.model.modules())


def test_generation_in_training_mode_is_that_of_evaluation():
    net = nissl.load(tiny("gpt2", attn_pdrop=0.5, resid_pdrop=0.5))
    expected = net.generate([[5, 6, 7]], max_new_tokens=6)
    net.model.train()
    assert net.generate([[5, 6, 7]], max_new_tokens=6) == expected
    assert net.model.training
