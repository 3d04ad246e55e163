"""A planted share of nonzero activations is found, and only what training made is significant."""

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.recording import as_recording
from nissl.selectivity import lazy
from nissl.statistics import ReinitialisedNetwork, rate
from tiny import ids, tiny

UNITS = {
    "site": np.repeat(["blocks.0.mlp.neurons", "blocks.1.mlp.neurons"], 20),
    "layer": np.repeat([0, 1], 20),
    "index": np.tile(np.arange(20), 2),
}


def layers_of_relu(shares, rng, n=400):
    """Two layers whose units are nonzero at given shares of the samples."""
    values = rng.random((n, 40))
    return as_recording(
        np.where(rng.random((n, 40)) < np.repeat(shares, 20), values, 0), units=UNITS
    )


def test_the_planted_layer_is_lazy_and_the_other_is_not():
    rng = np.random.default_rng(0)
    rec = layers_of_relu([0.06, 0.5], rng)
    rec.values[:, 3], rec.values[:, 4] = 0.0, 1.0
    untrained = [layers_of_relu([0.5, 0.5], rng) for _ in range(39)]
    found = lazy(rec, untrained=untrained)
    rows = found.table.set_index("layer")
    assert rows.loc[0, "nonzero"] == pytest.approx((rec.values[:, :20] != 0).mean())
    assert rows.loc[0, ["busiest", "dead"]].tolist() == [1.0, 1 / 20]
    assert rows["null_mean"].to_numpy() == pytest.approx(0.5, abs=0.02)
    assert found.significant().units == ["blocks.0.mlp.neurons"]
    assert found.provenance["nonzero"] == pytest.approx((rec.values != 0).mean())


def test_nothing_where_training_did_nothing():
    rng = np.random.default_rng(1)

    def network():
        return layers_of_relu(rng.uniform(0.3, 0.7, 2), rng, n=60)

    p = []
    for _ in range(120):
        table = lazy(network(), untrained=[network() for _ in range(19)]).table
        p += table["p"].tolist()
    assert rate(np.asarray(p), level=0.999).holds
    assert rate(np.asarray(p), alpha=0.3, level=0.999).holds


def test_of_a_network_it_is_the_count_of_a_loop():
    net = nissl.load(tiny("gpt2", activation_function="relu"))
    texts = [row.numpy() for row in ids(6, 12)]
    rec = nissl.record(net, texts, sites="mlp.neurons", progress=False)
    fresh = [
        nissl.record(nissl.load(m), texts, sites="mlp.neurons", progress=False)
        for m in ReinitialisedNetwork().draw(net.model, 3)
    ]
    found = lazy(rec, untrained=fresh).table.set_index("unit")
    for site in found.index:
        open_ = [net.run(torch.as_tensor(t)[None], sites=site)[site] > 0 for t in texts]
        assert found.loc[site, "nonzero"] == pytest.approx(float(torch.cat(open_).double().mean()))
    assert found["null_mean"].to_numpy() == pytest.approx(0.5, abs=0.15)
    alone = lazy(rec, untrained=None)
    assert "p" not in alone.table
    assert alone.table["nonzero"].tolist() == found["nonzero"].tolist()


def test_bad_input_is_refused():
    rng = np.random.default_rng(2)
    rec = layers_of_relu([0.5, 0.5], rng)
    with pytest.raises(NisslError, match="no activation is exactly zero"):
        lazy(rec + 1, untrained=None)
    with pytest.raises(NisslError, match="not finite"):
        lazy(rec * np.nan, untrained=None)
    with pytest.raises(NisslError, match="has other units"):
        lazy(rec, untrained=[rec, rec[:, :30]])
    for few in ([], [rec]):
        with pytest.raises(NisslError, match="at least two draws"):
            lazy(rec, untrained=few)
