"""Models spread over devices, some of whose weights lie on disk between calls."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import WeightEdit, ablate, restart, scale
from nissl.network.gradients import gradients
from tiny import ids, tiny

SITES = ["blocks.1.mlp.neurons", "blocks.1.attn.heads", "blocks.1.attn.q_rot", "blocks.2.resid_mid"]
SITES += ["blocks.2.resid_post", "logits"]


@pytest.fixture(scope="module", params=["cpu", "disk", "all on disk"])
def spread(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = tiny("gpt2")
    model.save_pretrained(folder)
    parts = ["wte", "wpe", "h.0", "h.1", "h.2", "ln_f"]
    if request.param == "cpu":
        device_map = {"": "cpu"}
    else:
        disk = parts if request.param == "all on disk" else ["h.1", "h.2"]
        device_map = {f"transformer.{p}": "disk" if p in disk else "cpu" for p in parts}
        device_map["lm_head"] = device_map["transformer.wte"]
    net = nissl.load(folder, device_map=device_map, dtype="float64")
    offloaded = any(p.device.type == "meta" for p in net.model.parameters())
    assert offloaded == (request.param != "cpu")
    return net, nissl.load(model), offloaded


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_runs_records_and_edits_are_those_of_the_model_in_memory(spread):
    net, whole, _ = spread
    x = ids()
    close(net.run(x, sites=SITES), whole.run(x, sites=SITES))
    rec = nissl.record(net, x, sites=SITES[0], progress=False)
    plain = nissl.record(whole, x, sites=SITES[0], progress=False)
    close(torch.from_numpy(rec.values), torch.from_numpy(plain.values))
    edits = [ablate(f"{SITES[0]}[3]"), scale(sites=SITES[1], heads=2, by=-1.0)]
    edits += [scale(sites=SITES[3], by=1.5, positions=-1)]
    found = []
    for one in (net, whole):
        with one.edit(*edits):
            found.append((one.run(x, sites=SITES), one.generate(x, max_new_tokens=4)))
    close(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    close(net.run(x, sites=SITES), whole.run(x, sites=SITES))


def test_restarts_and_gradients_too(spread):
    net, whole, _ = spread
    x, at = ids(), "blocks.1.resid_post"
    found = []
    for one in (net, whole):
        again = restart(one, x, at=at)
        found.append(again.run(again.values * 2, sites=SITES[-2:]))
    close(found[0], found[1])
    close(net.run(x, sites=SITES), whole.run(x, sites=SITES))
    of = [gradients(one, x, sites=at, metric=lambda y: y.tanh().sum())[at] for one in (net, whole)]
    close(of[0], of[1])


def test_weights_on_disk_are_not_edited_silently(spread):
    net, whole, offloaded = spread
    assert net.weights_hash == whole.weights_hash
    name = "transformer.h.1.mlp.c_proj.weight"
    if offloaded:
        with (
            pytest.raises(NisslError, match="kept on disk"),
            net.edit(WeightEdit(name, torch.zeros(1))),
        ):
            pass


def test_runs_that_end_early_leave_no_weights_in_memory(spread):
    net, whole, _ = spread
    at = "blocks.1.mlp.neurons"
    devices = [p.device.type for p in net.model.parameters()]
    close(net.run(ids(), sites=at), whole.run(ids(), sites=at))
    assert [p.device.type for p in net.model.parameters()] == devices
    close(net.run(ids(), sites=SITES), whole.run(ids(), sites=SITES))
