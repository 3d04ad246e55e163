"""Edits of a real language model: equal to hooks written by hand, and felt in what it says."""

import pytest
import torch

from nissl.behaviour import Behaviour
from nissl.network import ablate, patch, restart, scale

FRANCE, ITALY = "The capital of France is", "The capital of Italy is"
SITES = ["blocks.9.mlp.neurons", "blocks.9.attn.z", "blocks.20.resid_post"]


@pytest.mark.real
def test_edits_of_smollm2_are_those_of_hooks_by_hand(smollm2):
    net = smollm2
    kept = {}

    def neurons(module, args):
        x = args[0].clone()
        x[..., 812] = 0.0
        kept[SITES[0]] = x
        return (x,)

    def z(module, args):
        x = args[0].clone()
        x[:, :, 2 * 64 : 3 * 64] *= -2.0
        kept[SITES[1]] = x
        return (x,)

    def stream(module, args, output):
        kept[SITES[2]] = output[0] if isinstance(output, tuple) else output

    block = net.model.model.layers[9]
    handles = [
        block.mlp.down_proj.register_forward_pre_hook(neurons),
        block.self_attn.o_proj.register_forward_pre_hook(z),
        net.model.model.layers[20].register_forward_hook(stream),
    ]
    ids = net.tokenizer(FRANCE, return_tensors="pt").input_ids
    with torch.no_grad():
        logits = net.model(ids).logits
    for handle in handles:
        handle.remove()
    with net.edit(ablate(f"{SITES[0]}[812]"), scale(sites=SITES[1], heads=2, by=-2.0)):
        found = net.run(FRANCE, sites=[*SITES, "logits"])
    assert torch.equal(found["logits"], logits)
    for site in SITES:
        assert torch.equal(found[site], kept[site])


@pytest.mark.real
def test_a_patch_of_the_stream_takes_paris_away(smollm2):
    # Until block 22 the stream holds the country where its name stands; from block 24 on the
    # answer lies at the last position.
    net, early, late = smollm2, "blocks.10.resid_post", "blocks.26.resid_post"
    assert "Paris" in net.generate(FRANCE, max_new_tokens=3)
    italy = net.run(ITALY, sites=[early, late])
    for site, position in ((early, 3), (late, -1)):
        with net.edit(patch({site: italy[site]}, positions=position)):
            said = net.generate(FRANCE, max_new_tokens=3)
            assert net.generate(FRANCE, max_new_tokens=3, use_cache=False) == said
        assert "Paris" not in said
        assert "Rome" in said
    assert "Paris" in net.generate(FRANCE, max_new_tokens=3)


@pytest.mark.real
def test_a_restart_at_the_last_position_is_the_patch_of_a_whole_run(smollm2):
    net, site = smollm2, "blocks.26.resid_post"
    behaviour = Behaviour(net, [FRANCE], [ITALY], right=[" Paris"], wrong=[" Rome"])
    assert behaviour.clean_value > 0 > behaviour.corrupted_value
    assert behaviour.differing.nonzero().tolist() == [[0, 3]]
    clean = net.run(behaviour.clean_call, sites=site)[site]
    again = restart(net, behaviour.corrupted_call, at=site, from_position=-1)
    logits = again.run(clean[:, -1:], sites="logits")["logits"]
    with net.edit(patch({site: clean}, positions=-1)):
        whole = behaviour.corrupted()
    torch.testing.assert_close(behaviour.score(logits), whole, rtol=0, atol=1e-3)
    assert behaviour.normalised(whole) == pytest.approx(1, abs=0.05)


@pytest.mark.real
def test_chats_and_batches_are_continued(smollm2):
    chat = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    assert "Paris" in smollm2.generate(chat, max_new_tokens=12)
    alone = [smollm2.generate(text, max_new_tokens=4) for text in (FRANCE, "Two plus two is")]
    assert smollm2.generate([FRANCE, "Two plus two is"], max_new_tokens=4) == alone
