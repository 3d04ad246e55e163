"""Keys as the scores see them, edited under every kind of cache: what later positions see."""

import pytest
import torch
from transformers import DynamicCache, StaticCache

import nissl
from nissl.network import add, scale
from tiny import ids, tiny

NAMES = {
    "llama": {},
    "mistral": {"sliding_window": 4},
    "gemma3_text": {"sliding_window": 4},
    "gpt2": {},
    "gpt_neox": {},
    "opt": {},
}
KEYS = "blocks.1.attn.k_rot"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("positions", [slice(1, None), [2, 7], -1])
def test_caches_that_grow_and_of_fixed_size_say_what_none_says(name, positions):
    net, prompts = nissl.load(tiny(name, **NAMES[name])), [[5, 6, 7, 8, 9], [4, 9, 8]]
    options = {"max_new_tokens": 5, "min_new_tokens": 5}
    for edit in (
        scale(sites=KEYS, by=-3.0, positions=positions),
        scale(sites="blocks.1.resid_post", by=-3.0, positions=positions),
    ):
        with net.edit(edit):
            found = [
                net.generate(prompts, **options, **how)
                for how in ({"use_cache": False}, {}, {"cache_implementation": "static"})
            ]
        assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_keys_in_a_cache_are_the_edited_ones_with_gradients_and_without(name, static, gradients):
    net, x = nissl.load(tiny(name, **NAMES[name])), ids(2, 9)
    config = net.model.config
    cache = StaticCache(config=config, max_cache_len=20) if static else DynamicCache(config=config)
    by = torch.full((1,), 0.7, dtype=torch.float64, requires_grad=gradients)
    edit = scale(sites=KEYS, by=by, positions=[1, 3, 6])
    with torch.set_grad_enabled(gradients), net.edit(edit):
        whole = net.model(x).logits[:, 5:]
        net.model(x[:, :5], past_key_values=cache)
        rest = net.model(x[:, 5:], past_key_values=cache).logits
    torch.testing.assert_close(rest, whole)
    assert not torch.allclose(whole, net.model(x).logits[:, 5:])
    if gradients and not static:
        a, b = (torch.autograd.grad(y.square().sum(), by)[0] for y in (rest, whole))
        torch.testing.assert_close(a, b)
        assert a.abs() > 1e-9


@pytest.mark.parametrize("gradients", [True, False])
def test_keys_of_a_cache_that_the_model_makes_itself_are_edited(gradients):
    net, x = nissl.load(tiny("llama")), ids(2, 9)
    with (
        torch.set_grad_enabled(gradients),
        net.edit(add(sites=KEYS, by=2.0, positions=[1, 3])),
    ):
        whole = net.model(x).logits[:, 5:]
        cache = net.model(x[:, :5], use_cache=True).past_key_values
        torch.testing.assert_close(net.model(x[:, 5:], past_key_values=cache).logits, whole)


def test_padding_in_a_cache_of_fixed_size_is_no_position():
    net, prompts = nissl.load(tiny("llama")), [[5, 6, 7, 8, 9], [4, 9]]
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "cache_implementation": "static"}
    with net.edit(scale(sites="blocks.1.resid_post", by=-3.0, positions=[1, 4])):
        found = net.generate(prompts, **options)
        for prompt, said in zip(prompts, found, strict=True):
            assert net.generate([prompt], **options) == [said]
