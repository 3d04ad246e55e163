"""Worth: a dictionary that changes nothing recovers all, one that knows nothing little."""

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.features import Schedule, sae, worth
from nissl.network import LinearDictionary
from tiny import tiny

SITE = "blocks.1.resid_post"
QUIET = {"progress": False}


@pytest.fixture(scope="module")
def trained():
    net = nissl.load(tiny("llama"), **QUIET)
    rng = np.random.default_rng(0)
    texts = [rng.integers(3, 40, 20).tolist() for _ in range(120)]
    rec = nissl.record(net, texts[:100], sites=SITE, **QUIET)
    schedule = Schedule(samples=400 * 256, batch_size=256, learning_rate=3e-3, cache=False)
    return net, sae(rec, n_features=64, k=6, schedule=schedule, **QUIET), texts[100:]


def test_what_is_known_stands_above_what_is_not(trained):
    net, found, texts = trained
    width = net.find(SITE)[0].width
    eye, zero = torch.eye(width), torch.zeros(width)
    same = LinearDictionary(SITE, eye, zero, eye, zero, activation=lambda x: x)
    table = worth({"sae": found, "same": same}, net, texts, **QUIET).set_index("dictionary")
    assert table.loc["same", ["explained", "recovered"]].tolist() == pytest.approx([1, 1], abs=1e-5)
    assert table.loc["same", "loss"] == pytest.approx(worth_loss(net, texts), abs=1e-6)
    assert table.loc["sae", "explained"] > 0.6 > 0.3 > table.loc["random", "explained"]
    assert table.loc["sae", "recovered"] > table.loc["random", "recovered"]
    assert 3 < table.loc["sae", "active"] <= 6
    x = torch.cat([net.run([text], sites=SITE)[SITE][0] for text in texts]).float()
    rebuilt = found(x)
    share = 1 - (x - rebuilt).square().sum() / (x - x.mean(0)).square().sum()
    assert table.loc["sae", "explained"] == pytest.approx(float(share.detach()), abs=1e-5)
    assert table.loc["PCA", "active"] == pytest.approx(round(table.loc["sae", "active"]))


def worth_loss(net, texts):
    return float(nissl.behaviour.losses(net, texts, **QUIET).mean())


def test_dictionaries_of_several_sites_are_refused(trained):
    net, found, texts = trained
    eye = torch.eye(net.find(SITE)[0].width)
    other = LinearDictionary("blocks.0.resid_post", eye, eye[0], eye, eye[0])
    with pytest.raises(NisslError, match="other sites"):
        worth({"a": found, "b": other}, net, texts, **QUIET)
