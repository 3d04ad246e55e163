"""Exact patching that begins at a block and a position equals whole runs."""

import sys

import numpy as np
import pytest

import nissl
from nissl.behaviour import Behaviour, Patching, exact
from nissl.circuits import pair_effects
from tiny import CAUSAL, in_doubles, tiny

SHORT = ("attn.q", "attn.k", "attn.k_rot", "attn.v", "attn.z", "mlp.out", "resid_pre", "resid_mid")
CASES = [(name, {}) for name in CAUSAL]
CASES += [("gemma3_text", {"sliding_window": 4}), ("mistral", {"sliding_window": 3})]


def behaviour(name, **options):
    rng = np.random.default_rng(0)
    clean = rng.integers(3, 40, (2, 8))
    corrupted = clean.copy()
    corrupted[:, 3] = (clean[:, 3] + 5) % 37 + 3
    net = nissl.load(in_doubles(tiny(name, **options)))
    return Behaviour(net, list(clean), list(corrupted), right=[5] * 2, wrong=[9] * 2)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_runs_from_a_position_equal_whole_runs(name, options, monkeypatch):
    pairs = behaviour(name, **options)
    over = [f"blocks.{i}.{short}" for i in (0, 2) for short in SHORT] + ["embed"]
    over = [site for site in over if site in pairs.net.named_sites]
    given = {"over": over, "method": "exact", "progress": False}
    module, read = sys.modules[exact.__module__], []

    def counted(net, call, position, **options):
        read.append(position)
        return cut(net, call, position, **options)

    cut = module.cut
    monkeypatch.setattr(module, "cut", counted)
    found, rows = pair_effects(pairs, **given)
    monkeypatch.setattr(module, "can_be_cut", lambda *_: False)
    whole, others = pair_effects(pairs, **given)
    # Latents, or blocks that are not given a batch that has grown: whole runs.
    assert bool(read) == (
        name not in ("gpt_bigcode", "gpt_bigcode_many", "deepseek_v2", "deepseek_v3")
    )
    # Before, mixtures differ by rounding, as other tokens are routed with them.
    found, whole = (x[:, y["position"] >= 3] for x, y in ((found, rows), (whole, others)))
    assert set(rows["position"]) >= {3, 4, 5, 6, 7}
    assert np.abs(found - whole).max() < 1e-5 * np.abs(whole).max()
    assert np.abs(whole).max() > 0.01


def test_runs_of_several_blocks_in_one_call_equal_runs_of_their_own(monkeypatch):
    pairs = behaviour("llama")
    sites = ["blocks.2.attn.z", "blocks.0.attn.z", "embed", "blocks.1.mlp.out"]
    given = {"over": sites, "method": "exact", "progress": False}
    found, _ = pair_effects(pairs, **given)
    monkeypatch.setattr(sys.modules[Patching.__module__], "TOKENS_PER_CALL", 1)
    alone, _ = pair_effects(pairs, **given)
    assert np.abs(found - alone).max() < 1e-12
    assert np.abs(alone).max() > 0.01
