"""In-context score: below zero where a planted network reads what it has read, equal to a loop."""

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.behaviour import in_context_score
from nissl.errors import TooFewSamples

OPTIONS = {"early": 6, "late": 18, "progress": False}


def test_induction_predicts_what_is_repeated():
    rng = np.random.default_rng(0)
    half = np.stack([rng.permutation(range(3, 19))[:12] for _ in range(32)])
    begin = np.ones((32, 1), dtype=int)
    ids = np.concatenate([begin, half, half], 1)
    other = np.concatenate([begin, half, rng.permuted(half, axis=1)], 1)
    net = nissl.load("planted-induction")
    found = in_context_score(net, list(ids), **OPTIONS)
    assert found.mean() < -2
    assert in_context_score(net, list(other), **OPTIONS).mean() > -1
    losses = -net.run(ids, sites="logits")["logits"].log_softmax(-1)
    rows = torch.arange(32)
    by_hand = losses[rows, 17, ids[:, 18]] - losses[rows, 5, ids[:, 6]]
    assert np.allclose(found, by_hand, atol=1e-4)


def test_what_cannot_be():
    net = nissl.load("planted-induction")
    with pytest.raises(TooFewSamples, match="500"):
        in_context_score(net, ["apple bear"])
    with pytest.raises(NisslError, match="early"):
        in_context_score(net, ["apple bear"], early=5, late=5)
