"""Random edits are matched and different, and the divergence is the textbook's."""

import re
from typing import Any

import numpy as np
import pytest
import torch

import nissl
from live_server import TEXT
from nissl.errors import NisslError
from nissl.network import (
    LearnedEdit,
    LowRank,
    Network,
    SteeringVector,
    ablate,
    add,
    clamp,
    patch,
    project,
    scale,
    with_strength,
)
from nissl.web.matched import divergences, matched_edits
from nissl.web.reading import ids_of
from tiny import tiny

UNIT = "blocks.1.mlp.neurons[5]"


def ids(net: Network) -> list[int]:
    return ids_of(net, TEXT)


def units(draw: list[Any]) -> list[str]:
    return [unit for edit in draw for unit in edit.units.named()]


def test_the_divergence_is_that_of_plain_runs(net: Network) -> None:
    prompt = ids(net)
    new = net.generate([prompt], max_new_tokens=6)[0]
    edits = [clamp(UNIT, to=30.0), [ablate("blocks.0.attn.z[head 1]"), scale(UNIT, by=2)], None]
    told: list[int] = []
    found = divergences(net, prompt, new, edits, tell=told.append)
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
    prompt = ids(net)
    new = net.generate([prompt], max_new_tokens=4)[0]
    at_end = clamp(UNIT, to=30.0)
    last = nissl.network.clamp(UNIT, to=30.0, positions=-1)
    (whole, one) = divergences(net, prompt, new, [at_end, last])
    assert one[0] > 0
    exact = nissl.network.clamp(UNIT, to=30.0, positions=len(prompt) - 1)
    assert divergences(net, prompt, new, [exact])[0] == pytest.approx(one, abs=1e-6)
    assert not np.allclose(whole[1:], one[1:], atol=1e-6)


@pytest.mark.parametrize("edit", [ablate, lambda unit: clamp(unit, to=3.0)])
def test_units_are_drawn_of_their_site_and_size(net: Network, edit: Any) -> None:
    own = [UNIT, "blocks.2.mlp.neurons[0]"]
    draws, against = matched_edits(net, [edit(unit) for unit in own], ids(net), seed=3)
    assert len(draws) == 19
    assert "|activity|" in against
    found = [units(draw) for draw in draws]
    assert len({tuple(one) for one in found}) == 19
    assert own not in found
    for one in found:
        assert [re.sub(r"\[.*", "", unit) for unit in one] == [
            "blocks.1.mlp.neurons",
            "blocks.2.mlp.neurons",
        ]
    again, _ = matched_edits(net, [edit(unit) for unit in own], ids(net), seed=3)
    other, _ = matched_edits(net, [edit(unit) for unit in own], ids(net), seed=4)
    assert [units(draw) for draw in again] == found != [units(draw) for draw in other]
    single, _ = matched_edits(net, [edit(UNIT)], ids(net))
    assert UNIT not in [unit for draw in single for unit in units(draw)]


def test_heads_and_layers_are_drawn_among_the_others(net: Network) -> None:
    head = ablate("blocks.0.attn.z[head 1]")
    draws, against = matched_edits(net, [head], ids(net))
    assert sorted(units(draw)[0] for draw in draws) == [
        f"blocks.0.attn.z[head {h}]" for h in (0, 2, 3)
    ]
    assert "other heads" in against
    draws, against = matched_edits(net, [scale("blocks.1", by=0.5)], ids(net))
    assert sorted(units(draw)[0] for draw in draws) == ["blocks.0", "blocks.2"]
    assert "other layers" in against


def test_directions_are_turned_and_as_long(net: Network) -> None:
    site, width = "blocks.1.resid_post", net.find("blocks.1.resid_post")[0].width
    by = torch.arange(width).float()
    vector = SteeringVector(width)
    vector.vector.data = by.clone()
    edits = [
        add(sites=site, by=by),
        LearnedEdit(vector, sites=site),
        with_strength(add(sites=site, by=by), 2.0),
    ]
    for edit, times in zip(edits, (1, 1, 2), strict=True):
        draws, against = matched_edits(net, [edit], ids(net), n=5)
        assert against == "random directions of equal norm"
        x = net.run(TEXT, sites=site)[site]
        for (draw,) in draws:
            with net.edit(draw):
                moved = (net.run(TEXT, sites=site)[site] - x)[0, 3]
            assert float(moved.norm()) == pytest.approx(times * float(by.norm()), rel=1e-4)
            assert abs(float(moved @ by.to(moved)) / float(moved.norm() * by.norm())) < 0.9
    (first,), *_ = matched_edits(net, [with_strength(project(by, sites=site), 0.5)], ids(net))[0]
    with net.edit(first):
        assert not net.run(TEXT, sites=site)[site].equal(x)


def test_what_has_no_match_is_said(net: Network) -> None:
    site, width = "blocks.1.resid_post", net.find("blocks.1.resid_post")[0].width
    for edit in (
        LearnedEdit(LowRank(width, 1), sites=site),
        patch({site: torch.zeros(1, len(ids(net)), width)}),
    ):
        with pytest.raises(NisslError, match="no random edit"):
            matched_edits(net, [edit], ids(net))
    heads = [ablate(f"blocks.0.attn.z[head {h}]") for h in range(3)]
    with pytest.raises(NisslError, match="too few"):
        matched_edits(net, heads, ids(net))


def test_a_planted_unit_stands_out_and_the_others_do_nothing() -> None:
    model = tiny("llama", max_position_embeddings=256)
    down = model.model.layers[1].mlp.down_proj.weight.data
    with torch.no_grad():  # of this layer one unit writes into what is said, the rest nothing
        down[:] = 0
        down[:, 5] = 3.0
    net = nissl.load(model, tokenizer=None)
    prompt, new = [5, 9, 7, 11, 8], [6, 4, 9]
    draws, _ = matched_edits(net, [ablate(UNIT)], prompt)
    moved = divergences(net, prompt, new, [ablate(UNIT), *draws])
    assert moved[0].min() > 1e-3
    assert moved[1:].max() < 1e-6
