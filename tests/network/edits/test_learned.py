"""Learned edits: what was planted is learned, by the gradients of autograd, and only there."""

import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.network import (
    LearnedEdit,
    LowRank,
    SteeringVector,
    UnitScale,
    ablate,
    add,
    frozen,
    gate,
    scale,
)
from nissl.training import Batches, train
from nissl.training.keeping import configuration_hash
from tiny import ids, tiny

SITE = "blocks.1.resid_post"
TOKENS = ids(24, 6)


def loss_to(net, planted):
    """How far the logits are from those under a planted edit."""
    with torch.no_grad(), net.edit(planted):
        wanted = {tuple(row.tolist()): net.model(row[None]).logits[0] for row in TOKENS}

    def loss(edit, batch):
        (rows,) = batch
        target = torch.stack([wanted[tuple(row.tolist())] for row in rows])
        with frozen(net), net.edit(edit):
            return (net.model(rows).logits - target).square().mean()

    return loss


def learn(net, edit, planted, **options):
    options = {"steps": 250, "learning_rate": 0.05, "schedule": "cosine", "cache": False} | options
    batches = Batches(TOKENS, batch_size=12)
    return train(edit, batches, loss=loss_to(net, planted), progress=False, **options)


def test_a_planted_direction_is_learned_and_the_network_stays():
    net = nissl.load(tiny("llama"))
    before = {name: p.clone() for name, p in net.model.named_parameters()}
    direction = torch.randn(16, generator=torch.Generator().manual_seed(3))
    edit = LearnedEdit(SteeringVector(16), sites=SITE, positions=slice(1, None))
    done = learn(net, edit, add(sites=SITE, by=direction, positions=slice(1, None)))
    assert done.losses[-1] < 1e-4 * done.losses[0]
    found = edit.change.vector.detach()
    assert torch.cosine_similarity(found, direction, dim=0) > 0.999
    for name, p in net.model.named_parameters():
        assert torch.equal(p, before[name])
        assert p.grad is None
        assert p.requires_grad


def test_planted_gates_of_units_are_learned():
    net, site = nissl.load(tiny("llama")), "blocks.2.mlp.neurons"
    units = [f"{site}[{i}]" for i in (3, 7, 11)]
    edit = LearnedEdit(UnitScale(3), units)
    learn(net, edit, scale(units, by=[0.0, 1.0, 2.0]))
    torch.testing.assert_close(
        edit.change.factors.detach(), torch.tensor([0.0, 1.0, 2.0]), atol=0.02, rtol=0
    )


def test_a_low_rank_map_learns_to_take_a_direction_out():
    net = nissl.load(tiny("llama"))
    edit = LearnedEdit(LowRank(16, 1), sites=SITE)
    done = learn(net, edit, nissl.project(torch.arange(16.0), sites=SITE), steps=300)
    assert done.losses[-1] < 0.01 * done.losses[0]


@pytest.mark.parametrize("module", [UnitScale(16), SteeringVector(16), LowRank(16, 2)])
def test_gradients_are_those_by_hand(module):
    net, x = nissl.load(tiny("llama")), ids(2, 5)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    with frozen(net), net.edit(LearnedEdit(module, sites=SITE, items=0)):
        net.model(x).logits.square().sum().backward()
    found = [p.grad.clone() for p in module.parameters()]

    leaves = [p.detach().double().requires_grad_() for p in module.parameters()]

    def by_hand(block, args, output):
        row = output[0]
        if isinstance(module, UnitScale):
            row = row * leaves[0]
        elif isinstance(module, SteeringVector):
            row = row + leaves[0]
        else:
            row = row + row @ leaves[0].T @ leaves[1]
        return torch.stack([row, output[1]])

    handle = net.block(1).register_forward_hook(by_hand)
    expected = torch.autograd.grad(net.model(x).logits.square().sum(), leaves)
    handle.remove()
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b.float())


def test_learned_edits_go_with_others():
    net, x = nissl.load(tiny("llama")), ids(2, 5)
    vector = SteeringVector(16)
    nn.init.normal_(vector.vector, generator=torch.Generator().manual_seed(0))
    edit, same = LearnedEdit(vector, sites=SITE), add(sites=SITE, by=vector.vector.detach())
    silence = ablate("blocks.2.mlp.neurons[4]")
    with torch.no_grad():
        with net.edit(same, silence):
            expected = net.model(x).logits
        with net.edit(nn.ModuleList([edit]), silence):
            assert torch.equal(net.model(x).logits, expected)
        with net.edit_batch([None, [edit, silence]]):
            torch.testing.assert_close(net.model(x).logits[2:], expected)
        for chosen in (edit, same):
            with net.edit(gate(chosen, reads="embed", when=lambda e: e[..., 0] > 0)):
                found = net.model(x).logits
            if chosen is edit:
                gated = found
        assert torch.equal(found, gated)


@pytest.mark.real
def test_a_direction_planted_in_smollm2_is_learned(smollm2):
    net, site = smollm2, "blocks.20.resid_post"
    tokens = torch.tensor([net.tokenizer("The capital of France is").input_ids])
    direction = 20 * torch.randn(576, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), net.edit(add(sites=site, by=direction, positions=-1)):
        wanted = net.model(tokens).logits[:, -1].log_softmax(-1)

    def loss(edit, batch):
        with frozen(net), net.edit(edit):
            said = net.model(tokens).logits[:, -1].log_softmax(-1)
        return (wanted.exp() * (wanted - said)).sum()

    edit = LearnedEdit(SteeringVector(576), sites=site, positions=-1)
    options = {"steps": 15, "learning_rate": 3.0, "cache": False, "progress": False}
    done = train(edit, lambda step: None, loss=loss, **options)
    assert done.losses[-1] < 0.2 * done.losses[0]
    assert all(p.grad is None for p in net.model.parameters())


def test_the_cache_of_training_tells_places_apart():
    places = (
        {"sites": SITE},
        {"sites": "blocks.0.resid_post"},
        {"sites": SITE, "positions": -1},
        {"sites": SITE, "positions": lambda p: p > 2},
        {"sites": SITE, "items": torch.arange(5000) == 2500},
        {"sites": SITE, "items": torch.arange(5000) == 2501},
        {"units": [f"{SITE}[{i}]" for i in range(16)]},
    )
    made = [LearnedEdit(SteeringVector(16), **place) for place in places]
    hashes = {configuration_hash(edit, len, len, {}) for edit in made}
    assert len(hashes) == len(places)


def test_what_does_not_fit_is_refused():
    net, x = nissl.load(tiny("llama")), ids(2, 5)
    with (
        pytest.raises(NisslError, match="of 5 units is put at 16"),
        net.edit(LearnedEdit(SteeringVector(5), sites=SITE)),
    ):
        net.model(x)
    flat = nn.Sequential(nn.Flatten())
    with (
        pytest.raises(NisslError, match="learned edit made"),
        net.edit(LearnedEdit(flat, sites=SITE)),
    ):
        net.model(x)
    with pytest.raises(NisslError, match="units or sites"):
        LearnedEdit(SteeringVector(5))
    with pytest.raises(NisslError, match="no rank 6"):
        LowRank(5, 6)
