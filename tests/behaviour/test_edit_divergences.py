"""The divergence under an edit is that of two plain runs."""

import numpy as np
import pytest

import nissl
from live_server import TEXT, tokenizer
from nissl.behaviour import edit_divergences
from nissl.behaviour.prompts import token_ids
from nissl.network import Network, ablate, clamp, scale
from tiny import tiny

UNIT = "blocks.1.mlp.neurons[5]"


@pytest.fixture(scope="module")
def net() -> Network:
    return nissl.load(tiny("llama"), tokenizer=tokenizer())


def test_the_divergence_is_that_of_plain_runs(net: Network) -> None:
    prompt = token_ids(net, [TEXT])[0].tolist()
    new = net.generate([prompt], max_new_tokens=6)[0]
    edits = [clamp(UNIT, to=30.0), [ablate("blocks.0.attn.z[head 1]"), scale(UNIT, by=2)], None]
    told: list[int] = []
    found = edit_divergences(net, edits, TEXT, new, tell=told.append)
    assert found.shape == (3, len(new))
    assert told[-1] == 3
    for edit, row in zip(edits, found, strict=True):
        for step in range(len(new)):
            text = [[*prompt, *new[:step]]]
            before = net.run(text, sites="logits")["logits"][0, -1].double().softmax(-1)
            with net.edit(*([] if edit is None else [edit])):
                after = net.run(text, sites="logits")["logits"][0, -1].double().softmax(-1)
            slow = float((before * (before / after).log()).sum())
            assert row[step] == pytest.approx(slow, abs=1e-5)
    assert found[2].max() < 1e-6 < found[0].max()


def test_a_position_from_the_prompts_end_is_the_prompts(net: Network) -> None:
    prompt = token_ids(net, [TEXT])[0].tolist()
    new = net.generate([prompt], max_new_tokens=4)[0]
    at_end = clamp(UNIT, to=30.0)
    last = clamp(UNIT, to=30.0, positions=-1)
    (whole, one) = edit_divergences(net, [at_end, last], prompt, new)
    assert one[0] > 0
    exact = clamp(UNIT, to=30.0, positions=len(prompt) - 1)
    assert edit_divergences(net, [exact], prompt, new)[0] == pytest.approx(one, abs=1e-6)
    assert not np.allclose(whole[1:], one[1:], atol=1e-6)


def test_without_a_continuation_it_is_that_of_the_prompts_end(net: Network) -> None:
    edits = [clamp(UNIT, to=30.0)]
    (found,) = edit_divergences(net, edits, TEXT)
    (whole,) = edit_divergences(net, edits, TEXT, [5, 6, 7])
    assert found.shape == (1,)
    assert found[0] == pytest.approx(whole[0], abs=1e-6)
    assert found[0] > 0
