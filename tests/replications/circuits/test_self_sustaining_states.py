"""Graphs of which series raises which later: a planted cycle is found, and none in noise."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom
from transformers import LlamaConfig, LlamaForCausalLM

import nissl

SCRIPT = Path(__file__).parents[3] / "replications/circuits/self_sustaining_states.py"
REPLICATION = runpy.run_path(str(SCRIPT))
NAMES = ("activity", "cyclic", "figures", "graph", "sustained")
activity, cyclic, figures, graph, sustained = (REPLICATION[name] for name in NAMES)


def recurrence(weights, *, seed=0, n=60, steps=8):
    """Return series of a linear recurrence under noise, shape (push, text, step, state)."""
    rng = np.random.default_rng(seed)
    x = [rng.standard_normal((n, len(weights)))]
    for _ in range(steps + 5):
        x.append(x[-1] @ np.array(weights).T + rng.standard_normal((n, len(weights))))
    return np.stack(x[-steps:], axis=1).reshape(3, n // 3, steps, -1)


def test_a_planted_cycle_is_found_and_no_other_edge():
    weights = np.array([[0.3, 0, 0.5, 0], [0.5, 0.3, 0, 0], [0, 0.5, 0.3, 0], [0, 0, 0, 0.3]])
    raises, cycle, by_chance = graph(recurrence(weights), draws=199)
    assert np.argwhere(raises).tolist() == [[0, 2], [1, 0], [2, 1]]
    assert cycle
    assert by_chance < 0.05
    weights[0, 2] = 0  # a chain
    raises, cycle, _ = graph(recurrence(weights), draws=199)
    assert np.argwhere(raises).tolist() == [[1, 0], [2, 1]]
    assert not cycle


def test_independent_series_that_go_on_have_no_edges():
    found = [graph(recurrence(0.6 * np.eye(4), seed=i), draws=49)[:2] for i in range(40)]
    assert sum(raises.any() for raises, _ in found) <= binom.ppf(0.995, 40, 0.05)
    assert not any(cycle for _, cycle in found)


def test_cycles_of_graphs():
    chain = np.eye(4, k=1, dtype=bool)
    assert not cyclic(chain)
    closed = chain.copy()
    closed[3, 0] = True
    assert cyclic(closed)
    closed[1, 2] = False
    assert not cyclic(closed)


def test_what_is_sustained_is_told_from_what_is_not():
    rng = np.random.default_rng(0)
    none = rng.standard_normal((2, 4, 12, 8))
    assert figures(*none)[2] > 0.01
    found, by_random, p = figures(none[0] + 1.0, none[1])
    assert found > by_random + 0.5
    assert p < 0.01


@pytest.mark.parametrize("feedback", [1.5, 0.0])
def test_a_state_whose_token_brings_it_back_sustains_itself(feedback, monkeypatch):
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=8,
        num_attention_heads=1,
        num_hidden_layers=1,
    )
    model = LlamaForCausalLM(config)
    states = torch.eye(16)[8:12]  # of four tokens, which speak for themselves, or for nothing
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(16))
        model.lm_head.weight.copy_(feedback * torch.eye(16) * states.sum(0))
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
    monkeypatch.setitem(activity.__globals__, "SITE", "blocks.0.resid_post")
    monkeypatch.setitem(activity.__globals__, "SIZE", 4.0)
    prompts = np.random.default_rng(0).integers(3, 8, (24, 5)).tolist()
    own, others, series = sustained(nissl.load(model), prompts, states.double().numpy())
    assert own.shape == others.shape == (4, 24, 8)
    assert series.shape == (8, 24, 8, 4)
    found, by_random, p = figures(own, others)
    if feedback > 0:
        assert found > by_random + 0.5
        assert p < 0.01
    else:
        assert found == pytest.approx(by_random)
        assert p > 0.01
