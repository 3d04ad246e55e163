"""Runs that end early give what whole runs give, and call no block behind the last wanted."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.network import LinearDictionary, Network, ablate, add, restart, stream
from nissl.network.run.calls import call_model
from nissl.network.run.forward import single_call, visited
from tiny import MODULES, TRANSFORMERS, ids, inputs, tiny

RESID = "blocks.1.resid_post"


def in_whole(net, x, sites, *, gradients=False):
    """What sites hold in a run to the end."""
    kept = {}

    def keep(site, x):
        kept[site.name] = x.clone()
        return x

    with visited(net, [(site, keep) for site in net.find(sites)], gradients=gradients):
        call_model(net, single_call(net, x))
    return kept


@contextmanager
def counted(net):
    """How often each block begins and returns."""
    began, ended = [0] * net.n_layers, [0] * net.n_layers
    handles = []
    for layer in range(net.n_layers):

        def begin(*_, layer=layer):
            began[layer] += 1

        def end(*_, layer=layer):
            ended[layer] += 1

        handles.append(net.block(layer).register_forward_pre_hook(begin))
        handles.append(net.block(layer).register_forward_hook(end))
    yield began, ended
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_site_is_what_it_is_in_a_whole_run(name):
    net, x = nissl.load(tiny(name)), inputs(name)
    for layer in range(net.n_layers):
        wanted = [s for s in net.named_sites if s.startswith(f"blocks.{layer}.")]
        with counted(net) as (began, ended):
            found = net.run(x, sites=wanted)
        assert began == ended == [1] * (layer + 1) + [0] * (net.n_layers - layer - 1)
        every = in_whole(net, x, wanted)
        for site in wanted:
            assert torch.equal(found[site].nan_to_num(), every[site].nan_to_num()), site
    outer = [s for s in ("embed", "final_norm", "logits") if s in net.named_sites]
    for site in outer:
        assert torch.equal(net.run(x, sites=site)[site], in_whole(net, x, site)[site])


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_recordings_and_restarts_end_with_the_last_block(name):
    net, x = nissl.load(tiny(name)), inputs(name)
    sites = ["blocks.0.attn.out", RESID]
    one_by_one = [in_whole(net, x[i : i + 1], sites) for i in range(2)]
    expected = {site: torch.cat([found[site] for found in one_by_one]) for site in sites}
    with counted(net) as (began, _):
        rec = nissl.record(net, x, sites=sites, batch_size=1, progress=False)
        assert began == [3, 3, 0]  # a probe and two batches
    for site in sites:
        ours = rec.values[:, rec["site"].values == site]
        assert np.array_equal(ours, expected[site].flatten(0, -2).numpy())
    seen = []
    with counted(net) as (began, _):
        stream(net, x, sites=sites[1], batch_size=1, consume=lambda c: seen.append(c.values.copy()))
        assert began[2] == 0
    assert np.array_equal(np.concatenate(seen), ours.astype(np.float32))
    with counted(net) as (began, _):
        again = restart(net, x, at="blocks.0.resid_post")
        assert began == [1, 0, 0]
        found = again.run(sites=sites[1])
        assert began[1:] == [1, 0]
    assert torch.equal(found[sites[1]], in_whole(net, x, sites)[sites[1]])


@pytest.mark.parametrize("name", MODULES)
def test_modules_of_unknown_order_stop_by_their_counts(name):
    net = nissl.load(tiny(name))
    x = torch.cat([inputs(name), inputs(name) + 1, inputs(name) - 1])
    calls = []
    handle = net.model.head.register_forward_hook(lambda *_: calls.append(1))
    first = {"conv": "conv1", "gru": "rnn", "lstm": "rnn", "attention": "attention"}
    site = (
        first.get(name) or {"repeated": "cell", "dictionary": "inner.a", "tuple": "inner.a"}[name]
    )
    n = []
    for sites in (site, [site, "head"]):
        rec = nissl.record(net, x, sites=sites, batch_size=2, progress=False)
        rec = rec if not isinstance(rec, dict) else rec[site]
        n.append((len(calls), rec.values[:, rec["site"].values == site]))
        calls.clear()
    handle.remove()
    # The probe and the first batch go to the end, which shows the counts.
    assert [n_calls for n_calls, _ in n] == [2, 4]
    assert np.array_equal(n[0][1], n[1][1])


def test_a_cell_that_is_called_again_is_not_cut_off():
    net, x = nissl.load(tiny("repeated")), inputs("repeated", batch=4)
    rec = nissl.record(net, x, sites="cell", batch_size=1, progress=False)
    assert rec["call"].values.tolist() == [0, 1, 2, 3, 4] * 4
    found = torch.cat([net.run(row[None], sites="cell")["cell"] for row in x])
    assert np.array_equal(rec.values, found.flatten(0, 1).numpy())


def test_gradients_flow_through_what_was_computed():
    net, x = nissl.load(tiny("llama")), ids()
    kept = []
    for run in (net.run, lambda x, **o: in_whole(net, x, **o)):
        found = run(x, sites=["blocks.0.resid_post", RESID], gradients=True)
        weight = net.block(0).mlp.up_proj.weight
        kept.append(torch.autograd.grad(found[RESID].square().sum(), weight)[0])
    assert torch.equal(*kept)


def test_edits_before_the_end_hold_and_later_ones_are_not_missed():
    net, x = nissl.load(tiny("gpt2")), ids()
    plain = net.run(x, sites=RESID)[RESID]
    early, late = ablate("blocks.0.mlp.neurons[3]"), ablate("blocks.2.mlp.neurons[3]")
    with net.edit(early, late), counted(net) as (began, _):
        expected = in_whole(net, x, RESID)[RESID]
        before = list(began)
        found = net.run(x, sites=RESID)[RESID]
        assert [b - a for a, b in zip(before, began, strict=True)] == [1, 1, 0]
    assert torch.equal(found, expected)
    assert not torch.equal(found, plain)
    for edit in (
        late,
        add(by=torch.ones(16), sites="final_norm"),
        ablate("blocks.2.attn.z[0]"),
    ):
        with net.edit(edit):
            assert torch.equal(net.run(x, sites=RESID)[RESID], plain)

    # Where the run does come to it, an edit that was not applied is still an error.
    def read(edit, *sites):
        with net.edit(edit):
            for site in sites:
                net.run(x, sites=site)

    early, late = (ablate(f"blocks.{layer}.mlp.neurons[3]", positions=20) for layer in (0, 2))
    with pytest.raises(NisslError, match="never came by"):
        read(early, RESID)
    read(late, RESID)
    with pytest.raises(NisslError, match="never came by"):
        read(late, RESID, "blocks.2.resid_post")
    # Nobody knows where a module outside the blocks is called: the whole run tells.
    net.model.add_module("unused", nn.Linear(2, 2))
    with pytest.raises(NisslError, match="never fired"):
        read(ablate(sites="unused"), RESID)


def test_many_edits_in_one_batch_end_early_too(recwarn):
    net, x = nissl.load(tiny("llama")), ids()
    edits = [ablate("blocks.0.mlp.neurons[1]"), ablate("blocks.1.mlp.neurons[2]"), None]
    with net.edit_batch(edits), counted(net) as (began, _):
        found = net.run(x, sites=RESID)[RESID].chunk(3)
        assert began == [1, 1, 0]
    assert torch.equal(found[2], net.run(x, sites=RESID)[RESID])
    assert not list(recwarn)


def test_features_decoded_to_a_later_site():
    net, x = nissl.load(tiny("llama")), ids()
    eye, zero = torch.eye(16, dtype=torch.float64), torch.zeros(16, dtype=torch.float64)
    coder = LinearDictionary(
        "blocks.0.resid_mid", eye, zero, eye, zero, site_out="blocks.1.mlp.out", name="coder"
    )
    net = net.with_dictionary(coder)
    site = "blocks.0.resid_mid.coder"
    wanted = [site, RESID]
    assert torch.equal(net.run(x, sites=site)[site], in_whole(net, x, site)[site])
    with net.edit(add(by=torch.ones(16), sites=site)):
        one, whole = net.run(x, sites=wanted), in_whole(net, x, wanted)
    assert all(torch.equal(one[s], whole[s]) for s in wanted)


def test_a_cache_that_the_caller_keeps_is_filled_to_the_last_block():
    from transformers import DynamicCache

    net, x = nissl.load(tiny("llama")), ids()
    cache = DynamicCache(config=net.model.config)
    net.run({"input_ids": x, "past_key_values": cache, "use_cache": True}, sites="blocks.0.attn.z")
    assert [layer.get_seq_length() for layer in cache.layers] == [7] * 3
    again = restart(net, x, at="blocks.0.resid_post", from_position=3)
    for _ in range(2):
        found = again.run(sites=RESID)[RESID]
    whole = net.run(x, sites=RESID)[RESID][:, 3:]
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)


def test_hooks_of_others_run_and_nothing_is_left_behind():
    net, x = nissl.load(tiny("gpt2")), ids()
    seen = []
    handles = [
        net.model.register_forward_hook(lambda *_: seen.append("end"), always_call=True),
        net.block(1).register_forward_hook(lambda *_: seen.append("block")),
    ]
    before = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.model.modules()]
    net.run(x, sites="blocks.1.attn.q")
    after = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.model.modules()]
    assert seen == ["block", "end"] or seen == ["block"]  # the body alone was run
    assert before == after
    # A run of the model by hand comes to its end, and what watches batches begins anew.
    with net.edit(ablate("blocks.0.mlp.neurons[3]", positions=-1)):
        net.run(x, sites="blocks.0.resid_post")
        logits = net.model(x).logits
        assert torch.equal(logits, net.run(x, sites="logits")["logits"])
    for handle in handles:
        handle.remove()


def test_models_whose_blocks_are_called_twice_run_to_the_end():
    model = tiny("llama")
    model.model.layers[2] = model.model.layers[0]
    net = Network(model)
    with counted(net) as (began, _):
        net.run(ids(), sites=RESID)
    assert began == [2, 1, 2]
