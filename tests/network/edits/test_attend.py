"""Attend: patterns are written as told, of the heads named and no others."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import attend
from nissl.network.edits.attend import PATTERNS
from tiny import tiny

QUIET = {"progress": False}
HEAD = "blocks.0.attn.z[head 1]"


def test_patterns_by_hand():
    ids = torch.tensor([[7, 8, 7, 9, 7]])
    made = {name: make(ids)[0] for name, make in PATTERNS.items()}
    for pattern in made.values():
        assert torch.equal(pattern.triu(1), torch.zeros(5, 5))
        assert torch.allclose(pattern.sum(-1), torch.ones(5))
    assert made["previous_token"].argmax(-1).tolist() == [0, 0, 1, 2, 3]
    assert made["induction"][4].tolist() == [0, 0.5, 0, 0.5, 0]
    assert made["induction"][:4].argmax(-1).tolist() == [0, 0, 1, 0]
    assert made["uniform"][3].tolist() == [0.25] * 4 + [0]


def test_only_the_heads_named_are_changed():
    net = nissl.load(tiny("llama"), **QUIET)
    ids, site = torch.tensor([[5, 6, 7, 5, 6]]), "blocks.1.attn.pattern"
    before = net.run(ids, sites=site)[site]
    with net.edit(attend(["blocks.1.attn.z[head 0]", "blocks.1.attn.z[head 3]"], "self")):
        after = net.run(ids, sites=site)[site]
    assert torch.equal(before[:, :, 1:3], after[:, :, 1:3])
    assert torch.equal(after[0, :, 3], torch.eye(5, dtype=after.dtype))


def test_what_cannot_be():
    with pytest.raises(NisslError, match="not a head"):
        attend("blocks.0.mlp.neurons[3]", "self")
    with pytest.raises(NisslError, match="self"):
        attend(HEAD, "selv")
    net = nissl.load(tiny("llama"), **QUIET)
    four = attend("blocks.0.attn.z[head 4]", "self")
    with pytest.raises(NisslError, match="no head 4"), net.edit(four):
        net.run([[5, 6, 7]], sites="logits")
    narrow = attend(HEAD, lambda ids: torch.ones(1, 2, 2))
    with pytest.raises(NisslError, match="attention of shape"), net.edit(narrow):
        net.run([[5, 6, 7]], sites="logits")
