"""Edits meet the same positions and items however the model's arguments are given."""

import pytest
import torch
from torch import nn

import nissl
from nissl.network import ablate, patch, scale
from tiny import CAUSAL, ids, tiny

SITE = "blocks.1.resid_post"


def left_padded():
    x, mask = ids(2, 7), torch.ones(2, 7, dtype=torch.long)
    mask[0, :3] = 0
    return x, mask


# Their second argument is the cache.
CACHED = ("gpt2", "gpt_bigcode", "gpt_bigcode_many", "gptj", "falcon", "falcon_alibi", "falcon_new")


@pytest.mark.parametrize("name", [*(n for n in CAUSAL if n not in CACHED), "bert"])
def test_a_mask_given_by_position_is_the_mask_given_by_name(name):
    net, (x, mask) = nissl.load(tiny(name)), left_padded()
    for edit in (
        scale(sites=SITE, by=-2.0, positions=[0, 2]),
        scale(sites=SITE, by=-2.0, positions=-1, items=0),
    ):
        with net.edit(edit):
            by_name = net.model(input_ids=x, attention_mask=mask)[0]
            by_position = net.model(x, mask)[0]
            mixed = net.model(x, attention_mask=mask)[0]
        assert torch.equal(by_name, by_position)
        assert torch.equal(by_name, mixed)
        assert not torch.equal(by_name, net.model(x, mask)[0])
    with net.edit(scale(sites=SITE, by=-2.0, positions=0)):
        edited = net.run({"input_ids": x, "attention_mask": mask}, sites=SITE)[SITE]
    plain = net.run({"input_ids": x, "attention_mask": mask}, sites=SITE)[SITE]
    # Position 0 of the first item is its fourth token.
    changed = (edited - plain).abs().amax(-1) > 0
    assert changed.nonzero().tolist() == [[0, 3], [1, 0]]


def test_a_cache_given_by_position_is_one():
    net, x = nissl.load(tiny("llama")), ids(2, 7)
    before = net.model(x[:, :4], use_cache=True).past_key_values
    edit = scale(sites=SITE, by=-2.0, positions=5)
    with net.edit(edit):
        whole = net.model(x).logits[:, 4:]
    with net.edit(edit):
        cache = net.model(x[:, :4], use_cache=True).past_key_values
        rest = net.model(x[:, 4:], None, None, cache).logits
    torch.testing.assert_close(rest, whole)
    with pytest.raises(nissl.NisslError, match="other edits"), net.edit(edit):
        net.model(x[:, 4:], None, None, before)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(40, 4)

    def forward(self, tokens, attention_mask=None):
        return self.words(tokens)


def test_tokens_of_another_name_are_given_by_position_or_by_name():
    net, (x, mask) = nissl.load(Reader()), left_padded()
    expected = net.model.words(x).detach().clone()
    expected[0, 3] = expected[1, 0] = 0
    for args, kwargs in (
        ((x, mask), {}),
        ((x,), {"attention_mask": mask}),
        ((), {"attention_mask": mask, "tokens": x}),
    ):
        with net.edit(ablate(sites="words", positions=0)):
            assert torch.equal(net.model(*args, **kwargs), expected)


class Masked(nn.Module):
    def forward(self, x, mask):
        return x + mask


class Swapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Masked()

    def forward(self, x):
        return self.inner(mask=torch.zeros_like(x), x=x)


def test_the_input_of_a_module_is_its_first_argument_whatever_the_order_of_names():
    net, x = nissl.load(Swapped()), torch.ones(2, 3)
    assert torch.equal(net.run(x, sites="inner:in")["inner:in"], x)
    with net.edit(scale(sites="inner:in", by=3.0)):
        assert torch.equal(net.model(x), 3 * x)


ITEMS = [1, [1], slice(1, 2), [False, True]]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("rows", [{"num_beams": 2}, {"sample": True, "num_return_sequences": 3}])
def test_items_are_prompts_whatever_rows_each_has(rows, use_cache):
    net, prompts = nissl.load(tiny("llama")), [[5, 6, 7, 8], [5, 6]]
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "use_cache": use_cache, **rows}
    each = rows.get("num_return_sequences", 1)
    plain = net.generate(prompts, **options)
    with net.edit(scale(sites=SITE, by=-3.0)):
        every = net.generate(prompts, **options)
    expected = plain[:each] + every[each:]
    assert plain[each:] != every[each:]
    for items in ITEMS:
        with net.edit(scale(sites=SITE, by=-3.0, items=items)):
            found = net.generate(prompts, **options)
        if "sample" not in rows:  # draws of the second follow those of the first
            assert found == expected
        assert found[:each] == plain[:each]
        assert found[each:] != plain[each:]
    masks = torch.zeros(2, 4, dtype=torch.bool)
    masks[1, 2:] = True  # the second prompt, as its tensors lie
    with net.edit(scale(sites=SITE, by=-3.0, positions=masks)):
        by_mask = net.generate(prompts, **options)
    with net.edit(scale(sites=SITE, by=-3.0, items=1, positions=slice(0, 2))):
        assert net.generate(prompts, **options) == by_mask
    values = net.run(prompts, sites=SITE, padding="right")
    values[SITE] = values[SITE] * torch.tensor([1.0, -3.0]).reshape(2, 1, 1)
    with net.edit(patch(values, positions=0)):
        patched = net.generate(prompts, **options)
    with net.edit(scale(sites=SITE, by=-3.0, items=1, positions=0)):
        assert net.generate(prompts, **options) == patched
    drawn = ablate(sites=SITE, to="resample", of=ids(1, 9, seed=3), positions=[0, 1, -1])
    with net.edit(drawn):
        assert net.generate(prompts, **options) == net.generate(
            prompts, **{**options, "use_cache": not use_cache}
        )


def test_items_of_a_site_without_a_row_for_each_are_refused():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.flat = nn.Embedding(40, 4), nn.Linear(4, 4)

        def forward(self, input_ids):
            return self.flat(self.words(input_ids).flatten(0, 1)).unflatten(0, input_ids.shape)

    net = nissl.load(Flat())
    with (
        pytest.raises(nissl.NisslError, match="not one row for each of 2 items"),
        net.edit(ablate(sites="flat", items=1)),
    ):
        net.model(ids(2, 5))
