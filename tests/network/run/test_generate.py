"""Generation: edits hold in prefill and decode, with a cache and without."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import ablate, add, gate, project, scale
from tiny import CAUSAL, ids, tiny

EDITS = {
    "everywhere": lambda at: add(sites=at + "resid_post", by=torch.arange(16.0)),
    "end of the prompt": lambda at: add(
        sites=at + "resid_post", by=torch.arange(16.0), positions=-1
    ),
    "from the end on": lambda at: scale(
        sites=at + "resid_post", by=-2.0, positions=slice(-1, None)
    ),
    "generated": lambda at: ablate(sites=at + "resid_post", positions=[5, 8], indices=range(9)),
    "keys": lambda at: scale(sites=at + "attn.k_rot", by=4.0, positions=slice(0, 4)),
    "heads": lambda at: ablate(sites=at + "attn.heads", heads=[0, 2]),
    "mid": lambda at: project(torch.arange(16.0), sites=at + "resid_mid"),
    "gate": lambda at: gate(
        scale(sites=at + "resid_post", by=-1.0),
        reads=at + "resid_pre",
        when=lambda x: x[..., 0].abs() > 0,  # test_gate tells items apart
        over="prompt",
    ),
    "drawn": lambda at: ablate(sites=at + "attn.out", to="resample", of=ids(1, 5, seed=4), items=0),
}


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("edit", EDITS)
def test_with_and_without_a_cache_are_equal_under_edits(name, edit):
    net = nissl.load(tiny(name))
    if edit == "mid" and "blocks.1.resid_mid" not in net.named_sites:
        edit = "everywhere"
    if edit == "keys" and "blocks.1.attn.k_rot" not in net.named_sites:
        edit = "everywhere"
    prompts = [ids(1, 7)[0].tolist(), ids(1, 4, seed=1)[0].tolist()]
    options = {"max_new_tokens": 6, "min_new_tokens": 6}
    options |= {"output_logits": True, "return_dict_in_generate": True}
    if edit == "keys" and "deepseek" in name:
        with net.edit(EDITS[edit]("blocks.1.")), pytest.raises(NisslError, match="made of"):
            raw(net, prompts, use_cache=True)
        return
    with net.edit(EDITS[edit]("blocks.1.")):
        a = raw(net, prompts, use_cache=True)
        b = raw(net, prompts, use_cache=False)
    assert torch.equal(a.sequences, b.sequences)
    for x, y in zip(a.logits, b.logits, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-5 * float(y.abs().max()))
    plain = raw(net, prompts, use_cache=True)
    assert (plain.logits[0] - a.logits[0]).abs().max() > 1e-6 or edit == "generated"
    assert (plain.logits[-1] - a.logits[-1]).abs().max() > 1e-6


def raw(net, prompts, *, use_cache):
    """Logits of every step, through the method's own settings."""
    kept = {}
    generate = net.model.generate

    def spy(*args, **kwargs):
        kept["out"] = generate(*args, **kwargs, output_logits=True, return_dict_in_generate=True)
        return kept["out"].sequences

    net.model.generate = spy
    try:
        net.generate(prompts, max_new_tokens=6, min_new_tokens=6, use_cache=use_cache)
    finally:
        del net.model.generate
    return kept["out"]


@pytest.mark.parametrize("use_cache", [True, False])
def test_logits_and_masks_of_the_prompt(use_cache):
    net, x = nissl.load(tiny("llama")), [[5, 6, 7, 8], [9, 10]]
    options = {"max_new_tokens": 4, "use_cache": use_cache}
    with net.edit(add("logits[33]", by=1e3, positions=slice(-1, None), items=1)):
        found = net.generate(x, **options)
    assert found[1] == [33] * 4
    assert found[0] != found[1]
    mask = torch.tensor([[False, True, False, False], [False, False, True, True]])
    with net.edit(scale(sites="blocks.0.resid_post", by=-2.0, positions=mask)):
        a = net.generate(x, **options)
    with net.edit(
        scale(sites="blocks.0.resid_post", by=-2.0, positions=[1], items=0),
        scale(sites="blocks.0.resid_post", by=-2.0, positions=[0, 1], items=1),
    ):
        assert net.generate(x, **options) == a
    with (
        pytest.raises(NisslError, match="does not fit"),
        net.edit(scale(sites="embed", by=2.0, positions=mask[:, :3])),
    ):
        net.generate(x, **options)


def test_generation_is_that_of_transformers():
    net, x = nissl.load(tiny("llama")), ids(2, 5)
    theirs = net.model.generate(x, max_new_tokens=5, do_sample=False)
    ours = net.generate(x, max_new_tokens=5)
    for row, expected in zip(ours, theirs[:, 5:].tolist(), strict=True):
        assert row == expected[: len(row)]


def test_draws_come_from_the_seed_alone():
    net, x = nissl.load(tiny("llama")), ids(2, 5)
    options = {"max_new_tokens": 8, "sample": True, "min_new_tokens": 8}
    before = torch.get_rng_state()
    first = net.generate(x, seed=1, **options)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert net.generate(x, seed=1, **options) == first
    assert net.generate(x, seed=2, **options) != first


def test_samples_of_one_prompt_keep_its_length():
    net, x = nissl.load(tiny("llama")), [[5, 6, 7, 8], [5, 6]]
    edit = scale(sites="blocks.1.resid_post", by=-3.0, positions=-1)
    found = {}
    for use_cache in (True, False):
        with net.edit(edit):
            found[use_cache] = net.generate(
                x, sample=True, num_return_sequences=3, use_cache=use_cache, max_new_tokens=5
            )
    assert len(found[True]) == 6
    assert found[True] == found[False]


@pytest.mark.parametrize("name", ["mistral", "gemma3_text"])
def test_keys_that_slide_out_of_the_cache_are_edited_too(name):
    net, x = nissl.load(tiny(name, sliding_window=4)), ids(2, 9)
    for edit in (
        scale(sites="blocks.1.attn.k_rot", by=3.0, positions=slice(4, None)),
        add(sites="blocks.1.attn.v", by=5.0, positions=[6, -1]),
    ):
        logits = []
        for use_cache in (True, False):
            with net.edit(edit):
                logits.append(raw(net, x, use_cache=use_cache).logits)
        for a, b in zip(*logits, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(b.abs().max()))


def test_beams_of_one_prompt_share_what_it_said():
    net, x = nissl.load(tiny("llama")), [[5, 6, 7, 8], [5, 6]]
    edit = gate(
        scale(sites="blocks.1.resid_post", by=-3.0, positions=slice(-1, None)),
        reads="embed",
        when=lambda e: torch.tensor([True] * 3 + [False] * 3),
        over="prompt",
    )
    found = []
    for use_cache in (True, False):
        with net.edit(edit):
            found.append(net.generate(x, num_beams=3, use_cache=use_cache, max_new_tokens=5))
    assert found[0] == found[1]
    assert found[0][1] == net.generate(x, num_beams=3, max_new_tokens=5)[1]
    assert found[0][0] != net.generate(x, num_beams=3, max_new_tokens=5)[0]


def test_what_cannot_be_generated_is_said():
    with pytest.raises(NisslError, match="does not generate"):
        nissl.load(tiny("conv")).generate("a")
    net = nissl.load(tiny("llama"))
    with pytest.raises(NisslError, match="no tokenizer"):
        net.generate("a")
    with pytest.raises(NisslError, match="beyond the model's context of 64"):
        net.generate([[5] * 60], max_new_tokens=10)
    with pytest.raises(NisslError, match="no prompt"):
        net.generate([])
