"""Masks and gates: what is needed comes first, what is pushed and stays open facilitates."""

import numpy as np
import pytest
import torch
from torch import nn

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour, Patching, make_task
from nissl.circuits import circuit, effects, head_gates, mask, mask_edges
from nissl.network import cut_edges, edges_of, nodes_of
from nissl.network.edits.nodes import MixedNodes
from nissl.specimens.planted import planted_circuit
from tiny import tiny

QUIET = {"progress": False}


def pairs_of(net, *, n=6, seed=0):
    rng = np.random.default_rng(seed)
    clean = [rng.integers(3, 40, 6) for _ in range(n)]
    corrupted = [row.copy() for row in clean]
    for row in corrupted:
        row[2] = (row[2] + 5) % 37 + 3
    return Behaviour(net, clean, corrupted, right=[5] * n, wrong=[9] * n)


def test_gates_mix_what_is_and_what_replaces_it():
    net = nissl.load(tiny("llama"))
    nodes = nodes_of(net, "attn.z")
    gates = torch.ones(len(nodes), dtype=torch.float64)
    gates[5] = 0.0  # head 1 of block 1
    ids = torch.tensor([[5, 6, 7]])
    with net.edit(MixedNodes(nodes, gates)):
        gated = net.run(ids, sites="logits")["logits"]
    with net.edit(nissl.ablate("blocks.1.attn.z[head 1]")):
        assert torch.equal(gated, net.run(ids, sites="logits")["logits"])


def test_two_units_that_only_work_together_come_first():
    """Other units have small effects, which must not move as far."""

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Identity()

        def forward(self, x):
            x = self.hidden(x)
            both = x[:, 0] * x[:, 1]
            return torch.stack([both + 0.05 * x[:, 2:].sum(-1), torch.zeros_like(both)], -1)

    net = nissl.load(Product())
    torch.manual_seed(0)
    x = torch.rand(8, 8) / 10
    clean = x.clone()
    clean[:, :2] = 1.0
    behaviour = Behaviour(net, clean, x * 0, right=[0] * 8, wrong=[1] * 8)
    patching = Patching(behaviour, "noising")
    nodes = nodes_of(net, "hidden", inputs=clean)
    order = mask(patching, nodes, steps=40)[0]
    assert sorted(order.topk(2).indices.tolist()) == [0, 1]
    with pytest.raises(NisslError, match="knows no positions"):
        mask(patching, nodes, positions=True)


def test_a_trained_order_of_edges_is_at_least_as_faithful_as_its_beginning():
    net = nissl.load(tiny("llama"))
    options = {"tested_on": pairs_of(net), "size": 0.2, **QUIET}
    behaviour = pairs_of(net)
    trained, begun = (
        circuit(behaviour, method=m, **options).scores(n_random=0, **QUIET)
        for m in (mask_edges, "eap_ig")
    )
    off = [abs(1 - float(t["faithfulness"].iloc[0])) for t in (trained, begun)]
    assert off[0] <= off[1] + 0.05


def test_a_mask_of_edges_keeps_the_right_ones():
    """Where one edge alone carries the change, it comes first."""
    net = nissl.load(tiny("llama"))
    with torch.no_grad():  # nothing but the embedding reaches the logits
        for block in net.model.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
    ids = [np.asarray([5, 6, 7 + i]) for i in range(4)]
    others = [np.asarray([5, 6, 20 + i]) for i in range(4)]
    behaviour = Behaviour(net, ids, others, right=[5] * 4, wrong=[9] * 4)
    edges = edges_of(net)
    order = mask_edges(Patching(behaviour, "noising"), edges, steps=5)[0]
    row, column = edges.index(["embed -> logits"])
    assert order.argmax() == row * order.shape[1] + column
    with net.edit(cut_edges("embed -> logits", to=Patching(behaviour).given(edges.writer_sites))):
        assert torch.allclose(behaviour.clean(), behaviour.corrupted_value)


def test_gates_agree_with_ablation():
    net = nissl.load(tiny("llama"))
    behaviour = pairs_of(net, n=8)
    table = head_gates(net, behaviour, penalty=0.05, steps=60, **QUIET).table.set_index("unit")
    assert table[["facilitation", "interference", "irrelevance"]].stack().between(0, 1).all()

    def loss():
        logits = net.run(behaviour.clean_call, sites="logits")["logits"][:, -1]
        return float(nn.functional.cross_entropy(logits, behaviour.right[:, 0]))

    whole = loss()

    def harm(unit):
        with net.edit(nissl.ablate(unit)):
            return loss() - whole

    assert harm(table["facilitation"].idxmax()) > 0
    assert harm(table["interference"].idxmax()) < 0
    assert table["facilitation"].corr(table["interference"]) < 0


@pytest.fixture
def planted():
    """Return a network that says the previous token, and says it not by another head as well."""
    net = nissl.load("planted-previous-token", **QUIET)
    task = make_task(net, planted_circuit("previous_token").pairs, name="previous", n=16, **QUIET)
    attention, true, other = net.model.model.layers[1].self_attn, slice(64, 96), slice(0, 32)
    with torch.no_grad():
        for part in (attention.q_proj, attention.k_proj, attention.v_proj):
            part.weight[other] = part.weight[true]
        attention.o_proj.weight[:, other] = -0.5 * attention.o_proj.weight[:, true]
    return net, task


def test_planted_heads_facilitate_interfere_or_do_neither(planted):
    net, task = planted
    found = head_gates(net, task, steps=60, **QUIET).table.set_index("unit")
    helps, harms = "blocks.1.attn.z[head 2]", "blocks.1.attn.z[head 0]"
    assert found.loc[helps, "facilitation"] > 0.9
    assert found.loc[harms, "interference"] > 0.9
    rest = found.drop([helps, harms])
    assert rest["irrelevance"].min() > 0.8
    assert rest[["facilitation", "interference"]].max(axis=None) < 0.2


def test_nothing_is_left_where_the_contrast_needs_the_same(planted):
    net, task = planted
    found = head_gates(net, task, contrast=task, steps=60, **QUIET).table
    assert found["irrelevance"].min() > 0.8


def test_gates_of_a_contrast_and_of_texts():
    net = nissl.load(tiny("llama"))
    texts = [[5, 6, 7, 8], [9, 10]]
    found = head_gates(net, texts, contrast=[[11, 12, 13]], steps=3, **QUIET)
    assert found.provenance["contrast"]
    again = head_gates(net, texts, contrast=[[11, 12, 13]], steps=3, **QUIET)
    assert again.table.equals(found.table)
    assert not any(p.grad is not None for p in net.model.parameters())
    with pytest.raises(NisslError, match="no next token"):
        head_gates(net, [[5], [6]], steps=1, **QUIET)


def test_masks_are_methods_of_effects():
    net = nissl.load(tiny("llama"))
    found = effects(pairs_of(net, n=8), method="mask", positions="all", test=None, **QUIET)
    assert found.table["indirect_effect"].gt(0).all()
