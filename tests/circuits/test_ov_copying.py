"""Copying by weights: a planted head, and eigenvalues of the whole matrix."""

import pytest
import torch

import nissl
from nissl.circuits import ov_copying
from tiny import tiny


def test_a_planted_head_copies_and_others_do_not():
    found = ov_copying(nissl.load("planted-previous-token")).set_index("unit")
    head = "blocks.1.attn.z[head 2]"
    assert found.loc[head, "copying"] > 0.9 > 0.5 > abs(found.loc[head, "null"])
    assert (found.drop(head)["copying"].abs() < 0.7).all()


def test_the_share_is_that_of_the_whole_matrix():
    net = nissl.load(tiny("qwen2", num_hidden_layers=1))
    block = net.model.model.layers[0]
    rows = block.input_layernorm(net.model.model.embed_tokens.weight)
    value = block.self_attn.v_proj.weight[4:8]  # which heads 2 and 3 read
    whole = rows @ value.T @ block.self_attn.o_proj.weight[:, 12:16].T
    whole = whole @ (net.model.lm_head.weight * net.model.model.norm.weight).T
    eigenvalues = torch.linalg.eigvals(whole)
    share = (eigenvalues.real.sum() / eigenvalues.abs().sum()).item()
    assert ov_copying(net)["copying"].iloc[3] == pytest.approx(share, abs=1e-3)
