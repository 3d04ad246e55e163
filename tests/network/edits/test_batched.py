"""Many edits in one batch against one after the other, on every architecture."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import (
    ablate,
    add,
    clamp,
    gate,
    patch,
    project,
    restart,
    scale,
    top_k,
)
from nissl.network.edits.weight_edit import WeightEdit
from tiny import CAUSAL, MIXTURES, N_LAYERS, ids, tiny


def groups_from(layer):
    last = f"blocks.{N_LAYERS - 1}.mlp.neurons"
    first = f"blocks.{layer}.mlp.neurons"
    return [[f"{first}[3]", f"{last}[7]"], [f"{last}[0]"], [], [f"{first}[{i}]" for i in range(9)]]


def ablations(groups):
    return [ablate(group) if group else None for group in groups]


def logits(net, **given):
    out = net.model(**given)
    return out.logits if hasattr(out, "logits") else out.last_hidden_state


def one_by_one(net, edits, **given):
    rows = []
    for edit in edits:
        with torch.no_grad(), net.edit(*([] if edit is None else [edit])):
            rows.append(logits(net, **given))
    return torch.cat(rows)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", [name for name in CAUSAL if name not in MIXTURES])
def test_each_group_has_the_logits_that_it_has_alone(name, layer):
    net, edits = nissl.load(tiny(name)), ablations(groups_from(layer))
    tokens = ids(3, 7)
    with torch.inference_mode(), net.edit_batch(edits):
        found = net.model(input_ids=tokens).logits
    torch.testing.assert_close(found, one_by_one(net, edits, input_ids=tokens))
    torch.testing.assert_close(net.model(input_ids=tokens).logits, net.model(tokens).logits)


@pytest.mark.parametrize(
    "name", [name for name in CAUSAL if name not in MIXTURES and "bigcode" not in name]
)
def test_what_was_read_before_is_copied_too(name):
    net, edits, tokens = nissl.load(tiny(name)), ablations(groups_from(1)), ids(3, 7)
    again = restart(net, tokens, at="blocks.0.resid_pre", from_position=5)
    for _ in range(2):
        with torch.inference_mode(), net.edit_batch(edits):
            found = again.run(sites="final_norm")["final_norm"]
        parts = []
        for edit in edits:
            with torch.inference_mode(), net.edit(*([edit] if edit else [])):
                parts.append(again.run(sites="final_norm")["final_norm"])
        torch.testing.assert_close(found, torch.cat(parts))


def test_padding_is_copied_too():
    net, edits = nissl.load(tiny("llama")), ablations(groups_from(1))
    tokens, mask = ids(2, 6), torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    with torch.inference_mode(), net.edit_batch(edits):
        found = net.model(input_ids=tokens, attention_mask=mask).logits
    expected = one_by_one(net, edits, input_ids=tokens, attention_mask=mask)
    real = mask.bool().repeat(len(edits), 1)
    torch.testing.assert_close(found[real], expected[real])


def test_blocks_before_the_first_that_is_touched_read_one_copy():
    net, edits = nissl.load(tiny("llama")), ablations(groups_from(1))
    seen = []
    handles = [
        net.block(layer).register_forward_hook(lambda m, a, out: seen.append(len(out)))
        for layer in range(N_LAYERS)
    ]
    with torch.inference_mode(), net.edit_batch(edits):
        net.model(input_ids=ids(2, 5))
    for handle in handles:
        handle.remove()
    assert seen == [2, 2 * len(edits), 2 * len(edits)]


@pytest.mark.parametrize("name", ["conv", "dictionary"])
def test_any_module_is_copied_from_its_input_on(name):
    from tiny import inputs

    net, x = nissl.load(tiny(name)), inputs(name)
    site = {"conv": "conv1", "dictionary": "inner:hidden"}[name]
    with torch.inference_mode(), net.edit_batch([None, ablate(f"{site}[1]")]):
        plain, edited = net.run(x, sites="head")["head"].chunk(2)
    torch.testing.assert_close(plain, net.run(x, sites="head")["head"])
    with net.edit(ablate(f"{site}[1]")):
        torch.testing.assert_close(edited, net.run(x, sites="head")["head"])


def test_what_cannot_be_in_one_batch_is_refused():
    net = nissl.load(tiny("llama"))
    silence = ablate("blocks.1.mlp.neurons[0]")
    with pytest.raises(NisslError, match="no copy"), net.edit_batch([]):
        pass
    beyond = ablate("blocks.0.mlp.neurons[999]")
    with pytest.raises(NisslError, match="no unit 999"), net.edit_batch([beyond]):
        pass
    weight = WeightEdit("lm_head.weight", torch.zeros_like)
    with pytest.raises(NisslError, match="weights are the same"), net.edit_batch([weight, None]):
        pass
    with net.edit(ablate("blocks.0.mlp.neurons[0]")):
        with pytest.raises(NisslError, match="other edits"), net.edit_batch([None, None]):
            pass
        with torch.inference_mode(), net.edit_batch([silence]):
            found = net.model(input_ids=ids(2, 5)).logits
    both = ablate(["blocks.0.mlp.neurons[0]", "blocks.1.mlp.neurons[0]"])
    torch.testing.assert_close(found, one_by_one(net, [both], input_ids=ids(2, 5)))
    with (
        net.edit_batch([silence, None]),
        pytest.raises(NisslError, match="2 copies"),
        net.edit(silence),
    ):
        pass
    with net.edit_batch([silence, None]), pytest.raises(NisslError, match="one batch"):
        nissl.record(net, ids(2, 5), sites="embed", progress=False)
    never = ablate(sites="embed", positions=[9])
    with pytest.raises(NisslError, match="never came by"), net.edit_batch([None, never]):
        net.model(input_ids=ids(2, 5))


def test_a_run_that_ends_early_misses_no_later_edit():
    net, tokens = nissl.load(tiny("llama")), ids(2, 5)
    early, late = (ablate(sites=f"blocks.{k}.mlp.neurons", positions=0) for k in (0, 2))
    read = {"reads": "embed", "when": lambda x: x[..., 0] > 0}
    with net.edit_batch([early, late]):
        assert len(net.run(tokens, sites="blocks.1.resid_post")["blocks.1.resid_post"]) == 4
    with net.edit(gate([early, late], **read)):
        net.run(tokens, sites="blocks.1.resid_post")
    never = ablate(sites="blocks.0.mlp.neurons", positions=9)
    for editing in (net.edit(gate([late, never], **read)), net.edit_batch([late, never])):
        with pytest.raises(NisslError, match="never came by"), editing:
            net.run(tokens, sites="blocks.1.resid_post")


def test_groups_are_scaled_each_by_its_own_number():
    net, groups = nissl.load(tiny("llama")), groups_from(1)
    edits = [
        scale(group, by=factor) if group else None
        for group, factor in zip(groups, [0.0, 3.0, 2.0, -0.5], strict=True)
    ]
    with torch.inference_mode(), net.edit_batch(edits):
        found = net.model(input_ids=ids(3, 7)).logits
    torch.testing.assert_close(found, one_by_one(net, edits, input_ids=ids(3, 7)))


class FirstToken:
    """Adds to each item the first token's number, which it is told at the beginning alone."""

    reads, writes = (), ("blocks.1.resid_post",)

    def begin(self, batch):
        self.first = batch.ids[:, 0]

    def apply(self, site, x, positions, phase):
        return x + self.first[:, None, None]


def every_kind(net, tokens):
    """An edit of every kind for one block; each is alone in its copy of the batch."""
    at, width = "blocks.1.", net.find("blocks.1.resid_post")[0].width
    gaps = torch.linspace(-1, 1, width)
    other = net.run(tokens.flip(1), sites=[at + "resid_post"])
    neurons = at + "mlp.neurons"
    if neurons not in net.named_sites:
        neurons = at + "moe.experts[1].neurons"
    stateful = gate(
        scale(sites=at + "resid_post", by=-1.0),
        reads=at + "resid_pre",
        when=lambda x: x[..., 0] > 0,
        over="prompt",
    )
    return [
        None,
        ablate(sites=at + "attn.heads", heads=1),
        [scale(sites=neurons, by=2.0, items=1), ablate(f"{neurons}[3]", positions=-1)],
        clamp(sites=neurons, between=(None, 0.1)),
        add(sites=at + "resid_post", by=gaps, positions=[1, -2], items=0),
        patch(other, positions=slice(1, 3)),
        stateful,
        project(gaps, sites=at + "resid_mid"),
        ablate(sites=neurons, to="resample", of=tokens, positions=slice(2, None)),
        top_k(sites=neurons, k=4),
        FirstToken(),
        ablate(sites="logits" if "logits" in net.named_sites else neurons, indices=[5]),
    ]


@pytest.mark.parametrize("start", ["at a block", "at the input"])
@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "mixtral", "gemma3_text"])
def test_edits_of_every_kind_do_what_they_do_alone(name, start):
    net, tokens = nissl.load(tiny(name)), ids(3, 7)
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 6 + [0]])
    edits = every_kind(net, tokens)[: None if start == "at the input" else -1]
    with torch.no_grad(), net.edit_batch(edits):
        found = logits(net, input_ids=tokens, attention_mask=mask)
    expected = one_by_one(net, edits, input_ids=tokens, attention_mask=mask)
    real = mask.bool().repeat(len(edits), 1)
    # Norms of Gemma compute in floats.
    near = {"rtol": 1e-3, "atol": 1e-5} if name == "gemma3_text" else {}
    torch.testing.assert_close(found[real], expected[real], **near)


@pytest.mark.parametrize("use_cache", [True, False])
def test_each_copy_generates_what_it_generates_alone(use_cache):
    net = nissl.load(tiny("llama"))
    prompts, at = [[5, 8, 3], [9, 30, 4, 11]], "blocks.1.resid_post"
    edits = [
        None,
        add(sites=at, by=torch.arange(16.0), positions=-1, items=0),
        scale(sites=at, by=-2.0, positions=[1, 5]),
        gate(scale(sites=at, by=-1.0), reads="embed", when=lambda x: x[..., 0] > 0, over="prompt"),
        scale(sites="blocks.0.mlp.neurons", by=-3.0),
    ]
    options = {"max_new_tokens": 6, "use_cache": use_cache}
    with net.edit_batch(edits):
        found = net.generate(prompts, **options)
        one = net.generate(prompts[0], **options)
    alone = []
    for edit in edits:
        with net.edit(*([] if edit is None else [edit])):
            alone += net.generate(prompts, **options)
    assert found == alone
    assert len({tuple(said) for said in alone}) > 3
    assert len(one) == len(edits)
    assert one[0] == alone[0]


def test_gradients_of_each_copy_are_those_alone():
    net, tokens = nissl.load(tiny("llama")), ids(2, 5)
    by = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    edit = scale(sites="blocks.1.mlp.neurons", by=by)
    for _ in range(2):
        with net.edit_batch([None, edit]):
            net.model(input_ids=tokens).logits[2:].square().sum().backward()
    batched, by.grad = by.grad, None
    with net.edit(edit):
        net.model(input_ids=tokens).logits.square().sum().backward()
    torch.testing.assert_close(batched, 2 * by.grad)


@pytest.mark.real
def test_edits_of_smollm2_in_one_batch(smollm2):
    net, at = smollm2, "blocks.20."
    tokens = torch.tensor([net.tokenizer("The capital of France is").input_ids])
    other = net.run("The capital of Italy is", sites=at + "resid_post")
    edits = [
        None,
        ablate([f"{at}mlp.neurons[{i}]" for i in range(40)]),
        scale(sites=at + "attn.z", heads=2, by=-2.0),
        add(sites=at + "resid_post", by=3.0 * torch.ones(576), positions=-1),
        patch(other, positions=3),
        project(torch.ones(576), sites=at + "resid_mid"),
    ]
    with torch.no_grad(), net.edit_batch(edits):
        found = net.model(tokens).logits
    torch.testing.assert_close(found, one_by_one(net, edits, input_ids=tokens), atol=2e-3, rtol=0)
