"""Dictionaries: a site of features is recorded and edited as a site of neurons is."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import Dictionary, LinearDictionary, ablate, add, clamp, scale
from tiny import TRANSFORMERS, ids, inputs, tiny

SITE, LAST = "blocks.1.resid_post", "blocks.2.resid_post"
N = 30


def random_dictionary(site_in=SITE, site_out="", *, width=16, out=16):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return LinearDictionary(
        site_in, draw(width, N), draw(N), draw(N, out) / 5, draw(out), site_out=site_out
    )


def test_it_is_a_dictionary():
    assert isinstance(random_dictionary(), Dictionary)
    with pytest.raises(NisslError, match="encoder has 3 features"):
        LinearDictionary("a", torch.eye(3), torch.zeros(3), torch.eye(2, 3), torch.zeros(3))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_features_are_recorded_and_run(name):
    net, x, sae = nissl.load(tiny(name)), inputs(name), random_dictionary()
    with_features = net.with_dictionary(sae)
    site = f"{SITE}.sae"
    assert site not in net.named_sites
    assert with_features.sites(site)["width"].tolist() == [N]
    found = with_features.run(x, sites=[site, SITE])
    assert torch.equal(found[site], sae.encode(found[SITE]))
    assert [s.name for s in with_features.find("resid_post.sae")] == [site]
    if name != "vit":
        rec = nissl.record(with_features, x, sites=site, progress=False)
        assert rec.shape == (x.numel(), N)
        assert rec["unit"].values[3] == f"{site}[3]"


def test_writing_features_keeps_what_they_do_not_explain():
    net, x, sae = nissl.load(tiny("llama")), ids(), random_dictionary()
    features, site = net.with_dictionary(sae), f"{SITE}.sae"
    plain = features.run(x, sites=[site, SITE])
    wanted = plain[site].clone()
    wanted[..., 4] = 0
    wanted[:, 2, 7] = 11
    with features.edit(ablate(f"{site}[4]"), clamp(f"{site}[7]", to=11.0, positions=2)):
        found = features.run(x, sites=[site, SITE])
    assert torch.equal(found[site], wanted)  # seen as they were written, not encoded again
    expected = plain[SITE] + sae.decode(wanted) - sae.decode(plain[site])
    torch.testing.assert_close(found[SITE], expected, rtol=0, atol=1e-12)
    with (
        features.edit(ablate(f"{site}[4]")),
        features.edit(clamp(f"{site}[7]", to=11.0, positions=2)),
    ):
        torch.testing.assert_close(features.run(x, sites=[site, SITE]), found, rtol=0, atol=1e-12)
    # The edit is one of the model: the network without the site runs with it too.
    with features.edit(ablate(f"{site}[4]")):
        assert not torch.equal(net.run(x, sites=SITE)[SITE], plain[SITE])
    assert torch.equal(net.run(x, sites=SITE)[SITE], plain[SITE])


def test_an_edit_of_the_site_between_is_seen():
    net, x, sae = nissl.load(tiny("llama")), ids(), random_dictionary()
    features, site = net.with_dictionary(sae), f"{SITE}.sae"
    with features.edit(ablate(f"{site}[4]"), add(sites=SITE, by=1.0)):
        found = features.run(x, sites=[site, SITE])
    assert torch.equal(found[site], sae.encode(found[SITE]))


def test_scaling_twice_in_two_calls_scales_each_once():
    net, x = nissl.load(tiny("llama")), ids()
    transcoder = random_dictionary("blocks.1.resid_mid", "blocks.1.mlp.out")
    features, site = net.with_dictionary(transcoder, name="tc"), "blocks.1.resid_mid.tc"
    plain = features.run(x, sites=[site, "blocks.1.mlp.out", "blocks.1.resid_mid"])
    with features.edit(scale(f"{site}[3]", by=2.0), scale(f"{site}[3]", by=5.0)):
        first = features.run(x, sites=list(plain))
        second = features.run(x, sites=list(plain))
    wanted = plain[site].clone()
    wanted[..., 3] *= 10
    for found in (first, second):
        torch.testing.assert_close(found[site], wanted)
        assert torch.equal(found["blocks.1.resid_mid"], plain["blocks.1.resid_mid"])
        expected = plain["blocks.1.mlp.out"] + transcoder.decode(wanted)
        expected = expected - transcoder.decode(plain[site])
        torch.testing.assert_close(found["blocks.1.mlp.out"], expected, rtol=0, atol=1e-12)


def test_features_of_maps_and_under_generation_and_autograd():
    conv, x = nissl.load(tiny("conv")), inputs("conv")
    sae = random_dictionary("relu", width=4, out=4)
    features = conv.with_dictionary(sae)
    found = features.run(x, sites=["relu", "relu.sae"])
    assert torch.equal(found["relu.sae"], sae.encode(found["relu"]))
    with features.edit(ablate("relu.sae[2]")):
        assert not features.run(x, sites="relu.sae")["relu.sae"][..., 2].any()
    net = nissl.load(tiny("gpt2"))
    features = net.with_dictionary(random_dictionary())
    steer = add(f"{SITE}.sae[5]", by=20.0)
    with features.edit(steer):
        a = features.generate(ids(), max_new_tokens=6)
        assert features.generate(ids(), max_new_tokens=6, use_cache=False) == a
    assert net.generate(ids(), max_new_tokens=6) != a
    coefficient = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    with features.edit(add(f"{SITE}.sae[5]", by=coefficient)):
        loss = net.model(ids()).logits.square().mean()
    (gradient,) = torch.autograd.grad(loss, coefficient)
    assert gradient != 0


def test_several_sites_and_names_taken_are_refused():
    net = nissl.load(tiny("llama"))
    with pytest.raises(NisslError, match="belongs to one site"):
        net.with_dictionary(random_dictionary("resid_post"))
    with pytest.raises(NisslError, match="already is"):
        net.with_dictionary(random_dictionary()).with_dictionary(random_dictionary())
    both = net.with_dictionary(random_dictionary()).with_dictionary(random_dictionary(), name="b")
    assert {f"{SITE}.sae", f"{SITE}.b"} <= set(both.named_sites)
