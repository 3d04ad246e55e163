"""Extreme tokens: planted at the first token and found, absent and not found, equal to sums."""

import numpy as np
import pandas as pd
import pytest

import nissl
from nissl.circuits import extreme_tokens, sink_shares
from nissl.errors import TooFewSamples
from nissl.network import attend
from nissl.specimens.planted.builder import WORDS
from nissl.statistics import permutation_test
from tiny import tiny

QUIET = {"progress": False}


def texts(n=12, length=10):
    return list(np.random.default_rng(0).integers(3, 40, (n, length)))


def found_in(net, given, **options):
    found = extreme_tokens(net, given, length=10, **options, **QUIET)
    rows = found.significant().table
    return found, set(zip(rows["label"], rows["layer"], strict=True))


def test_what_is_planted_is_found_and_nothing_else():
    net = nissl.load(tiny("llama"), **QUIET)
    assert found_in(net, texts())[1] == set()
    peak = nissl.scale(sites="blocks.2.resid_pre", by=30.0, positions=0)
    drain = nissl.scale(sites="blocks.0.attn.v", by=0.01, positions=0)
    sinks = [attend(f"blocks.1.attn.z[head {head}]", "first") for head in range(4)]
    with net.edit(peak, drain, *sinks):
        found, significant = found_in(net, texts())
    assert significant == {("residual_peak", 2), ("value_drain", 0), ("sink", 1)}
    assert found.table["unit"].unique().tolist() == [f"blocks.{layer}" for layer in range(3)]


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2"])
def test_numbers_equal_sums_by_hand(name):
    net = nissl.load(tiny(name), **QUIET)
    given = texts(8)
    table = extreme_tokens(net, given, length=10, batch_size=3, **QUIET).table
    table = table.set_index(["label", "layer"])
    at = "blocks.1"
    run = net.run(given, sites=[f"{at}.attn.pattern", f"{at}.attn.v", f"{at}.resid_post"])
    keys = run[f"{at}.attn.pattern"][:, 5:, :, :5].mean(1)
    sink = keys[..., 0] - keys[..., 1:].amax(-1)
    assert table.loc[("sink", 1), "excess"] == pytest.approx(sink.mean().item(), rel=1e-4)
    kept = net.find(f"{at}.attn.v")[0].heads
    norms = run[f"{at}.attn.v"].unflatten(-1, (kept, -1)).norm(dim=-1).log()
    drain = norms[:, 1:].amin(1) - norms[:, 0]
    assert table.loc[("value_drain", 1), "excess"] == pytest.approx(drain.mean().item(), rel=1e-4)
    norms = run[f"{at}.resid_post"].norm(dim=-1).log()
    peak = norms[:, 0] - norms[:, 1:].amax(1)
    assert table.loc[("residual_peak", 1), "excess"] == pytest.approx(peak.mean().item(), rel=1e-4)


def test_a_head_that_is_dormant_in_texts_of_one_kind():
    rng, rows = np.random.default_rng(0), []
    for _ in range(24):
        a, b = rng.permutation(WORDS)[:12].reshape(2, 6)
        rows += [(" ".join([*a, *a]), "repeats"), (" ".join([*a, *b]), "does not")]
    table = pd.DataFrame(rows, columns=["text", "kind"])
    shares = sink_shares(nissl.load("planted-induction"), table, length=13, **QUIET)
    assert shares.shape == (48, 16)
    found = permutation_test(shares, "kind", score="mean_difference", **QUIET)
    assert found.significant().units == ["blocks.1.attn.z[head 4]"]
    assert shares["text"].values.tolist() == list(range(48))


def test_texts_that_are_too_short():
    net = nissl.load(tiny("llama"), **QUIET)
    with pytest.raises(TooFewSamples, match="8 are needed"):
        extreme_tokens(net, texts(), length=11, **QUIET)
