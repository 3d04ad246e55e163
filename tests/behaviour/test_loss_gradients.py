"""Gradients of the loss: those of torch, sample by sample as a recording has them."""

import numpy as np
import pytest
import torch

import nissl
from nissl.behaviour import loss_gradients
from tiny import tiny


def test_they_are_autograds_and_lie_beside_a_recordings_samples():
    net = nissl.Network(tiny("llama"))
    rng = np.random.default_rng(0)
    ids = [rng.integers(3, 40, n).tolist() for n in (9, 4, 17)]
    site = "blocks.0.resid_post"
    found = loss_gradients(net, ids, site=site, window=8, batch_size=2, progress=False)
    rec = nissl.record(net, ids, sites=site, window=8, progress=False)
    assert found.shape == rec.shape
    assert found["unit"].values.tolist() == rec["unit"].values.tolist()
    assert found["document"].values.tolist() == rec["document"].values.tolist()
    assert found.attrs["quantity"] == "gradient"

    alone = loss_gradients(net, [ids[1]], site=site, progress=False)

    def loss(shift):
        seen = nissl.network.add(f"{site}[2]", by=shift)
        with net.edit(seen), torch.no_grad():
            logits = net.model(torch.tensor([ids[1]])).logits[0, :-1].double()
        return torch.nn.functional.cross_entropy(
            logits, torch.tensor(ids[1][1:]), reduction="sum"
        ).item()

    slope = (loss(1e-2) - loss(-1e-2)) / 2e-2  # of unit 2 at every token at once
    assert abs(alone.values[:, 2].sum() - slope) < 1e-3 * max(abs(slope), 1)


def test_a_name_of_several_sites_is_refused():
    net = nissl.Network(tiny("llama"))
    with pytest.raises(nissl.NisslError, match="sites"):
        loss_gradients(net, [[5, 6, 7]], site="resid_post", progress=False)
