"""Prompts that share their beginning, asked under edits of all tokens, against whole prompts."""

import numpy as np
import pytest
import torch

import nissl
from nissl.behaviour.prefix_sharing import of_one_length, shared_prefixes
from nissl.behaviour.restarted_prompts import RestartedPrompts, restarted_prompts
from nissl.network import ablate, unembed
from tiny import CAUSAL, VOCABULARY, tiny

RNG = np.random.default_rng(0)
SHARED = RNG.integers(3, VOCABULARY, 11)
PROMPTS = [np.append(SHARED, RNG.integers(3, VOCABULARY, n)) for n in (3, 3, 2, 3)]
FIRST = np.arange(3, 7)


@pytest.mark.parametrize("name", [name for name in CAUSAL if name != "mixtral"])
@pytest.mark.parametrize("at", ["blocks.0.attn.z", "blocks.1.mlp.neurons", "blocks.2.resid_pre"])
def test_what_is_shared_is_read_once_and_edited_too(name, at):
    net = nissl.load(tiny(name))
    read = unembed(net)
    order = [
        r
        for _, rows in shared_prefixes(PROMPTS)
        for part in of_one_length(PROMPTS, rows, 2)
        for r in part
    ]
    asked = restarted_prompts(net, PROMPTS, FIRST, read=read, at=at, batch_size=2)
    assert [batch.prefix is not None for batch in asked] == [True] * 3
    whole = [RestartedPrompts(net, [PROMPTS[r]], FIRST[[r]], read=read, at=at) for r in order]
    edits = [[], [ablate(sites=at)], [ablate("blocks.2.mlp.neurons[3]"), ablate(sites=at)], []]
    said = []
    for edit in edits:
        with net.edit(*edit):
            said.append(np.concatenate([batch.answers()[0] for batch in asked]))
            slow = np.concatenate([one.answers()[0] for one in whole])
        np.testing.assert_allclose(said[-1], slow, atol=1e-5)
    np.testing.assert_array_equal(said[0], said[-1])
    assert np.abs(said[1] - said[0]).max() > 1e-4


def test_the_shared_beginning_is_read_in_one_row():
    net, seen = nissl.load(tiny("llama")), []
    asked = restarted_prompts(
        net, PROMPTS, FIRST, read=unembed(net), at="blocks.1.mlp.neurons", batch_size=8
    )
    handle = net.block(2).register_forward_hook(
        lambda module, args, out: seen.append(tuple(args[0].shape[:2]))
    )
    for batch in asked:
        batch.answers()
    handle.remove()
    assert sum(rows * tokens for rows, tokens in seen) == 2 * 11 + 3 * 3 + 2
    assert torch.is_tensor(asked[0].restart.values)
