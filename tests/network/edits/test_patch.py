"""Patches: values of another run, aligned as was said."""

import pytest
import torch

import nissl
from nissl import NisslError
from nissl.network import patch
from tiny import TRANSFORMERS, ids, inputs, tiny

SITE, LAST = "blocks.0.resid_post", "blocks.2.resid_post"


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_whole_residual_patched_gives_the_other_run(name):
    net, x = nissl.load(tiny(name)), inputs(name)
    other = inputs(name).flip(0)
    values = net.run(other, sites=[SITE, LAST])
    with net.edit(patch({SITE: values[SITE]})):
        torch.testing.assert_close(net.run(x, sites=LAST)[LAST], values[LAST], rtol=0, atol=1e-9)


def test_positions_are_taken_from_where_they_are_said_to_be():
    net = nissl.load(tiny("llama"))
    texts = [ids(1, n)[0].tolist() for n in (6, 4)]
    values = net.run([ids(1, 5, seed=9)[0].tolist()], sites=SITE)
    source, plain = values[SITE][0], net.run(texts, sites=SITE, padding="left")[SITE]
    edit = patch(values, positions=[1, -1], from_positions=[4, -5])
    with net.edit(edit):
        found = net.run(texts, sites=SITE, padding="left")[SITE]
    expected = plain.clone()
    expected[0, 1], expected[0, 5] = source[4], source[0]
    expected[1, 3], expected[1, 5] = source[4], source[0]
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1, 2:], expected[1, 2:])
    with net.edit(patch(values, positions=2, units=f"{SITE}[7]")):
        found = net.run(texts, sites=SITE)[SITE]
    assert (found[:, 2, 7] == source[2, 7]).all()
    assert torch.equal(found[:, 2, :7], net.run(texts, sites=SITE)[SITE][:, 2, :7])


def test_a_recording_is_another_run():
    net = nissl.load(tiny("gpt2"))
    texts = [ids(1, n)[0].tolist() for n in (5, 3)]
    rec = nissl.record(net, texts, sites=SITE, progress=False) + 1.0
    raw = net.run(texts, sites=SITE)[SITE].float() + 1.0
    # The texts themselves are longer, but where the recording ends nothing is changed.
    with net.edit(patch(rec, positions=slice(0, 5))):
        longer = [[*t, 7, 8] for t in texts]
        found = net.run(longer, sites=SITE)[SITE]
    plain = net.run(longer, sites=SITE)[SITE]
    torch.testing.assert_close(found[0, :5].float(), raw[0])
    torch.testing.assert_close(found[1, :3].float(), raw[1, :3])
    assert torch.equal(found[1, 3:5], plain[1, 3:5])
    assert torch.equal(found[0, 5:], plain[0, 5:])


def test_runs_that_do_not_align_are_refused():
    net, x = nissl.load(tiny("llama")), ids(2, 6)
    shorter = net.run(ids(1, 4), sites=SITE)
    for edit, said in (
        (patch(shorter), "4 positions, this prompt 6"),
        (patch(shorter, positions=5), "4 positions"),
        (patch(shorter, positions=[1], from_positions=[4]), "no position 4"),
        (patch({SITE: torch.zeros(3, 6, 16)}), "do not fit"),
        (patch({SITE: torch.zeros(2, 6, 15)}), "no unit|do not fit|width|15"),
        (patch(shorter, sites=LAST), "no values"),
    ):
        with pytest.raises((NisslError, RuntimeError), match=said), net.edit(edit):
            net.model(x)
    with pytest.raises(NisslError, match="as many"):
        patch(shorter, positions=slice(1, 3), from_positions=[1, 2])


def test_maps_are_patched_at_places():
    net, x = nissl.load(tiny("conv")), inputs("conv")
    values = net.run(x.flip(0), sites="conv2")
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, 2:4, 5] = True
    plain = net.run(x, sites="conv2")["conv2"]
    with net.edit(patch(values, positions=mask)):
        found = net.run(x, sites="conv2")["conv2"]
    assert torch.equal(found, torch.where(mask[..., None], values["conv2"], plain))
