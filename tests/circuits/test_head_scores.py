"""Head scores: what is planted is found by its own score alone, and nothing where nothing is."""

import sys

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import repeated_tokens
from nissl.circuits import head_scores
from nissl.circuits.head_scores import HEAD_SCORES
from nissl.network import attend
from nissl.specimens import load
from tiny import tiny

HEAD = "blocks.1.attn.z[head 2]"
QUIET = {"progress": False}
SMALL = {"length": 8, "n": 12, **QUIET}


@pytest.mark.parametrize(
    ("score", "to"),
    [("prefix_matching", "induction"), ("previous_token", "previous_token"), ("sink", "first")],
)
def test_a_head_that_attends_so_is_found(score, to):
    net = nissl.load(tiny("llama"), **QUIET)
    with net.edit(attend(HEAD, to)):
        found = head_scores(net, score, **SMALL)
    row = found.table.set_index("unit").loc[HEAD]
    assert found.top(1).units == [HEAD]
    assert row["q"] < 0.05
    assert row["mean"] == pytest.approx(1)


def test_without_induction_no_head_matches_prefixes():
    for name in ("llama", "gpt2", "gpt_neox", "gemma3_text"):
        found = head_scores(nissl.load(tiny(name), **QUIET), **SMALL)
        assert not len(found.significant(q=0.01)), name
    net = nissl.load(tiny("llama"), **QUIET)
    with net.edit(attend(HEAD, "previous_token")):
        assert HEAD not in head_scores(net, **SMALL).significant().units


def test_prefix_matching_equals_a_loop():
    net = nissl.load(tiny("qwen2"), **QUIET)
    ids = repeated_tokens(net, n=3, length=5, seed=0)
    table = head_scores(net, n=3, length=5, test=None, batch_size=2, **QUIET).table
    pattern = net.run(ids, sites="blocks.2.attn.pattern")["blocks.2.attn.pattern"]
    for head in range(4):
        each = []
        for row in range(3):
            for query in range(5, 10):
                earlier = next(k for k in range(5) if ids[row, k] == ids[row, query])
                each.append(float(pattern[row, query, head, earlier + 1]))
        mean = table.set_index("unit").loc[f"blocks.2.attn.z[head {head}]", "mean"]
        assert mean == pytest.approx(np.mean(each))


def test_copying_equals_a_loop_and_finds_a_copying_head():
    net = nissl.load(tiny("llama", num_key_value_heads=4, tie_word_embeddings=True), **QUIET)
    attention = net.model.model.layers[0].self_attn
    with torch.no_grad():
        net.model.model.layers[0].input_layernorm.weight.fill_(1)
        _, _, axes = torch.linalg.svd(net.unembedding, full_matrices=False)
        attention.v_proj.weight[4:8] = axes[:4]
        attention.o_proj.weight[:, 4:8] = 3 * axes[:4].T
    head = "blocks.0.attn.z[head 1]"
    with net.edit(attend(head, "previous_token")):
        found = head_scores(net, "copying", **SMALL)
        one = head_scores(net, "copying", n=1, length=4, test=None, **QUIET).table.set_index("unit")
        ids = repeated_tokens(net, n=1, length=4)
        added = net.run(ids, sites="blocks.0.attn.heads")["blocks.0.attn.heads"][0]
    assert found.significant().units == [head]
    each = (added.unflatten(-1, (4, -1))[:, 1] * net.model.model.norm.weight).detach()
    logits = each @ net.unembedding[ids[0]].T
    standard = (logits - logits.mean(1, keepdim=True)) / logits.std(1, keepdim=True)
    by_hand = [float(standard[q, q - 1]) if q > 1 else 0.0 for q in range(1, 8)]
    assert one.loc[head, "mean"] == pytest.approx(np.mean(by_hand), rel=1e-4)
    others = [
        np.mean([float(standard[q, (q - 2 + s) % 7 + 1]) * (q > 1) for q in range(1, 8)])
        for s in (1, 2)
    ]
    assert one.loc[head, "beside"] == pytest.approx(max(others), rel=1e-4)


def test_values_of_the_first_token_that_are_small_are_found():
    net = nissl.load(tiny("llama"), **QUIET)
    ids = repeated_tokens(net, n=12, length=8)
    ids[:, 0] = 0
    with torch.no_grad():
        net.model.model.embed_tokens.weight[0] = torch.eye(16)[3]
        net.model.model.layers[0].self_attn.v_proj.weight[4:, 3] = 0  # of the second of two groups
    found = head_scores(net, "value_drain", inputs=ids, **QUIET)
    assert set(found.top(2).units) == {"blocks.0.attn.z[head 2]", "blocks.0.attn.z[head 3]"}
    assert found.table["mean"].nunique() == 6  # three blocks, two groups of heads


def planted(name, variant="planted", seed=0):
    found = load(f"planted-{name}", variant=variant, seed=seed)
    return nissl.load(found.module, tokenizer=found.tokenizer)


@pytest.mark.parametrize(
    ("name", "score", "heads"),
    [
        ("induction", "prefix_matching", ["blocks.1.attn.z[head 4]"]),
        ("induction", "previous_token", ["blocks.0.attn.z[head 1]"]),
        ("induction", "copying", ["blocks.1.attn.z[head 4]"]),
        ("previous-token", "prefix_matching", []),
        ("previous-token", "previous_token", ["blocks.1.attn.z[head 2]"]),
        ("previous-token", "copying", ["blocks.1.attn.z[head 2]"]),
    ],
)
def test_heads_of_planted_circuits_and_no_others_are_found(name, score, heads):
    found = head_scores(planted(name), score, length=12, n=24, **QUIET)
    assert found.significant().units == heads


@pytest.mark.parametrize("score", HEAD_SCORES)
@pytest.mark.parametrize(("name", "variant"), [("induction", "zeroed"), ("two-hops", "untrained")])
def test_nothing_is_found_where_nothing_is(name, variant, score):
    found = head_scores(planted(name, variant), score, length=10, n=16, **QUIET)
    assert not len(found.significant())


def test_blocks_some_at_a_time(monkeypatch):
    net = nissl.load(tiny("qwen2"), **QUIET)
    options = {"n": 4, "length": 6, "test": None, **QUIET}
    before = [head_scores(net, score, **options).table["mean"] for score in HEAD_SCORES]
    two_blocks = 2 * 4 * 4 * 12 * 4 * 16
    monkeypatch.setattr(sys.modules["nissl.circuits.head_scores"], "BYTES", two_blocks)
    for score, whole in zip(HEAD_SCORES, before, strict=True):
        assert np.allclose(head_scores(net, score, **options).table["mean"], whole)


def test_a_score_of_ones_own():
    def spread(run):
        pattern = torch.cat([x[:, -1] for (x,) in run.read("attn.pattern")], 1)
        return (pattern > 0.1).float().sum(-1), torch.ones_like(pattern[..., 0])

    found = head_scores(nissl.load(tiny("gpt2"), **QUIET), spread, **SMALL)
    assert found.score == "spread"
    assert len(found.table) == 12


def test_what_cannot_be():
    net = nissl.load(tiny("llama"), **QUIET)
    with pytest.raises(NisslError, match="score"):
        head_scores(net, "prefix_match", **QUIET)
    with pytest.raises(NisslError, match="repeat nothing"):
        head_scores(net, inputs=torch.zeros(8, 6, dtype=torch.int64), **QUIET)
    with pytest.raises(NisslError, match="40 tokens"):
        head_scores(net, length=41, **QUIET)


@pytest.mark.real
def test_heads_of_smollm2():
    found = head_scores(nissl.load("smollm2"), n=8, **QUIET)
    assert found.table["prefix_matching"].max() > 0.5
