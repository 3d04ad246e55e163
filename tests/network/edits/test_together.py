"""Ablations together against one after the other, on every architecture."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import ablate, ablated_together, restart, scale, scaled_together
from tiny import CAUSAL, N_LAYERS, ids, tiny


def groups_from(layer):
    last = f"blocks.{N_LAYERS - 1}.mlp.neurons"
    first = f"blocks.{layer}.mlp.neurons"
    return [[f"{first}[3]", f"{last}[7]"], [f"{last}[0]"], [], [f"{first}[{i}]" for i in range(9)]]


def one_by_one(net, groups, **given):
    rows = []
    for group in groups:
        with torch.inference_mode(), net.edit(*([ablate(group)] if group else [])):
            rows.append(net.model(**given).logits)
    return torch.cat(rows)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", [name for name in CAUSAL if name != "mixtral"])
def test_each_group_has_the_logits_that_it_has_alone(name, layer):
    net, groups = nissl.load(tiny(name)), groups_from(layer)
    tokens = ids(3, 7)
    with torch.inference_mode(), ablated_together(net, groups):
        found = net.model(input_ids=tokens).logits
    torch.testing.assert_close(found, one_by_one(net, groups, input_ids=tokens))
    torch.testing.assert_close(net.model(input_ids=tokens).logits, net.model(tokens).logits)


@pytest.mark.parametrize("name", [name for name in CAUSAL if name != "mixtral"])
def test_what_was_read_before_is_copied_too(name):
    net, groups, tokens = nissl.load(tiny(name)), groups_from(1), ids(3, 7)
    again = restart(net, tokens, at="blocks.0.resid_pre", from_position=5)
    for _ in range(2):
        with torch.inference_mode(), ablated_together(net, groups):
            found = again.run(sites="final_norm")["final_norm"]
        parts = []
        for group in groups:
            with torch.inference_mode(), net.edit(*([ablate(group)] if group else [])):
                parts.append(again.run(sites="final_norm")["final_norm"])
        torch.testing.assert_close(found, torch.cat(parts))


def test_padding_is_copied_too():
    net, groups = nissl.load(tiny("llama")), groups_from(1)
    tokens, mask = ids(2, 6), torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    with torch.inference_mode(), ablated_together(net, groups):
        found = net.model(input_ids=tokens, attention_mask=mask).logits
    expected = one_by_one(net, groups, input_ids=tokens, attention_mask=mask)
    real = mask.bool().repeat(len(groups), 1)
    torch.testing.assert_close(found[real], expected[real])


def test_blocks_before_the_first_that_is_touched_read_one_copy():
    net, groups = nissl.load(tiny("llama")), groups_from(1)
    seen = []
    handles = [
        net.block(layer).register_forward_hook(lambda m, a, out: seen.append(len(out)))
        for layer in range(N_LAYERS)
    ]
    with torch.inference_mode(), ablated_together(net, groups):
        net.model(input_ids=ids(2, 5))
    for handle in handles:
        handle.remove()
    assert seen == [2, 2 * len(groups), 2 * len(groups)]


@pytest.mark.parametrize("name", ["conv", "dictionary"])
def test_any_module_is_copied_from_its_input_on(name):
    from tiny import inputs

    net, x = nissl.load(tiny(name)), inputs(name)
    site = {"conv": "conv1", "dictionary": "inner:hidden"}[name]
    with torch.inference_mode(), ablated_together(net, [[], [f"{site}[1]"]]):
        plain, edited = net.run(x, sites="head")["head"].chunk(2)
    torch.testing.assert_close(plain, net.run(x, sites="head")["head"])
    with net.edit(ablate(f"{site}[1]")):
        torch.testing.assert_close(edited, net.run(x, sites="head")["head"])


def test_what_cannot_be_together_is_refused():
    net = nissl.load(tiny("llama"))
    with pytest.raises(NisslError, match="no group"), ablated_together(net, []):
        pass
    beyond = [["blocks.0.mlp.neurons[999]"]]
    with pytest.raises(NisslError, match="no unit 999"), ablated_together(net, beyond):
        pass
    with net.edit(ablate("blocks.0.mlp.neurons[0]")):
        with pytest.raises(NisslError, match="other edits"), ablated_together(net, [[], []]):
            pass
        with torch.inference_mode(), ablated_together(net, [["blocks.1.mlp.neurons[0]"]]):
            found = net.model(input_ids=ids(2, 5)).logits
    both = ["blocks.0.mlp.neurons[0]", "blocks.1.mlp.neurons[0]"]
    torch.testing.assert_close(found, one_by_one(net, [both], input_ids=ids(2, 5)))


def test_groups_are_scaled_each_by_its_own_number():
    net, groups = nissl.load(tiny("llama")), groups_from(1)
    by, tokens = [0.0, 3.0, 2.0, -0.5], ids(3, 7)
    with torch.inference_mode(), scaled_together(net, groups, by):
        found = net.model(input_ids=tokens).logits
    for group, factor, rows in zip(groups, by, found.chunk(4), strict=True):
        edits = [scale(group, by=factor)] if group else []
        with torch.inference_mode(), net.edit(*edits):
            torch.testing.assert_close(rows, net.model(input_ids=tokens).logits)
    with pytest.raises(NisslError, match="3 numbers for 4 groups"):
        scaled_together(net, groups, by[:3]).__enter__()
