"""Attention patterns: read as the model has them, and written, so that attention follows."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import ablate, patch, restart, scale
from nissl.network.gradients import gradients
from nissl.network.sites.architectures.known import ARCHITECTURES
from tiny import ENCODERS, SIDES, STAGED, TRANSFORMERS, UNNAMED, VISION, ids, inputs, tiny

GEMMA2 = {"num_key_value_heads": 2, "head_dim": 4, "attn_implementation": "eager"}
WITH_PATTERN = [*(n for n in TRANSFORMERS if n not in UNNAMED), "gemma2"]
PATTERN, Z, V = "blocks.1.attn.pattern", "blocks.1.attn.z", "blocks.1.attn.v"


def load(name):
    # A cap that scores of this size feel.
    given = {**GEMMA2, "attn_logit_softcapping": 0.5} if name == "gemma2" else {}
    return nissl.load(tiny(name, **given))


def feed(name):
    return ids(2) if name == "gemma2" else inputs(name)


def read(pattern, value, d_head=4):
    """What heads read of values, each one by itself: shape (batch, position, head x d_head)."""
    n_heads = pattern.shape[2]
    group = n_heads // (value.shape[-1] // d_head)
    heads = []
    for head in range(n_heads):
        first = head // group * d_head
        heads.append(pattern[:, :, head] @ value[..., first : first + d_head])
    return torch.cat(heads, -1)


class Replace:
    """Puts a function of the pattern in its place."""

    reads, writes = (), (PATTERN,)

    def __init__(self, change):
        self.change = change

    def begin(self, batch): ...

    def apply(self, site, x, positions, phase):
        return self.change(x)


@pytest.mark.parametrize("name", WITH_PATTERN)
def test_the_pattern_times_the_values_is_z_read_or_written(name):
    net, x = load(name), feed(name)
    found = net.run(x, sites=[PATTERN, V, Z])
    near = {"rtol": 1e-4, "atol": 1e-6}  # eager attention and Gemma's norms compute in floats
    d = found[Z].shape[-1] // 4
    torch.testing.assert_close(read(found[PATTERN], found[V], d), found[Z], **near)
    plain = net.run(x, sites=Z)[Z]
    assert torch.equal(found[Z], plain)  # reading leaves the model's own function
    with net.edit(Replace(lambda p: p.flip(2) * 0.5)):
        written = net.run(x, sites=[PATTERN, V, Z])
    torch.testing.assert_close(written[PATTERN], found[PATTERN].flip(2) * 0.5, **near)
    torch.testing.assert_close(read(written[PATTERN], written[V], d), written[Z], **near)
    assert not torch.allclose(written[Z], plain)
    assert torch.equal(net.run(x, sites=Z)[Z], plain)


STATES = ("mamba", "falcon_mamba", "mamba2")
NOT = (*UNNAMED, "umt5", *STATES, *SIDES, *STAGED, *VISION)
KINDS = [t for a in ARCHITECTURES for t in a.model_types if t not in NOT]
OPTIONS = {"num_key_value_heads": 2, "head_dim": 4, "sliding_window": 3}


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_pattern_times_the_values_is_z_on_every_type_in_windows_and_padding(
    kind, implementation
):
    given = {"attn_implementation": implementation}
    plain = ("gpt2", "gpt_neox", "opt", "bert", "roberta", "deepseek_v2", "deepseek_v3", *ENCODERS)
    given |= {**OPTIONS, "attn_logit_softcapping": 0.5} if kind not in plain else {}
    if kind in ("gemma2", "gpt_oss") and implementation == "sdpa":
        pytest.skip("transformers has no such model")
    # In doubles eager attention of transformers has NaN at padding on the left.
    net = nissl.load(tiny(kind, dtype=torch.float32, **given))
    texts = [[5, 6, 7, 8, 9, 4, 12], [8, 9, 4]]
    for padding in ("right", "left"):
        found = net.run(texts, sites=["attn.pattern", "attn.v", "attn.z"], padding=padding)
        real = torch.ones(2, 7, dtype=torch.bool)
        real[1, slice(3, None) if padding == "right" else slice(0, 4)] = False
        for layer in range(3):
            at = f"blocks.{layer}.attn."
            z = read(found[at + "pattern"], found[at + "v"], found[at + "z"].shape[-1] // 4)
            torch.testing.assert_close(z[real], found[at + "z"][real], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WITH_PATTERN)
def test_a_head_without_attention_reads_nothing(name):
    net, x = load(name), feed(name)
    end = "blocks.2.resid_post"
    with net.edit(ablate(sites=Z, heads=[1, 3])):
        expected = net.run(x, sites=end)[end]
    with net.edit(ablate(sites=PATTERN, heads=[1, 3])):
        found = net.run(x, sites=end)[end]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_one_key_at_one_position_of_one_item():
    net, x = load("llama"), ids()
    plain = net.run(x, sites=[PATTERN, V])
    with net.edit(ablate(sites=PATTERN, indices=[0], positions=[2, -1], items=1)):
        found = net.run(x, sites=[PATTERN, Z])
    expected = plain[PATTERN].clone()
    expected[1, [2, 6], :, 0] = 0
    torch.testing.assert_close(found[PATTERN], expected)
    torch.testing.assert_close(found[Z], read(expected, plain[V]))


def test_the_pattern_of_another_run_is_patched_and_restarted_from():
    net, x, other = load("llama"), ids(), ids(seed=1)
    values, pattern = net.run(x, sites=V)[V], net.run(other, sites=PATTERN)[PATTERN]
    with net.edit(patch({PATTERN: pattern})):
        found = net.run(x, sites=[Z, "logits"])
    torch.testing.assert_close(found[Z], read(pattern, values))
    again = restart(net, x, at=PATTERN)
    torch.testing.assert_close(
        again.run(sites="logits")["logits"], net.run(x, sites="logits")["logits"]
    )
    torch.testing.assert_close(again.run(pattern, sites="logits")["logits"], found["logits"])


def test_queries_and_keys_are_edited_before_the_pattern_in_any_order():
    net, x = load("llama"), ids()
    query, head = scale(sites="blocks.1.attn.q_rot", by=3.0), scale(sites=PATTERN, heads=2, by=2.0)
    with net.edit(query):
        expected = net.run(x, sites=PATTERN)[PATTERN]
    expected[:, :, 2] *= 2
    for edits in ((query, head), (head, query)):
        with net.edit(*edits):
            found = net.run(x, sites=[PATTERN, Z, V])
        torch.testing.assert_close(found[PATTERN], expected)
        torch.testing.assert_close(found[Z], read(expected, found[V]))


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_gradients_at_patterns_are_those_through_the_values(name):
    net, x = load(name), ids()
    found = gradients(net, x, sites=[PATTERN, Z], metric=lambda y: y.square().sum())
    value = net.run(x, sites=V)[V].unflatten(-1, (-1, 4))
    value = value.repeat_interleave(4 // value.shape[2], 2)
    # z = sum over keys of pattern times value, head by head.
    expected = torch.einsum("bqhd,bkhd->bqhk", found[Z].unflatten(-1, (-1, 4)), value)
    torch.testing.assert_close(found[PATTERN], expected)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_written_patterns_hold_in_generation_with_a_cache_and_without(name):
    net, prompts = load(name), [[5, 8, 3], [9, 30, 4, 11]]
    options = {"max_new_tokens": 8}
    said = net.generate(prompts, **options)
    with net.edit(scale(sites="attn.pattern", heads=[0, 2], by=-2.0)):
        cached = net.generate(prompts, **options)
        assert cached == net.generate(prompts, **options, use_cache=False)
    assert cached != said
    other = ablate(sites="attn.pattern", heads=1, positions=[2, 5])
    with net.edit_batch([None, other]):
        both = net.generate(prompts, **options)
    with net.edit(other):
        assert both == said + net.generate(prompts, **options)


def test_what_patterns_have_not_is_refused():
    net, x = load("llama"), ids()
    with pytest.raises(NisslError, match="no head 4"), net.edit(ablate(sites=PATTERN, heads=4)):
        net.run(x, sites=Z)
    mean = ablate(sites=PATTERN, to="mean", of=x)
    with pytest.raises(NisslError, match="no mean or sample"), net.edit(mean):
        pass
    pattern = net.run(x, sites=PATTERN)
    moved = patch(pattern, positions=[1], from_positions=[2])
    with pytest.raises(NisslError, match="not taken from other positions"), net.edit(moved):
        net.run(x, sites=Z)


@pytest.mark.real
def test_a_pattern_of_smollm2_is_its_own(smollm2):
    net, site = smollm2, "blocks.12.attn.pattern"
    text = "The capital of France is"
    plain = net.run(text, sites=[site, "logits"])
    with net.edit(Replace12(lambda p: p + 1e-9)):
        found = net.run(text, sites="logits")["logits"]
    torch.testing.assert_close(found, plain["logits"], atol=2e-3, rtol=0)
    with net.edit(ablate(sites=site, heads=3)):
        found = net.run(text, sites="logits")["logits"]
    with net.edit(ablate(sites="blocks.12.attn.z", heads=3)):
        expected = net.run(text, sites="logits")["logits"]
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


class Replace12(Replace):
    writes = ("blocks.12.attn.pattern",)
