"""Folded weights say what the network computes: the norm before, factors and the logits' scale."""

import pytest
import torch

import nissl
from nissl.network.sites.weights import folded_unembedding, folded_weights
from tiny import CAUSAL, MIXTURES, in_doubles, tiny

GATED = [n for n in CAUSAL if n not in (*MIXTURES, "opt", "gpt2", "gpt_neox_sequential")]


@pytest.mark.parametrize("name", GATED)
def test_read_weights_see_the_stream_as_the_norm_shows_it(name):
    """Two streams whose norms divide by the same differ by the folded weights' product."""
    net = nissl.load(in_doubles(tiny(name)))
    block, matrices = net.block(1), net.architecture.matrices
    norms = [getattr(block, n, None) for n in matrices.norm]
    norm = next((n for n in norms if n is not None), torch.nn.Identity())
    stream = torch.randn(1, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    stream = stream - stream.mean()  # mean and size are the same for both signs
    read = net.input_weights("blocks.1.mlp.neurons")
    expected = (norm(stream) - norm(-stream)) / 2 @ read.T
    folded = folded_weights(net, "blocks.1.mlp.neurons").read.double()
    size = stream.square().mean().sqrt() if matrices.norm else 1.0
    torch.testing.assert_close(stream / size @ folded.T, expected, rtol=1e-3, atol=1e-3)
    if net.architecture.name in ("Cohere", "StableLM", "Phi", "GPT-NeoX"):
        assert folded.sum(1).abs().max() < 1e-5  # such a norm takes the mean off


@pytest.mark.parametrize("name", ["cohere", "granite", "phi3", "olmo"])
def test_a_step_along_the_last_stream_moves_logits_by_the_folded_unembedding(name):
    net = nissl.load(in_doubles(tiny(name)))
    unembed = nissl.network.unembed(net)
    stream = torch.randn(1, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    stream = stream - stream.mean()
    moved = (unembed(stream) - unembed(-stream)) / 2
    folded = folded_unembedding(net).double()
    size = stream.square().mean().sqrt()
    torch.testing.assert_close(stream / size @ folded.T, moved, rtol=1e-3, atol=1e-3)
