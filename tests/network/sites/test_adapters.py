"""Heads and weights of projections that adapters wrap are those of what the wrapped modules add."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import nissl
from nissl import NisslError
from nissl.network import ablate, scale, unembed
from tiny import inputs, tiny

OUT, END = {"gpt2": "c_proj", "gpt_neox": "dense", "opt": "out_proj", "bert": "dense"}, "blocks.2."
MLP = {"gpt2": ("c_fc", "c_proj"), "gpt_neox": ("dense_h_to_4h", "dense_4h_to_h")}
MLP |= {"opt": ("fc1", "fc2"), "bert": ("dense",), "vit": ("fc1", "fc2")}
FAMILIES = ("llama", "mistral", "gemma3_text", "gpt2", "gpt_neox", "opt", "bert", "vit")


class LoRA(nn.Module):
    """A projection and what two thin matrices add to it; it shows no weight of its own."""

    def __init__(self, base, curved=False):
        super().__init__()
        self.base, self.curved = base, curved
        n_out, n_in = base.weight.shape if isinstance(base, nn.Linear) else base.weight.T.shape
        generator = torch.Generator().manual_seed(1)
        self.down = nn.Parameter(0.5 * torch.randn(n_in, 2, generator=generator).double())
        self.up = nn.Parameter(0.5 * torch.randn(2, n_out, generator=generator).double())

    def forward(self, x):
        inner = x @ self.down
        return self.base(x) + (inner.relu() if self.curved else inner) @ self.up

    def merged(self):
        """The base alone, with the adapter in its weight."""
        base = copy.deepcopy(self.base)
        change = self.down @ self.up
        base.weight.data += change.T if isinstance(base, nn.Linear) else change
        return base


def names_of(name):
    return {OUT.get(name, "o_proj"), *MLP.get(name, ("gate_proj", "up_proj", "down_proj"))}


def changed(model, names, change):
    """The model with every projection of these names replaced."""
    for path, module in list(model.named_modules()):
        parent, _, own = path.rpartition(".")
        if own in names and not isinstance(model.get_submodule(parent), LoRA):
            setattr(model.get_submodule(parent), own, change(module))
    return model.eval()


def adapted(name, **how):
    return changed(tiny(name), names_of(name), lambda m: LoRA(m, **how))


def merged(model, name):
    return changed(copy.deepcopy(model), names_of(name), lambda m: m.merged())


@pytest.mark.parametrize("name", FAMILIES)
def test_heads_and_weights_are_those_of_merged_weights(name):
    net, x = nissl.load(adapted(name)), inputs(name)
    whole = nissl.load(merged(net.model, name))
    sites = [s for s in net.named_sites if "attn" in s or "resid" in s or "mlp" in s]
    found, expected = net.run(x, sites=sites), whole.run(x, sites=sites)
    near = {"rtol": 1e-5, "atol": 1e-6 if name == "gemma3_text" else 1e-9}
    for site in sites:
        torch.testing.assert_close(found[site], expected[site], **near)
    for weights in ("input_weights", "gate_weights", "output_weights"):
        a, b = (getattr(n, weights)("blocks.1.mlp.neurons") for n in (net, whole))
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", FAMILIES)
def test_edits_of_heads_keep_the_adapter(name):
    net, x, end = nissl.load(adapted(name)), inputs(name), END + "resid_post"
    plain = net.run(x, sites=end)[end]
    site = "blocks.1.attn.heads"
    with net.edit(scale(sites=site, heads=1, by=1 + 1e-9)):
        moved = net.run(x, sites=end)[end]
    assert (moved - plain).abs().max() < (1e-4 if name == "gemma3_text" else 1e-5)
    whole = nissl.load(merged(net.model, name))
    results = []
    for each in (net, whole):
        with each.edit(ablate(sites=site, heads=[0, 3])):
            results.append(each.run(x, sites=end)[end])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
    assert (results[0] - plain).abs().max() > 1e-3


def test_a_gradient_through_heads_reaches_the_adapter():
    net, x = nissl.load(adapted("llama")), inputs("llama")
    wrapped = net.model.get_submodule("model.layers.1.self_attn.o_proj")
    site = "blocks.1.attn.heads"
    with net.edit(scale(sites=site, heads=2, by=0.5)):
        net.model(x).logits.square().sum().backward()
    ours = wrapped.down.grad.clone()
    net.model.zero_grad()
    with net.edit(scale(sites="blocks.1.attn.z", heads=2, by=0.5)):
        net.model(x).logits.square().sum().backward()
    torch.testing.assert_close(ours, wrapped.down.grad)


def test_parts_of_a_wrapped_projection_are_seen_once():
    net, x = nissl.load(adapted("llama")), inputs("llama")
    base = "model.layers.1.self_attn.o_proj.base"
    found = net.run(x, sites=[base, "blocks.1.attn.heads"])
    assert found[base].shape == (2, 7, 16)


def test_adapters_that_are_not_linear_are_refused():
    net, x = nissl.load(adapted("llama", curved=True)), inputs("llama")
    with pytest.raises(NisslError, match="no linear map"):
        net.run(x, sites="blocks.1.attn.heads")
    with pytest.raises(NisslError, match="no linear map"):
        net.output_weights("blocks.1.mlp.neurons")
    assert net.run(x, sites="blocks.1.attn.z")


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def test_weights_under_a_parametrisation_are_what_it_makes_of_them():
    model, x = tiny("llama"), inputs("llama")
    projection = model.model.layers[1].self_attn.o_proj
    before = nissl.load(model).run(x, sites="blocks.1.attn.heads")["blocks.1.attn.heads"]
    parametrize.register_parametrization(projection, "weight", Doubled())
    after = nissl.load(model).run(x, sites="blocks.1.attn.heads")["blocks.1.attn.heads"]
    torch.testing.assert_close(after, 2 * before)


@pytest.mark.filterwarnings("ignore")
def test_quantised_projections_give_their_weights_and_no_heads():
    model = tiny("llama", dtype=torch.float32)
    full = nissl.load(copy.deepcopy(model))
    net = nissl.load(torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8))
    site = "blocks.1.mlp.neurons"
    for found, expected in (
        (net.output_weights(site), full.output_weights(site)),
        (net.unembedding, full.unembedding),
    ):
        assert (found - expected).abs().max() < 0.02 * expected.abs().max()
        assert not torch.equal(found, expected)
    with pytest.raises(NisslError, match="floating point"):
        net.run(inputs("llama"), sites="blocks.1.attn.heads")
    assert torch.isfinite(unembed(net)(torch.ones(2, 16))).all()


class Peft(nn.Module):
    """What a PeftModel is: two modules around the model, which show its attributes as theirs."""

    def __init__(self, model):
        super().__init__()
        self.base_model = nn.Module()
        self.base_model.model = model
        self.base_model.forward = model.forward

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.base_model.model, name)

    def forward(self, *args, **kwargs):
        return self.base_model(*args, **kwargs)

    def generate(self, *args, **kwargs):
        return self.base_model.model.generate(*args, **kwargs)


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt"])
def test_a_wrapped_model_has_the_names_of_the_model_in_it(name):
    model, x = adapted(name), [[5, 8, 9], [4, 7, 11, 30]]
    wrapped, plain = nissl.load(Peft(model)), nissl.load(model)
    assert list(wrapped.named_sites) == list(plain.named_sites)
    sites = ["mlp.neurons", "attn.heads", "resid_post"]
    for padding in ("right", "left"):
        a, b = (
            nissl.record(n, x, sites=sites, padding=padding, progress=False)
            for n in (wrapped, plain)
        )
        assert (a.values == b.values).all()
    edit = scale(sites="blocks.1.resid_post", by=-2.0, positions=-1)
    said = []
    for net in (wrapped, plain):
        with net.edit(edit):
            said.append(net.generate(x, max_new_tokens=4))
    assert said[0] == said[1]
    assert torch.equal(wrapped.unembedding, plain.unembedding)


class Prefixed(Peft):
    """A wrapper that gives the model more than its body would be given."""

    def forward(self, input_ids=None, **kwargs):
        embedded = self.get_input_embeddings()(input_ids)
        return self.base_model.model(inputs_embeds=3 * embedded, **kwargs)


def test_what_a_wrapper_gives_the_model_is_never_left_out():
    net, texts, site = (
        nissl.load(Prefixed(tiny("llama"))),
        [[5, 8, 9], [4, 7, 11, 30]],
        "resid_post",
    )
    rec = nissl.record(net, texts, sites=f"blocks.0.{site}", progress=False)
    seen = []
    block = net.model.base_model.model.model.layers[0]
    handle = block.register_forward_hook(lambda m, a, y: seen.append(y.detach()))
    for ids in texts:
        net.model(input_ids=torch.tensor([ids]))
    handle.remove()
    expected = torch.cat([x[0] if x.ndim == 3 else x for x in seen])
    torch.testing.assert_close(torch.as_tensor(rec.values), expected)


def test_a_model_tuned_by_prompts_is_refused():
    model = Peft(tiny("llama"))
    model.active_peft_config = SimpleNamespace(is_prompt_learning=True, peft_type="PROMPT_TUNING")
    with pytest.raises(NisslError, match="no position counts"):
        nissl.load(model)
    model.active_peft_config.peft_type = "PREFIX_TUNING"
    assert nissl.load(model).n_layers == 3


def test_weights_of_several_blocks_are_asked_for_one_by_one():
    net = nissl.load(tiny("llama"))
    for weights in (net.output_weights, net.input_weights, net.gate_weights):
        with pytest.raises(NisslError, match="3 sites"):
            weights("mlp.neurons")
    assert net.output_weights("blocks.2.mlp.neurons").shape == (24, 16)
