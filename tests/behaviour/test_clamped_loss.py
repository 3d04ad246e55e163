"""Clamped training: gradients pass, and training sees the clamp."""

import numpy as np
import torch

import nissl
from nissl.behaviour import clamped_loss
from nissl.circuits import head_scores
from nissl.network import attend, patch
from nissl.training import next_token_loss, small_language_model, train
from tiny import tiny

QUIET = {"progress": False}
HEAD = "blocks.0.attn.z[head 1]"


def test_the_loss_is_that_of_the_edited_network_and_modes_stay():
    model = tiny("gpt2", resid_pdrop=0.5)
    ids = torch.tensor([[5, 6, 7, 5, 6]])
    net = nissl.load(model, **QUIET)
    edit = attend(HEAD, "uniform")
    with net.edit(edit):
        expected = next_token_loss(model, (ids,))
    assert torch.equal(clamped_loss(next_token_loss, edit)(model, (ids,)), expected)
    model.train()
    noisy = clamped_loss(next_token_loss, edit)(model, (ids,))
    assert model.training
    assert not torch.equal(noisy, expected)


def test_no_gradient_reaches_what_the_pattern_was_computed_from():
    model = tiny("llama", num_hidden_layers=1, num_key_value_heads=4)
    clamped_loss(next_token_loss, attend(HEAD, "previous_token"))(
        model, (torch.tensor([[5, 6, 7, 8]]),)
    ).backward()
    attention = model.model.layers[0].self_attn
    for weight in (attention.q_proj.weight, attention.k_proj.weight):
        assert not weight.grad[4:8].any()
        assert weight.grad[:4].any()
    assert attention.v_proj.weight.grad[4:8].any()


def test_activity_of_another_network_is_held():
    finished, model = nissl.load(tiny("llama"), **QUIET), tiny("llama")
    with torch.no_grad():
        for parameter in model.model.layers[0].parameters():
            parameter.mul_(0.5)
    ids, site = torch.tensor([[5, 6, 7, 8]]), "blocks.0.resid_post"

    def as_finished(batch):
        return patch(finished.run(batch[0], sites=site))

    loss = clamped_loss(next_token_loss, as_finished)(model, (ids,))
    assert torch.allclose(loss, next_token_loss(finished.model, (ids,)))
    assert not torch.allclose(loss, next_token_loss(model, (ids,)))


def test_induction_need_not_wait_for_a_previous_token_head_that_is_given():
    def batch(step):
        rng = np.random.default_rng(step)
        tokens, period = rng.integers(0, 16, (32, 24)), rng.integers(5, 10, (32, 1))
        return (torch.from_numpy(np.take_along_axis(tokens, np.arange(24) % period, 1)),)

    def formed(*clamps):
        sizes = {"d_model": 32, "n_layers": 2, "n_heads": 2, "d_mlp": 1, "context": 24}
        model = small_language_model(vocabulary=16, tie_word_embeddings=False, **sizes)
        for block in model.model.layers:
            block.mlp.down_proj.weight.requires_grad_(False).zero_()
        loss = clamped_loss(next_token_loss, *clamps) if clamps else next_token_loss
        train(model, batch, loss=loss, steps=140, learning_rate=3e-3, cache=False, **QUIET)
        net = nissl.load(model, **QUIET)
        with net.edit(*clamps):
            found = head_scores(net, n=16, length=8, test=None, **QUIET).table
        return found.loc[found["layer"] == 1, "mean"].max()

    assert formed(attend(HEAD, "previous_token")) > 0.5
    assert formed() < 0.35
    assert formed(attend(HEAD, "self")) < 0.35
