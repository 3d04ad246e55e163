"""A store answers the very run that it holds, and no other."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl.network import WeightEdit, ablate, add, clamp, gate, scale
from tiny import Letters, tiny

X = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32))
SITE = "blocks.1.mlp.neurons"
UP = torch.ones(16)


def small():
    torch.manual_seed(0)
    return nissl.load(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)))


def llama():
    return nissl.load(tiny("llama"), tokenizer=Letters())


def doubled(weight):
    return 2 * weight


def tripled(weight):
    return 3 * weight


EDITS = {
    "values": lambda: (clamp(f"{SITE}[3]", to=5.0), clamp(f"{SITE}[3]", to=-5.0)),
    "units": lambda: (ablate(f"{SITE}[3]"), ablate(f"{SITE}[4]")),
    "positions": lambda: (
        ablate(f"{SITE}[3]", positions=1),
        ablate(f"{SITE}[3]", positions=2),
    ),
    "items": lambda: (ablate(f"{SITE}[3]", items=0), ablate(f"{SITE}[3]", items=1)),
    "directions": lambda: (
        add(sites="blocks.1.resid_post", by=UP),
        add(sites="blocks.1.resid_post", by=-UP),
    ),
    "factors": lambda: (scale(f"{SITE}[3]", by=2.0), scale(f"{SITE}[3]", by=3.0)),
    "none": lambda: (ablate(f"{SITE}[3]"), []),
}


@pytest.mark.parametrize("kind", EDITS)
def test_other_edits_are_another_run(kind, tmp_path):
    net, texts = llama(), ["abcd", "bcde"]

    def kept(edit):
        with net.edit(edit):
            return nissl.record(net, texts, sites=SITE, store=tmp_path / "s", progress=False)

    one, other = EDITS[kind]()
    first = kept(one).values.copy()
    np.testing.assert_array_equal(kept(EDITS[kind]()[0]).values, first)
    with pytest.raises(nissl.NisslError):
        kept(other)


def test_other_inputs_of_the_same_shape_are_another_run(tmp_path):
    net = small()
    first = nissl.record(net, X, sites="1", store=tmp_path / "s", progress=False)
    again = nissl.record(net, X.clone(), sites="1", store=tmp_path / "s", progress=False)
    np.testing.assert_array_equal(first.values, again.values)
    with pytest.raises(nissl.NisslError):
        nissl.record(net, X + 1, sites="1", store=tmp_path / "s", progress=False)


@pytest.mark.parametrize("how", ["step", "load", "data", "replaced", "edit"])
def test_other_weights_are_another_run(how, tmp_path):
    net = small()
    before = net.weights_hash
    nissl.record(net, X, sites="1", store=tmp_path / "s", progress=False)
    assert net.weights_hash == before == small().weights_hash
    weight = net.model[0].weight
    if how == "step":
        net.model(X).sum().backward()
        torch.optim.SGD(net.model.parameters(), lr=0.1).step()
    elif how == "load":
        net.model.load_state_dict({k: v + 1 for k, v in net.model.state_dict().items()})
    elif how == "data":
        weight.data.mul_(2)
    elif how == "replaced":
        net.model[0].weight = nn.Parameter(weight.detach() * 2)
    if how == "edit":
        with net.edit(WeightEdit("0.weight", doubled)):
            twice = net.weights_hash
        with net.edit(WeightEdit("0.weight", tripled)):
            assert len({net.weights_hash, twice, before}) == 3
        assert net.weights_hash == before
        return
    assert net.weights_hash != before
    with pytest.raises(nissl.NisslError):
        nissl.record(net, X, sites="1", store=tmp_path / "s", progress=False)


def test_quantised_weights_are_told_apart():
    hashes = set()
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(5, 4))
        small = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)
        hashes.add(nissl.load(small).weights_hash)
    assert len(hashes) == 2


def test_a_gate_is_known_by_what_it_asks(tmp_path):
    net = llama()

    def asked(level):
        return gate(ablate(f"{SITE}[3]"), reads=SITE, when=lambda x: x.mean(-1) > level)

    def kept(edit):
        with net.edit(edit):
            nissl.record(net, ["abcd"], sites=SITE, store=tmp_path / "s", progress=False)

    kept(asked(-100.0))
    kept(asked(-100.0))
    with pytest.raises(nissl.NisslError):
        kept(asked(100.0))
