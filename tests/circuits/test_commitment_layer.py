"""The commitment layer of a network that decides at a known block."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom
from transformers import LlamaConfig, LlamaForCausalLM

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour
from nissl.circuits import commitment_layer

GOOD, BAD, ASKED, RIGHT, WRONG, FILLER = range(1, 7)


def decides(shares):
    """A Llama whose blocks add shares of what the context says to the last token."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=16, hidden_size=16, intermediate_size=8, num_attention_heads=1)
    config.num_hidden_layers = len(shares)
    model = LlamaForCausalLM(config).double()
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(16))
        model.lm_head.weight.copy_(torch.eye(16))
        for layer, share in zip(model.model.layers, shares, strict=True):
            layer.self_attn.q_proj.weight.zero_()  # attends to all alike
            layer.self_attn.v_proj.weight.zero_()
            layer.self_attn.v_proj.weight[RIGHT, GOOD] = layer.self_attn.v_proj.weight[
                WRONG, BAD
            ] = 1
            layer.self_attn.o_proj.weight.copy_(share * torch.eye(16))
    return nissl.load(model)


def pairs(net, swap=False):
    rows = [[[word, ASKED], [FILLER, word, ASKED]] for word in (GOOD, BAD)]
    return Behaviour(net, *(rows[::-1] if swap else rows), right=[RIGHT] * 2, wrong=[WRONG] * 2)


@pytest.mark.parametrize("block", range(4))
def test_the_block_that_decides_is_found(block):
    found = commitment_layer(pairs(decides([float(i == block) for i in range(4)])), progress=False)
    assert found.to_numpy().tolist() == [[block] * 3] * 2


def test_what_the_lens_sees_early_can_still_be_turned():
    found = commitment_layer(pairs(decides([0, 0.3, 0, 0.7])), progress=False)
    assert found["lens"].tolist() == [1, 1]
    assert found["commitment"].tolist() == [3, 3]  # until then the context decides
    assert found["carried"].tolist() == [3, 3]
    found = commitment_layer(pairs(decides([0, 0.7, 0, 0.3])), progress=False)
    assert found.to_numpy().tolist() == [[1] * 3] * 2


def test_what_is_not_answered_wrongly_has_no_commitment():
    with pytest.raises(NisslError, match="2 pairs are not answered rightly"):
        commitment_layer(pairs(decides([0, 1.0]), swap=True), progress=False)
    with pytest.raises(NisslError, match="the metric is the same"):
        commitment_layer(pairs(decides([0, 0])), progress=False)


REPLICATION = runpy.run_path(
    str(Path(__file__).parents[2] / "replications/circuits/commitment_layer.py")
)


def test_the_pathway_is_what_attention_to_the_subject_moves():
    net = decides([1.0])
    both = []
    for seen in (1.0, 0.0):  # of two tokens each gets half the attention
        x = torch.eye(16)[ASKED].double()
        x[RIGHT] += 0.5 * seen * 4  # the first norm makes one 1 of 16 a four
        both.append((x / x.square().mean().sqrt()).softmax(-1))
    moved = 0.5 * (both[0] - both[1]).abs().sum().item()
    score = REPLICATION["pathway"](net, [[GOOD, ASKED], [FILLER, ASKED]], [0, 0])
    assert score == pytest.approx([moved, 0], abs=1e-3)


def test_a_planted_correlation_is_found_and_none_where_there_is_none():
    rng = np.random.default_rng(0)
    kind = np.repeat(["a", "b"], 30)
    wrong = rng.random(60) < np.where(kind == "a", 0.3, 0.7)
    rho, p = REPLICATION["tested"](rng.standard_normal(60) - 4 * wrong, wrong, kind, 199)
    assert rho < -0.7
    assert p == 1 / 200
    false = 0
    for _ in range(40):  # the level of a kind is no correlation
        rho, p = REPLICATION["tested"](rng.standard_normal(60) + 9 * (kind == "b"), wrong, kind, 39)
        false += p <= 0.05
    assert false <= binom.ppf(0.995, 40, 0.05)
