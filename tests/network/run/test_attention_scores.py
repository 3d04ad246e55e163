"""Attention scores: their softmax is the pattern, sinks included."""

import pytest
import torch

import nissl
from nissl.network.run.attention_scores import attention_scores
from nissl.network.run.forward import single_call
from tiny import tiny


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "gemma3_text", "gpt_oss"])
def test_their_softmax_is_the_pattern(name):
    net = nissl.load(tiny(name), progress=False)
    call = single_call(net, [[5, 6, 7, 8], [9, 10]])
    site = "blocks.1.attn.pattern"
    scores = attention_scores(net, call, site)[site]
    expected = net.run(call, sites=site)[site]
    found = scores.softmax(-1)[..., : expected.shape[-1]]
    real = call.mask[:, :, None, None] & torch.ones_like(expected, dtype=torch.bool)
    assert torch.allclose(found[real], expected[real], atol=1e-6)


def test_edits_in_force_are_seen():
    net, site = nissl.load(tiny("llama"), progress=False), "blocks.1.attn.pattern"
    with net.edit(nissl.scale("blocks.1.attn.q", by=0.0)):  # no query tells one key from another
        scores = attention_scores(net, single_call(net, [[5, 6, 7, 8]]), site)[site]
    assert not scores[0, -1].any()
