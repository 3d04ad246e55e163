"""Conformance: holds on every family, and says what a planted fault breaks."""

import numpy as np
import pytest
import torch
import transformers
from torch import nn

import nissl
from nissl import NisslError
from nissl.network import ablate, conformance
from tiny import EVERY, MODULES, SIDES, SINGLES, STAGED, inputs, tiny

COMMON = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
COMMON |= {"num_attention_heads": 4, "max_position_embeddings": 64, "pad_token_id": 0}
GROUPED = {"num_key_value_heads": 2}
WIDE = {**GROUPED, "head_dim": 4}
MIXED = {"num_experts": 3, "num_experts_per_tok": 2}
SLIM = {"n_layer": 2, "n_head": 4}
# Families without names of ours, by module path: attention of every kind, mixtures, no attention.
OTHERS = {
    "gemma2": {**WIDE, "sliding_window": 4},
    "helium": WIDE,
    "nemotron": GROUPED,
    "codegen": {**SLIM, "n_embd": 16, "rotary_dim": 4, "n_positions": 64},
    "xglm": {"d_model": 16, "ffn_dim": 24, "num_layers": 2, "attention_heads": 4},
}
FINE = {"holds", "not applicable"}


def other(kind):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **(COMMON | OTHERS[kind]))
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def results(table):
    return dict(zip(table["check"], table["result"], strict=True))


ODD = [
    ("olmo", {"clip_qkv": 0.5}),
    ("cohere", {"use_qk_norm": True, "tie_word_embeddings": False}),
    ("phi", {"tie_word_embeddings": True, "num_key_value_heads": 1}),
    ("granite", {"attention_bias": True, "mlp_bias": True}),
    ("phi3", {"num_key_value_heads": 1, "partial_rotary_factor": 0.5}),
    ("falcon_new", {"num_ln_in_parallel_attn": 1, "bias": True}),
    ("falcon", {"parallel_attn": False}),
    ("falcon", {"multi_query": False, "alibi": True}),
    (
        "deepseek_v2",
        {"q_lora_rank": 6, "topk_method": "group_limited_greedy", "num_experts": 4},
    ),
    ("qwen2_moe", {"norm_topk_prob": True, "tie_word_embeddings": True}),
    ("gpt_oss", {"attention_bias": False, "num_key_value_heads": 4}),
    ("olmo2", {"attention_bias": True, "tie_word_embeddings": True}),
]


@pytest.mark.parametrize(("name", "options"), ODD)
def test_it_holds_with_odd_settings(name, options):
    # The router of DeepSeek multiplies floats.
    dtype = torch.float32 if "deepseek" in name else torch.float64
    table = conformance(nissl.load(tiny(name, dtype=dtype, **options)), progress=False)
    assert set(table["result"]) <= FINE, table.to_string()


@pytest.mark.parametrize("name", [*EVERY, *STAGED, *MODULES])
def test_it_holds_on_every_tiny_network(name):
    net = nissl.load(tiny(name, dtype=torch.float32) if name in SINGLES else tiny(name))
    known = name in (*EVERY, *STAGED)
    table = conformance(net, None if known else inputs(name, batch=3), progress=False)
    assert set(table["result"]) <= FINE, table.to_string()
    found = results(table)
    assert found["identities hold"] == ("holds" if net.named_sites else "not applicable")
    assert found["recorded equals hooks"] == "holds"
    assert (found["cached equals whole"] == "holds") == hasattr(net.model, "generate")


@pytest.mark.parametrize("name", SIDES)
def test_it_holds_on_encoder_decoders_but_where_padding_moves_their_tokens(name):
    table = conformance(nissl.load(tiny(name)), progress=False)
    refused = {"left equals right padding"} if name not in ("t5", "mt5", "whisper") else set()
    assert set(table["check"][~table["result"].isin(FINE)]) == refused, table.to_string()
    assert set(table["result"]) <= {*FINE, "refused"}
    assert results(table)["identities hold"] == "holds"


STATE_SPACE = {
    "mamba": {"state_size": 4, "intermediate_size": 32, "time_step_rank": 2},
    "mamba2": {"state_size": 4, "num_heads": 4, "head_dim": 8, "n_groups": 1, "chunk_size": 4},
}


@pytest.mark.parametrize("kind", STATE_SPACE)
def test_it_holds_on_state_spaces(kind):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **(COMMON | {"expand": 2} | STATE_SPACE[kind]))
    net = nissl.load(transformers.AutoModelForCausalLM.from_config(config).eval())
    table = conformance(net, progress=False)
    assert set(table["result"]) <= FINE, table.to_string()
    assert set(results(table).values()) == {"holds"}


@pytest.mark.parametrize("kind", OTHERS)
def test_it_holds_on_families_known_by_module_paths_alone(kind):
    table = conformance(nissl.load(other(kind)), progress=False)
    assert set(table["result"]) <= FINE, table.to_string()
    assert results(table)["cached equals whole"] == "holds"


class Broken(nn.Module):
    """A net with one fault at a time."""

    def __init__(self, fault):
        super().__init__()
        self.fault, self.calls = fault, 0
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        self.calls += 1
        x = self.a(x)
        if self.fault == "items meet":
            x = x - x.mean(0, keepdim=True)
        if self.fault == "it counts":
            x = x + self.calls
        return self.b(x.relu())


@pytest.mark.parametrize(
    ("fault", "failing"),
    [
        ("none", set()),
        ("items meet", {"batch equals single"}),
        ("it counts", {"two runs are the same", "edits are undone"}),
    ],
)
def test_a_fault_is_found_and_nothing_where_nothing_is(fault, failing):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    table = conformance(nissl.load(Broken(fault)), x)
    failed = set(table["check"][~table["result"].isin(FINE)])
    assert failing <= failed
    assert bool(failed) == bool(failing)
    assert np.isfinite(table["worst"][table["result"] == "holds"]).all()
    assert (table["where"][table["result"] == "fails"] != "").all()


def test_a_wrong_rule_of_positions_is_found():
    net = nissl.load(tiny("gpt2"))
    forward = net.model.transformer.forward

    def shifted(*args, position_ids=None, attention_mask=None, **options):
        return forward(*args, attention_mask=attention_mask, **options)

    net.model.transformer.forward = shifted  # padding on the left moves every position
    table = results(conformance(net))
    assert table["left equals right padding"] == "fails"
    assert table["batch equals single"] == "holds"


def test_what_cannot_be_checked_is_said():
    net = nissl.load(nn.Sequential(nn.Linear(4, 3)))
    with pytest.raises(NisslError, match="not known what this network reads"):
        conformance(net)
    x = torch.ones(2, 4)
    with net.edit(ablate(sites="0")), pytest.raises(NisslError, match="edits are in force"):
        conformance(net, x)
    with net.edit(ablate(sites="0")):
        net.model(x)
    assert results(conformance(net, x[:1]))["batch equals single"] == "not applicable"


def test_the_model_is_left_as_it_was():
    net = nissl.load(tiny("llama"))
    net.model.train()
    before, state = net.weights_hash, torch.get_rng_state()
    conformance(net)
    assert net.model.training
    assert net.weights_hash == before
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.model.modules())


@pytest.mark.real
def test_smollm2_conforms(smollm2):
    table = conformance(smollm2)
    assert set(table["result"]) <= FINE, table.to_string()


@pytest.mark.real
def test_resnet50_conforms(resnet50):
    table = conformance(resnet50)
    assert set(table["result"]) <= FINE, table.to_string()
