"""What each edit makes of the values, against the obvious."""

import pandas as pd
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import ablate, add, clamp, project, scale
from nissl.statistics import Finding
from tiny import ids, inputs, tiny

SITE = "blocks.1.resid_post"


def before_and_after(edit, site=SITE, *, dtype=torch.float64):
    net, x = nissl.load(tiny("llama", dtype=dtype)), ids()
    plain = net.run(x, sites=site)[site]
    with net.edit(edit):
        return plain, net.run(x, sites=site)[site]


def test_units_by_address_are_projected_in_the_order_they_are_given():
    plain, found = before_and_after(project([3.0, 4.0], units=[f"{SITE}[9]", f"{SITE}[2]"]))
    direction = torch.tensor([3.0, 4.0], dtype=plain.dtype) / 5
    pair, expected = plain[..., [9, 2]], plain.clone()
    expected[..., [9, 2]] = pair - (pair @ direction)[..., None] * direction
    torch.testing.assert_close(found, expected)


def test_a_head_by_address_is_projected():
    net = nissl.load(tiny("llama"))
    at, direction = "blocks.1.attn.z", torch.tensor([1.0, 2.0, 0.0, -2.0], dtype=torch.float64) / 3
    plain = net.run(ids(), sites=at)[at]
    with net.edit(project(direction, units=[f"{at}[head 2]"])):
        found = net.run(ids(), sites=at)[at]
    expected, head = plain.clone(), plain[..., 8:12]
    expected[..., 8:12] = head - (head @ direction)[..., None] * direction
    torch.testing.assert_close(found, expected)


def test_a_value_may_take_the_place_of_zero():
    plain, found = before_and_after(ablate(f"{SITE}[3]", to=5.0))
    assert (found[..., 3] == 5).all()
    assert torch.equal(found[..., :3], plain[..., :3])


def test_project_takes_a_subspace_out_or_keeps_it_alone():
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(3, 16, generator=generator, dtype=torch.float64)
    directions = torch.cat([directions, directions[:1] * 2])  # of rank three
    plain, out = before_and_after(project(directions, sites=SITE))
    _, onto = before_and_after(project(directions, sites=SITE, onto=True))
    assert (out @ directions.T).abs().max() < 1e-10
    torch.testing.assert_close(out + onto, plain)
    torch.testing.assert_close(
        onto,
        torch.linalg.lstsq(directions.T, onto.flatten(0, 1).T).solution.T.reshape(2, 7, 4)
        @ directions,
    )
    one = torch.zeros(16)
    one[3] = 5.0
    plain, out = before_and_after(project(one, sites=SITE, positions=2))
    plain[:, 2, 3] = 0
    torch.testing.assert_close(out, plain)
    for bad, said in ((torch.zeros(16), "zero"), (torch.ones(15), "do not fit 16 units")):
        with pytest.raises(NisslError, match=said):
            before_and_after(project(bad, sites=SITE))


def test_clamp_scale_and_add_are_their_formulas():
    plain, found = before_and_after(clamp(sites=SITE, between=(-0.5, 0.25)))
    assert torch.equal(found, plain.clamp(-0.5, 0.25))
    plain, found = before_and_after(clamp(sites=SITE, between=(torch.zeros(16), None)))
    assert torch.equal(found, plain.clamp_min(0))
    factors = torch.linspace(-1, 1, 16)
    plain, found = before_and_after(scale(sites=SITE, by=factors))
    assert torch.equal(found, plain * factors.double())
    plain, found = before_and_after(scale(sites=SITE, by=[3.0, 5.0], indices=[9, 2]))
    plain[..., [9, 2]] *= torch.tensor([3.0, 5.0], dtype=torch.float64)
    assert torch.equal(found, plain)
    plain, found = before_and_after(add(sites=SITE, by=2.0 * factors))
    assert torch.equal(found, plain + 2.0 * factors.double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_of_another_type_become_those_of_the_model(dtype):
    values = torch.linspace(-1, 1, 16, dtype=torch.float64)
    for edit in (
        add(sites=SITE, by=values),
        clamp(sites=SITE, to=values.numpy()),
        project(values, sites=SITE),
        ablate(sites=SITE, to=values),
        ablate(sites=SITE, to="resample", of=ids(1, 4)),
    ):
        plain, found = before_and_after(edit, dtype=dtype)
        assert found.dtype == dtype
        assert found.isfinite().all()
        assert not torch.equal(plain, found)


def test_units_of_a_finding_are_ablated():
    units = [f"blocks.1.mlp.neurons[{i}]" for i in (7, 2)] + ["blocks.0.attn.z[3]"]
    table = pd.DataFrame({"unit": units, "score": [3.0, 2.0, 1.0], "effect": [1.0, 1.0, 1.0]})
    found = Finding(table, method="planted", null="none", provenance={})
    net, x = nissl.load(tiny("llama")), ids()
    with net.edit(ablate(found)):
        after = net.run(x, sites=["blocks.1.mlp.neurons", "blocks.0.attn.z"])
    assert not after["blocks.1.mlp.neurons"][..., [2, 7]].any()
    assert after["blocks.1.mlp.neurons"][..., 1].any()
    assert not after["blocks.0.attn.z"][..., 3].any()


def test_items_of_outputs_without_places_and_draws_in_maps():
    net, x = nissl.load(tiny("conv")), inputs("conv", batch=4)
    plain = net.model(x)
    with net.edit(clamp(sites="head", to=5.0, items=[0, -1])):
        found = net.model(x)
    assert (found[[0, 3]] == 5).all()
    assert torch.equal(found[1:3], plain[1:3])
    reference = inputs("conv", batch=2)
    rows = net.run(reference, sites="conv1")["conv1"].flatten(0, -2)
    with net.edit(ablate(sites="conv1", to="resample", of=reference, seed=5)):
        drawn = net.run(x, sites="conv1")["conv1"]
    which = (drawn.flatten(0, -2)[:, None] - rows).abs().amax(-1).argmin(-1)
    assert torch.equal(drawn.flatten(0, -2), rows[which])
    # Draws are even: 256 places of 128 rows; no row is drawn a tenth of the time.
    assert which.bincount(minlength=128).max() < 13
    with net.edit(ablate(sites="conv1", to="resample", of=reference, seed=6)):
        assert not torch.equal(net.run(x, sites="conv1")["conv1"], drawn)


def test_experts_that_were_not_called_are_no_samples_of_a_mean():
    net, x, site = nissl.load(tiny("mixtral")), ids(), "blocks.1.moe.experts[1].neurons"
    raw = net.run(x, sites=site)[site]
    called = ~raw.isnan().any(-1)
    assert 0 < called.sum() < called.numel()
    with net.edit(ablate(sites=site, to="mean", of=x)):
        found = net.run(x, sites=site)[site]
    torch.testing.assert_close(found[called], raw[called].mean(0).expand(int(called.sum()), -1))
    with net.edit(ablate(f"{site}[4]")):
        assert not net.run(x, sites=site)[site][called][:, 4].any()
