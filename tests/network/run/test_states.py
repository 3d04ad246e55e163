"""Models that go on from a state, not from keys and values: positions and phases of generation."""

import pytest
import torch
import transformers

import nissl
from nissl import NisslError
from nissl.network import gate, restart, scale

ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 32}
ATTENTION |= {"max_position_embeddings": 64}
LINEAR = {f"linear_{kind}_head_dim": 4 for kind in ("key", "value")}
LINEAR |= {f"linear_num_{kind}_heads": 2 for kind in ("key", "value")}
MODELS = {
    "mamba": {"state_size": 4, "intermediate_size": 32, "time_step_rank": 2},
    "falcon_mamba": {"state_size": 4, "intermediate_size": 32, "time_step_rank": 2},
    "mamba2": {"state_size": 4, "num_heads": 4, "head_dim": 8, "n_groups": 1, "chunk_size": 4},
    "rwkv": {"attention_hidden_size": 16, "intermediate_size": 32, "rescale_every": 0},
    "qwen3_next": {**ATTENTION, **LINEAR, "head_dim": 4, "num_experts": 0},
    "lfm2": {**ATTENTION, "block_multiple_of": 8},
}
LAYERS = {
    "qwen3_next": ["linear_attention", "full_attention"],
    "lfm2": ["conv", "full_attention"],
}
SITES = {"rwkv": "rwkv.blocks.", "qwen3_next": "model.layers.", "lfm2": "model.layers."}
OPTIONS = {"max_new_tokens": 5, "min_new_tokens": 5}
PROMPT = [5, 6, 7, 8, 9]
# Which positions of a text each edit changes, counted from 0 to the last that was read.
EDITS = {
    "in the answer": (7, lambda n: [7]),
    "from there on": (slice(3, None), lambda n: range(3, n)),
    "end of the prompt": (-1, lambda n: [4]),
    "in the prompt": (2, lambda n: [2]),
    "prompt alone": (slice(0, 5), lambda n: range(5)),
}


def load(name):
    torch.manual_seed(0)
    common = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "eos_token_id": 2}
    options = {**MODELS[name], **({"layer_types": LAYERS[name]} if name in LAYERS else {})}
    if name == "mamba2":
        options["expand"] = 2
    config = transformers.AutoConfig.for_model(name, **common, **options)
    model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(0)
    for key, parameter in model.named_parameters():
        if parameter.ndim > 1 and "A_log" not in key:
            torch.nn.init.normal_(parameter, 0, 0.3, generator=generator)
    return nissl.load(model)


def site_of(name, layer=1):
    return f"{SITES.get(name, 'backbone.layers.')}{layer}"


def by_hand(net, site, positions):
    """Every token from a whole run of all before it, a plain hook in the block."""

    def hook(module, args, output):
        x = (output[0] if isinstance(output, tuple) else output).clone()
        at = [p for p in positions(x.shape[1]) if p < x.shape[1]]
        x[:, at] *= -3.0
        return (x, *output[1:]) if isinstance(output, tuple) else x

    ids = list(PROMPT)
    handle = net.model.get_submodule(site).register_forward_hook(hook)
    for _ in range(OPTIONS["max_new_tokens"]):
        with torch.no_grad():
            logits = net.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        logits[2] = -torch.inf
        ids.append(int(logits.argmax()))
    handle.remove()
    return ids[len(PROMPT) :]


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", MODELS)
def test_positions_go_on_while_a_state_does(name, edit):
    net, site = load(name), site_of(name)
    where, positions = EDITS[edit]
    with net.edit(scale(sites=site, by=-3.0, positions=where)):
        found = net.generate([PROMPT], **OPTIONS)
        assert net.generate([PROMPT], **OPTIONS, use_cache=False) == found
    assert found == [by_hand(net, site, positions)]


@pytest.mark.parametrize("name", MODELS)
def test_a_gate_that_the_prompt_opened_stays_open(name):
    net, site = load(name), site_of(name)
    plain = net.generate([PROMPT], **OPTIONS)
    asked = []

    def when(x):
        asked.append(x.shape[1])
        return torch.ones(x.shape[:2], dtype=torch.bool)

    change = scale(sites=site, by=-3.0)
    with net.edit(gate(change, reads=site_of(name, 0), when=when, over="prompt")):
        found = net.generate([PROMPT], **OPTIONS)
    assert asked == [5]
    with net.edit(change):
        assert net.generate([PROMPT], **OPTIONS) == found
    assert found != plain


@pytest.mark.parametrize("name", MODELS)
def test_prompts_of_different_lengths_are_what_they_are_alone_or_refused(name):
    net, prompts = load(name), [PROMPT, [10, 11]]
    if name == "rwkv":
        with pytest.raises(NisslError, match="makes nothing of a mask"):
            net.generate(prompts, **OPTIONS)
        return
    edit = scale(sites=site_of(name), by=-3.0, positions=[1, 6])
    with net.edit(edit):
        found = net.generate(prompts, **OPTIONS)
        for prompt, said in zip(prompts, found, strict=True):
            assert net.generate([prompt], **OPTIONS) == [said]


def test_a_state_filled_under_other_edits_is_refused():
    net = load("mamba")
    ids = torch.tensor([PROMPT])
    state = net.model(ids, use_cache=True).cache_params
    with (
        pytest.raises(NisslError, match="other edits"),
        net.edit(scale(sites=site_of("mamba"), by=2.0)),
    ):
        net.model(ids[:, :1], cache_params=state)


@pytest.mark.parametrize("name", MODELS)
def test_copies_of_a_batch_go_on_under_their_own_edits_or_are_refused(name):
    net, edit = load(name), scale(sites=site_of(name), by=-3.0, positions=slice(3, None))
    options = OPTIONS | ({"use_cache": False} if name == "rwkv" else {})
    expected = net.generate([PROMPT], **options)
    with net.edit(edit):
        expected += net.generate([PROMPT], **options)
    with net.edit_batch([None, edit]):
        assert net.generate([PROMPT], **options) == expected
    if name == "rwkv":  # transformers mixes the items: two of one prompt say something else
        twice = net.model.generate(torch.tensor([PROMPT] * 2), do_sample=False, **OPTIONS)
        assert twice[0, len(PROMPT) :].tolist() != expected[0]
        with pytest.raises(NisslError, match="mixes the items"):
            net.generate([PROMPT] * 2, **OPTIONS)


@pytest.mark.parametrize("name", MODELS)
def test_a_run_begins_at_a_position_as_a_whole_one_or_is_refused(name):
    net, site = load(name), site_of(name)
    if site.startswith("model."):
        whole = net.run([PROMPT], sites=site)[site]
        again = restart(net, [PROMPT], at=site, from_position=-2)
        torch.testing.assert_close(again.values, whole[:, -2:])
        return
    with pytest.raises(NisslError, match="with a cache of keys and values"):
        restart(net, [PROMPT], at=site, from_position=-2)
