"""Head shares: a feature that one head writes is its own, and random directions are no head's."""

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.features import Schedule, head_shares, sae
from nissl.network import LinearDictionary
from nissl.recording import as_recording
from nissl.specimens.planted import planted_circuit

SITE, N_HEADS = "blocks.0.attn.z", 8


@pytest.fixture(scope="module")
def net():
    planted = planted_circuit("previous_token")
    return nissl.load(planted.module, tokenizer=planted.tokenizer)


def dictionary(rows, site=SITE):
    rows = torch.as_tensor(rows, dtype=torch.float32)
    return LinearDictionary(site, rows.T, torch.zeros(len(rows)), rows, torch.zeros(rows.shape[1]))


def width(net):
    return net.find(SITE)[0].width


def test_it_equals_the_slow_obvious_form(net):
    rows = np.random.default_rng(0).standard_normal((5, width(net)))
    table = head_shares(dictionary(rows), net).set_index(["feature", "unit"])["share"]
    for i, row in enumerate(rows):
        norms = [np.linalg.norm(part) for part in np.split(row, N_HEADS)]
        for h, norm in enumerate(norms):
            assert table[i, f"{SITE}[head {h}]"] == pytest.approx(norm / sum(norms), rel=1e-5)


def test_features_of_one_head_are_found_in_activity_and_random_directions_are_no_heads(net):
    rng, d = np.random.default_rng(0), width(net) // N_HEADS
    truth = np.arange(3 * N_HEADS) % N_HEADS  # three features of each head
    rows = np.zeros((len(truth), N_HEADS, d))
    rows[np.arange(len(truth)), truth] = rng.standard_normal((len(truth), d))
    x = (rng.random((8000, len(truth))) < 0.08) @ rows.reshape(len(rows), -1)
    rec = as_recording(
        x.astype(np.float32), units={"site": [SITE] * len(x.T), "index": range(8 * d)}
    )
    how = Schedule(samples=200_000, batch_size=500, learning_rate=1e-2, cache=False)
    found = sae(rec, n_features=32, k=3, schedule=how, progress=False)
    best = (found.directions.numpy() @ rows.reshape(len(rows), -1).T).argmax(0)
    table = head_shares(found, net).query("own").set_index("feature")["head"]
    right = [table.get(i) == h for i, h in zip(best, truth, strict=True)]
    assert np.mean(right) > 0.8
    noise = head_shares(dictionary(rng.standard_normal((200, width(net)))), net)
    assert not noise["own"].any()
    assert noise.groupby("feature")["share"].sum().to_numpy() == pytest.approx(1)


def test_bad_input(net):
    with pytest.raises(NisslError, match="heads"):
        head_shares(dictionary(np.ones((2, 7))), net)
    with pytest.raises(NisslError, match="heads"):
        head_shares(dictionary(np.ones((2, width(net))), "blocks.0.mlp.neurons"), net)
