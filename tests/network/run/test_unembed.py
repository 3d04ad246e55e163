"""The last block's stream, unembedded, is what the network says."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import ablate, unembed
from tiny import CAUSAL, inputs, tiny


@pytest.mark.parametrize("name", CAUSAL)
def test_the_last_stream_reads_as_the_logits(name):
    net = nissl.load(tiny(name))
    last = f"blocks.{net.n_layers - 1}.resid_post"
    found = net.run(inputs(name), sites=[last, "logits"])
    torch.testing.assert_close(unembed(net)(found[last]), found["logits"])


def test_half_precision_is_read_in_float32_and_edits_are_not_seen():
    net = nissl.load(tiny("llama", dtype=torch.bfloat16))
    stream = torch.randn(2, 16)
    expected = unembed(net)(stream)
    assert expected.dtype == torch.float32
    with net.edit(ablate(sites="final_norm")):
        net.run(inputs("llama"), sites="final_norm")
        torch.testing.assert_close(unembed(net)(stream), expected)


def test_a_network_without_a_head_is_refused():
    with pytest.raises(NisslError, match="no unembedding"):
        unembed(nissl.load(tiny("bert")))


@pytest.mark.parametrize("name", ["helium"])
def test_a_family_whose_final_norm_or_scale_is_not_known_is_refused(name):
    net = nissl.load(tiny(name))
    with pytest.raises(NisslError, match=r"final norm of .* is not known"):
        unembed(net)


@pytest.mark.parametrize(("name", "scale"), [("cohere", 0.5), ("granite", 8.0)])
def test_scaled_logits_are_refused_though_the_sites_have_names(name, scale):
    key = {"cohere": "logit_scale", "granite": "logits_scaling"}[name]
    llama = nissl.load(tiny("llama")).architecture
    with pytest.raises(NisslError, match=f"scales its logits \\({key}={scale}"):
        unembed(nissl.load(tiny(name, **{key: scale}), architecture=llama))
