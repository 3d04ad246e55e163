"""Weight masks: the weights on which a task was planted are kept, and hardly any others."""

import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.circuits import weight_mask
from nissl.network import keep_weights
from nissl.training import Batches
from tiny import ids, tiny

QUIET = {"progress": False}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nissl.load(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), **QUIET)


def planted(net):
    """Return the mask of three hidden units: what they read, what they tell the first output."""
    read, write = (torch.zeros(8, 6, dtype=torch.bool), torch.zeros(3, 8, dtype=torch.bool))
    read[:3], write[0, :3] = True, True
    return {"0.weight": read, "2.weight": write}


def inputs(step):
    return torch.randn(64, 6, generator=torch.Generator().manual_seed(step))


def test_planted_weights_are_found():
    torch.manual_seed(0)
    net = nissl.load(nn.Linear(6, 8), **QUIET)
    true = torch.rand(8, 6) < 0.25
    with torch.no_grad():
        net.model.weight.copy_(net.model.weight.sign() + net.model.weight)
    wanted = (net.model.weight * true).detach()

    def loss(model, x):
        return (model(x) - x @ wanted.T - net.model.bias.detach()).square().mean()

    before = {name: p.clone() for name, p in net.model.named_parameters()}
    found = weight_mask(net, inputs, loss=loss, steps=200, learning_rate=0.1, **QUIET)
    assert torch.equal(found["weight"], true)
    assert all(torch.equal(p, before[name]) for name, p in net.model.named_parameters())
    assert all(p.grad is None for p in net.model.parameters())


def test_nothing_is_kept_where_nothing_is_wanted(net):
    found = weight_mask(net, inputs, loss=lambda model, x: 0 * model(x).sum(), **QUIET)
    assert not any(mask.any() for mask in found.values())


def test_what_was_trained_on_batches_is_kept_for_these_weights(net, tmp_path, monkeypatch):
    monkeypatch.setenv("NISSL_CACHE", str(tmp_path))
    options = {"loss": lambda model, batch: model(batch[0]).square().mean(), "steps": 3, **QUIET}
    found, kept = [], []
    for change in (0.0, 0.0, 1.0):
        with torch.no_grad():
            net.model[0].weight += change
        found.append(weight_mask(net, Batches(inputs(0), batch_size=8), **options))
        kept.append(sum(path.is_dir() for path in (tmp_path / "trained").iterdir()))
    assert kept == [1, 1, 2]
    assert all(torch.equal(mask, found[1][name]) for name, mask in found[0].items())


def test_edits_keep_or_remove(net):
    true, x = planted(net), inputs(0)
    first, last = net.model[0], net.model[2]
    with net.edit(*keep_weights(true)):
        kept = net.model(x)
    hidden = (x @ (first.weight * true["0.weight"]).T + first.bias).relu()
    assert torch.allclose(kept, hidden @ (last.weight * true["2.weight"]).T + last.bias)
    with net.edit(*keep_weights(true, others=True)):
        assert not first.weight[:3].any()
        assert first.weight[3:].all()


def test_embeddings_stay_by_default_and_names_are_checked():
    net = nissl.load(tiny("llama", dtype=torch.float32), **QUIET)
    options = {"loss": lambda model, x: model(input_ids=x).logits.sum() * 0, **QUIET, "steps": 1}
    found = weight_mask(net, lambda step: ids(), **options)
    assert set(found) == {n for n, p in net.model.named_parameters() if "proj" in n}
    with pytest.raises(NisslError, match="parameter"):
        weight_mask(net, lambda step: ids(), parameters=["proj"], **options)
