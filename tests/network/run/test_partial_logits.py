"""Logits that are not read are spared: those that are, and their gradients, stay what they are."""

import numpy as np
import pytest
import torch

import nissl
from nissl.behaviour import Behaviour, Patching
from nissl.network import scale
from nissl.network.gradients import gradients
from nissl.network.run.calls import call_model, sequence_call
from nissl.network.run.partial_logits import partial_logits
from tiny import CAUSAL, tiny

IDS = [np.arange(5, 12), np.arange(9, 15)]
TOKENS = torch.tensor([4, 9, 30])


def last_logits(net, call, **options):
    with torch.no_grad(), partial_logits(net, call, last=2, tokens=TOKENS, **options) as less:
        return call_model(net, less).logits


@pytest.mark.parametrize("name", CAUSAL)
def test_logits_that_are_read_are_those_of_a_whole_run(name):
    net = nissl.load(tiny(name))
    call = sequence_call(net, IDS)
    with torch.no_grad():
        whole = net.model(**call.kwargs).logits
    found = last_logits(net, call)
    assert found.shape[-1] == whole.shape[-1]
    assert found.shape[1] in (2, whole.shape[1])
    torch.testing.assert_close(found[:, -2:, TOKENS], whole[:, -2:, TOKENS], rtol=0, atol=1e-12)
    others = [i for i in range(whole.shape[-1]) if i not in TOKENS]
    assert found[:, -2:, others].isnan().all()
    assert not any("forward" in module.__dict__ for module in net.model.modules())


def test_nothing_is_spared_of_logits_that_are_recorded_or_edited():
    net = nissl.load(tiny("llama"))
    call = sequence_call(net, IDS)
    assert last_logits(net, call).isnan().any()
    assert not last_logits(net, call, sites=net.find("logits")).isnan().any()
    with net.edit(scale(sites="logits", by=2.0)):
        assert not last_logits(net, call).isnan().any()


@pytest.mark.parametrize("metric", ["logit_difference", "log_probability", "kl"])
@pytest.mark.parametrize("name", ["llama", "gemma3_text", "gpt2", "granite"])
def test_gradients_and_values_of_a_metric_are_those_of_whole_logits(name, metric):
    net = nissl.load(tiny(name))
    if name == "gemma3_text":
        net.model.config.final_logit_softcapping = 0.5
    answers = {"right": [[5, 6], [7]], "wrong": [8, 7]}
    pairs = Behaviour(net, IDS, [row[::-1].copy() for row in IDS], metric=metric, **answers)
    patching, site = Patching(pairs, "denoising"), "blocks.1.mlp.neurons"
    assert np.diff(patching.lengths).any()
    whole = gradients(net, patching.call, sites=site, metric=patching.total)
    found = patching.gradients(site)
    torch.testing.assert_close(found[site], whole[site], rtol=1e-9, atol=1e-14)
    assert found[site].abs().max() > 1e-6
    (output,) = patching.run()
    torch.testing.assert_close(patching.metric(output), patching.value, rtol=0, atol=1e-12)
