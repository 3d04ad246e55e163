"""Edits come back from disk as they were; what cannot be saved or was damaged is named."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.network import (
    ActivityAbove,
    LearnedEdit,
    LowRank,
    SteeringVector,
    UnitScale,
    WeightEdit,
    ablate,
    add,
    clamp,
    gate,
    load_edit,
    patch,
    project,
    save_edit,
    scale,
    threshold,
    top_k,
)
from tiny import ids, tiny

SITE, NEURONS = "blocks.1.resid_post", "blocks.1.mlp.neurons"
UNITS = [f"{NEURONS}[3]", f"{NEURONS}[1]", "blocks.2.mlp.neurons[5]"]
TOKENS = ids(3, 6)


class Found:
    units = UNITS


def seeded(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
    return module


def edits(net):
    other = net.run(ids(3, 6, seed=1), sites=[SITE, "blocks.1.attn.pattern"])
    rec = nissl.record(net, ids(3, 6, seed=1), sites=SITE, progress=False)
    vector = torch.linspace(-1, 1, 16)
    two = torch.tensor([[1.0] * 16, list(range(16))])
    return {
        "zero": ablate(Found()),
        "value": ablate("blocks.0.mlp.neurons[2]", to=float("inf"), positions=99),
        "heads": ablate(sites="attn.z", heads=[0, 2], positions=-1, items=[0, 2]),
        "mean of inputs": ablate(sites=SITE, to="mean", of=ids(2, 4)),
        "mean of lists": ablate(sites=SITE, to="mean", of=[[4, 5, 6], [7, 8, 9]]),
        "mean of a recording": ablate(sites=SITE, to="mean", of=rec),
        "samples": ablate(sites=SITE, to="resample", of={SITE: other[SITE]}, seed=4),
        "clamp": clamp(UNITS, to=np.array([1.0, 2.0, 3.0])),
        "bounds": clamp(sites=NEURONS, between=(None, torch.full((24,), 0.1))),
        "scale": scale(sites=NEURONS, indices=np.arange(24) > 9, by=-0.3, positions=slice(1, None)),
        "add": add(sites=SITE, by={SITE: vector.bfloat16()}, positions=torch.arange(6) % 2 == 1),
        "project": project(two, sites=[SITE], onto=True, items=slice(0, 2)),
        "threshold": threshold(sites=NEURONS, above=0.2),
        "top k": top_k(sites=NEURONS, k=3),
        "patch": patch({SITE: other[SITE]}, positions=[1, 2], from_positions=[3, -1]),
        "patch of a recording": patch(rec, units=[f"{SITE}[4]"]),
        "patch of a pattern": patch(other, sites="blocks.1.attn.pattern", heads=1),
        "gate": gate(
            [scale(sites=NEURONS, by=2.0), add(sites=SITE, by=1.0)],
            reads="embed",
            when=ActivityAbove(0.1, unit=3),
            over="prompt",
        ),
        "gate on a direction": gate(
            scale(sites=SITE, by=2.0), reads=SITE, when=ActivityAbove(0.0, direction=vector)
        ),
        "weights": WeightEdit("lm_head.weight", torch.ones(40, 16)),
        "steering vector": LearnedEdit(seeded(SteeringVector(16)), sites=SITE, positions=[1, -1]),
        "unit scale": LearnedEdit(seeded(UnitScale(2)), UNITS[:2]),
        "low rank": LearnedEdit(seeded(LowRank(16, 2)).double(), sites=SITE, items=1),
        "several": [ablate(UNITS), LearnedEdit(seeded(SteeringVector(16)), sites=SITE)],
    }


NAMES = list(edits(nissl.load(tiny("llama"))))


@pytest.fixture(scope="module")
def net():
    return nissl.load(tiny("llama"))


def logits(net, edit):
    with torch.no_grad(), net.edit(edit):
        return net.model(TOKENS).logits


@pytest.mark.parametrize("name", NAMES)
def test_every_edit_comes_back(net, tmp_path, name):
    edit, path = edits(net)[name], tmp_path / "deep" / "edit.json"
    save_edit(edit, path)
    loaded = load_edit(str(path))
    assert type(loaded) is type(edit)
    assert repr(loaded) == repr(edit)
    if name == "value":  # at a position that never comes by
        for one in (edit, loaded):
            with pytest.raises(NisslError, match="never came by"):
                logits(net, one)
        assert loaded.rule.values.given == float("inf")
    else:
        found = logits(net, loaded)
        assert torch.equal(found, logits(net, edit))
        assert not torch.equal(found, net.model(TOKENS).logits)
    again = tmp_path / "again.json"
    save_edit(loaded, again)
    for suffix in (".json", ".safetensors"):
        first, second = path.with_suffix(suffix), again.with_suffix(suffix)
        assert first.exists() == second.exists()
        assert not first.exists() or first.read_bytes() == second.read_bytes()


def test_what_was_learned_goes_on_being_learned(tmp_path):
    edit = LearnedEdit(seeded(LowRank(16, 2)), sites=SITE)
    save_edit(edit, tmp_path / "edit.json")
    loaded = load_edit(tmp_path / "edit.json")
    for (name, a), (other, b) in zip(
        edit.named_parameters(), loaded.named_parameters(), strict=True
    ):
        assert name == other
        assert torch.equal(a, b)
        assert b.requires_grad


def test_numbers_need_no_second_file(tmp_path):
    save_edit(scale(sites=SITE, by=0.1), tmp_path / "edit.json")
    assert [p.name for p in tmp_path.iterdir()] == ["edit.json"]


class Own:
    reads, writes = (), (SITE,)

    def begin(self, batch): ...

    def apply(self, site, x, positions, phase):
        return -x


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Own(), "Own cannot be saved"),
        (gate(ablate(sites=SITE), reads=SITE, when=lambda x: x[..., 0] > 0), "edit.when"),
        (ablate(sites=SITE, positions=lambda p: p > 2), "edit.places.positions"),
        (WeightEdit("lm_head.weight", torch.zeros_like), "edit.change"),
        ([ablate(sites=SITE), Own()], r"edit\[1\]"),
        (LearnedEdit(nn.Linear(16, 16), sites=SITE), "Linear cannot be saved"),
    ],
)
def test_functions_and_classes_of_ones_own_are_refused(tmp_path, edit, said):
    with pytest.raises(NisslError, match=said):
        save_edit(edit, tmp_path / "edit.json")
    assert not list(tmp_path.iterdir())


def damaged(whole, how):
    part = whole["edit"]["Change"]
    if how == "version":
        whole["version"] = 2
    elif how == "format":
        whole["format"] = "other"
    elif how == "kind":
        part["rule"] = {"System": {"command": "ls"}}
    elif how == "two kinds":
        part["rule"] |= {"Mean": {}}
    elif how == "missing":
        del part["units"]
    elif how == "more":
        part["other"] = 1
    elif how == "tensor":
        part["rule"]["Added"]["by"]["PerUnit"]["given"] = {"tensor": "9"}
    elif how == "no edit":
        whole["edit"] = 3
    elif how == "units":
        part["units"] = [1, 2]
    return whole


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("version", "version 2"),
        ("format", "no edit"),
        ("kind", "no part is called 'System'"),
        ("two kinds", "2 kinds"),
        ("missing", "damaged"),
        ("more", "damaged"),
        ("tensor", "damaged"),
        ("no edit", "int is no edit"),
        ("units", "damaged"),
    ],
)
def test_damaged_files_are_named(tmp_path, how, said):
    path = tmp_path / "edit.json"
    save_edit(add(sites=SITE, by=torch.ones(16)), path)
    path.write_text(json.dumps(damaged(json.loads(path.read_text()), how)))
    with pytest.raises(NisslError, match=said):
        load_edit(path)


def test_missing_and_cut_files_are_named(tmp_path):
    path, tensors = tmp_path / "edit.json", tmp_path / "edit.safetensors"
    with pytest.raises(NisslError, match="no such file"):
        load_edit(path)
    with pytest.raises(NisslError, match=r"ends in \.json"):
        save_edit(ablate(sites=SITE), tmp_path / "edit.pt")
    save_edit(add(sites=SITE, by=torch.ones(16)), path)
    whole = tensors.read_bytes()
    tensors.write_bytes(whole[:-1] + b"\x01")
    with pytest.raises(NisslError, match="tensors are damaged"):
        load_edit(path)
    tensors.unlink()
    with pytest.raises(NisslError, match="missing"):
        load_edit(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(NisslError, match="not JSON"):
        load_edit(path)
