"""Effects of edges: the slope of cutting each a little, and runs of their own."""

import sys

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import Behaviour, Patching, exact_edges
from nissl.circuits import eap, edge_effects, pair_edge_effects
from nissl.network import cut_edges, edges_of
from tiny import CAUSAL, in_doubles, tiny

QUIET = {"progress": False}


def behaviour(name="llama", *, n=8):
    rng = np.random.default_rng(0)
    clean = [rng.integers(3, 40, (6, 5)[i % 2]) for i in range(n)]
    corrupted = [row.copy() for row in clean]
    for row in corrupted:
        row[2] = (row[2] + 5) % 37 + 3
    net = nissl.load(in_doubles(tiny(name)))
    return Behaviour(net, clean, corrupted, right=[5] * n, wrong=[9] * n)


@pytest.mark.parametrize("name", [name for name in CAUSAL if "deepseek" not in name])
def test_eap_is_the_slope_of_cutting(name, monkeypatch):
    pairs = behaviour(name, n=2)
    edges, patching = edges_of(pairs.net), Patching(pairs, "noising")
    found = eap(patching, edges)
    assert not found[:, ~edges.allowed].any()
    monkeypatch.setattr(sys.modules[eap.__module__], "TOGETHER", 1)  # one product a block
    assert torch.allclose(eap(patching, edges), found, rtol=0, atol=1e-12)
    share = torch.full(edges.allowed.shape, 1e-13, dtype=torch.float64, requires_grad=True)
    given = patching.given(edges.writer_sites)
    with pairs.net.edit(cut_edges(share, to=given)):
        total = patching.total(pairs.net.model(**patching.call.kwargs))
    total.backward()
    slope = patching.sign * share.grad
    assert torch.allclose(found.sum(0)[edges.allowed], slope[edges.allowed], atol=1e-5)
    assert float(slope.abs().max()) > 0.01


def test_exact_edges_equal_one_cut_after_the_other():
    pairs = behaviour(n=2)
    edges, patching = edges_of(pairs.net), Patching(pairs, "denoising")
    found = exact_edges(patching, edges)
    given = patching.given(edges.writer_sites)
    for edge in ("embed -> blocks.1.attn.k[head 0]", "blocks.0.mlp.out -> logits"):
        with pairs.net.edit(cut_edges(edge, to=given)):
            alone = patching.metric(patching.run()[0]) - patching.value
        row, column = edges.index([edge])
        assert torch.allclose(found[:, row[0], column[0]], alone, atol=1e-12)


def test_integrated_edges_come_nearer_to_exact_ones():
    pairs = behaviour()
    each = {m: pair_edge_effects(pairs, method=m, **QUIET) for m in ("exact", "eap", "eap_ig")}
    near = [np.corrcoef(each["exact"].ravel(), each[m].ravel())[0, 1] for m in ("eap", "eap_ig")]
    assert near[1] > max(0.7, near[0])


def test_a_finding_of_edges_can_be_cut():
    pairs = behaviour()
    found = edge_effects(pairs, method="eap", **QUIET)
    assert len(found) == len(edges_of(pairs.net))
    assert found.null.startswith("PermutedLabels")
    with pairs.net.edit(cut_edges(found.top(3).units)):
        pairs.clean()


def test_what_cannot_be_is_said_first():
    pairs = behaviour(n=4)
    with pytest.raises(NisslError, match="16 ways"):
        edge_effects(pairs, **QUIET)
    with pytest.raises(NisslError, match="acdc"):
        edge_effects(pairs, method="acdc", test=None, **QUIET)
    same = Behaviour(pairs.net, pairs.clean_ids, pairs.clean_ids, right=[5] * 4, wrong=[9] * 4)
    with pytest.raises(NisslError, match="the same for the clean"):
        edge_effects(same, test=None, **QUIET)
