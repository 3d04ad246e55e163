"""Contributions add up to what they explain, and what was planted is traced."""

import json

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.features import contributions, reads, trace
from nissl.network import LinearDictionary
from tiny import tiny

IDS = [5, 9, 11, 7]


def transcoders(net, n=6, seed=0):
    """Random transcoders of every MLP."""
    generator = torch.Generator().manual_seed(seed)
    blocks = sorted(s for s in net.named_sites if s.endswith("mlp.out"))
    width = net.run([IDS], sites="embed")["embed"].shape[-1]
    return [
        LinearDictionary(
            out.replace("mlp.out", "resid_mid"),
            torch.randn(width, n, generator=generator),
            torch.randn(n, generator=generator),
            torch.randn(n, width, generator=generator),
            torch.randn(width, generator=generator),
            site_out=out,
            name="transcoder",
        )
        for out in blocks
    ]


@pytest.fixture(scope="module")
def net():
    return nissl.Network(tiny("llama").float())


def test_they_add_up_to_a_logit_and_to_a_feature(net):
    made = transcoders(net)
    logit = net.run([IDS], sites="logits")["logits"][0, -1, 3].item()
    found = contributions(net, IDS, to="logits[3]", dictionaries=made)
    assert found["contribution"].sum() == pytest.approx(logit, rel=1e-3, abs=1e-5)
    assert found.attrs["target"] == pytest.approx(logit, rel=1e-4)
    assert {"embed"} < set(found["unit"])
    some = contributions(net, IDS, to="logits[3]", dictionaries=made[1:])
    assert some["contribution"].sum() == pytest.approx(logit, rel=1e-3, abs=1e-5)
    assert made[0].site_out in set(some["unit"])

    late = made[-1]
    x = net.run([IDS], sites=late.site_in)[late.site_in][0, 2]
    before = (x @ reads(late, 4)).item()
    table = contributions(
        net, IDS, to=f"{late.site_out}.transcoder[4]", dictionaries=made, position=2
    )
    assert table["contribution"].sum() == pytest.approx(before, rel=1e-3, abs=1e-5)
    assert table["position"].max() <= 2  # nothing comes from later tokens
    assert not table["unit"].str.contains(f"{late.site_out}.transcoder", regex=False).any()


def test_at_one_place_the_weight_is_that_of_the_weights(net):
    early, late = transcoders(net)[:2]
    out = f"{early.site_out}.transcoder"
    table = contributions(
        net, IDS[:1], to=f"{late.site_out}.transcoder[1]", dictionaries=[early, late]
    )
    direct = early.directions @ reads(late, 1)
    # With one token attention passes values on: what is left is what the weights say at once.
    stopped = net.named_sites[late.site_in].name.replace("resid_mid", "attn.out")
    with net.backward(nissl.network.gradients.StopGradient([stopped])):
        alone = contributions(
            net, IDS[:1], to=f"{late.site_out}.transcoder[1]", dictionaries=[early, late]
        )
    rows = alone[alone["unit"].str.startswith(out)]
    assert len(rows)
    assert len(table) >= len(alone)
    for row in rows.itertuples():
        feature = int(row.unit.split("[")[1][:-1])
        assert row.weight == pytest.approx(direct[feature].item(), rel=1e-4)


def test_what_was_planted_is_traced(net, tmp_path):
    made = transcoders(net)
    early, late = made[:2]
    planted = 3 * reads(late, 2) / reads(late, 2).norm() ** 2
    early.w_dec[5] = 200 * planted
    early.b_enc[5] = 100.0
    out = f"{early.site_out}.transcoder[5]"
    found = trace(
        net, IDS, to=f"{late.site_out}.transcoder[2]", dictionaries=made[:2], n=1, depth=2
    )
    assert found.table.loc[0, "begin"] == out
    assert json.loads(found.save(tmp_path / "c.json").read_text())["edges"][0]["unit"] == out
    assert found.graph().number_of_edges() == len(found.table)
    found.plot()


def test_what_cannot_be_is_refused(net):
    made = transcoders(net)
    with pytest.raises(NisslError, match="no unit"):
        contributions(net, IDS, to="logits", dictionaries=made)
    with pytest.raises(NisslError, match="one site"):
        contributions(net, IDS, to="logits[0]", dictionaries=[made[0], made[0]])
    with pytest.raises(NisslError):
        contributions(net, IDS, to=f"{made[0].site_out}.transcoder[99]", dictionaries=made)
    assert np.isfinite(contributions(net, IDS, to="logits[0]", dictionaries=[]).contribution).all()
