"""Edits reach no other thread, no copy, and nothing after they are left in any order."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from nissl import NisslError
from nissl.network import Network, WeightEdit, ablate, clamp, scale
from tiny import ids, tiny


@pytest.fixture
def net():
    return Network(tiny("llama", dtype=torch.float32))


def test_threads_take_turns(net):
    """The reference is one call after another."""
    inputs = [(ids() + i) % 40 for i in range(4)]
    sites = ["blocks.0.mlp.neurons", "blocks.1.resid_post"]
    right = [net.run(x, sites=sites[i % 2]) for i, x in enumerate(inputs)]

    def run(n):
        i = n % 4
        found = net.run(inputs[i], sites=sites[i % 2])
        return all(torch.equal(found[s], right[i][s]) for s in right[i])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(60)))


def test_an_edit_does_not_reach_another_thread(net):
    plain = net.model(ids()).logits
    entered, leave = threading.Event(), threading.Event()

    def edits():
        with net.edit(ablate(sites="blocks.0.mlp.neurons")):
            net.run(ids(), sites="logits")
            entered.set()
            leave.wait(20)

    thread = threading.Thread(target=edits)
    thread.start()
    entered.wait(20)
    try:
        with pytest.raises(NisslError, match="another thread"):
            net.run(ids(), sites="logits")
        with pytest.raises(NisslError, match="another thread"):
            net.model(ids())
    finally:
        leave.set()
        thread.join()
    assert torch.equal(net.model(ids()).logits, plain)
    assert torch.equal(net.run(ids(), sites="logits")["logits"], plain)


def test_a_model_under_an_edit_is_not_copied(net):
    plain = net.model(ids()).logits
    with net.edit(ablate(sites="blocks.0.mlp.neurons")):
        for thing in (net.model, net):
            with pytest.raises(NisslError, match="under an edit"):
                copy.deepcopy(thing)
    assert torch.equal(copy.deepcopy(net).model(ids()).logits, plain)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [0, 2, 1]])
def test_edits_left_in_any_order_are_undone(order):
    """At every moment those still in force act, as if they alone had been entered."""
    net = Network(nn.Sequential(nn.Linear(1, 1, bias=False)))
    with torch.no_grad():
        net.model[0].weight.fill_(1.0)
    changes = [lambda w: w * 2, lambda w: w + 1, lambda w: w * 5]
    blocks = [net.edit(WeightEdit("0.weight", change), scale(sites="0", by=i + 2.0))
              for i, change in enumerate(changes)]  # fmt: skip
    for block in blocks:
        block.__enter__()
    left = [0, 1, 2]
    for leaves in order:
        net.model(torch.ones(1, 1))
        blocks[leaves].__exit__(None, None, None)
        left.remove(leaves)
        weight = torch.ones(())
        for i in left:
            weight = changes[i](weight)
        factor = 1.0
        for i in left:
            factor *= i + 2
        assert net.model[0].weight.item() == weight.item()
        assert net.model(torch.ones(1, 1)).item() == weight.item() * factor
        assert len(net.editing) == len(left)
    assert "_nissl_edited" not in vars(net.model)
    assert not any(net.changed_weights.values())


def test_two_values_of_one_unit_left_crosswise(net):
    plain = net.run(ids(), sites="logits")["logits"]
    first = net.edit(clamp("blocks.0.mlp.neurons[0]", to=5.0))
    second = net.edit(clamp("blocks.1.mlp.neurons[0]", to=5.0))
    first.__enter__()
    second.__enter__()
    net.run(ids(), sites="logits")
    first.__exit__(None, None, None)
    net.run(ids(), sites="logits")
    second.__exit__(None, None, None)
    assert torch.equal(net.run(ids(), sites="logits")["logits"], plain)
