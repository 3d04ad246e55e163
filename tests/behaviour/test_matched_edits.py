"""Random edits are matched to those given, different, and of nothing else."""

import re
from typing import Any

import pytest
import torch

import nissl
from live_server import TEXT, tokenizer
from nissl.behaviour import edit_divergences, matched_by, matched_edits
from nissl.behaviour.prompts import token_ids
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
from tiny import tiny

UNIT = "blocks.1.mlp.neurons[5]"


@pytest.fixture(scope="module")
def net() -> Network:
    return nissl.load(tiny("llama"), tokenizer=tokenizer())


def units(draw: list[Any]) -> list[str]:
    return [unit for edit in draw for unit in edit.units.named()]


@pytest.mark.parametrize("edit", [ablate, lambda unit: clamp(unit, to=3.0)])
def test_units_are_drawn_of_their_site_and_size(net: Network, edit: Any) -> None:
    own = [UNIT, "blocks.2.mlp.neurons[0]"]
    edits = [edit(unit) for unit in own]
    draws = matched_edits(net, edits, TEXT, seed=3)
    assert len(draws) == 19
    assert "|activity|" in matched_by(net, edits)
    found = [units(draw) for draw in draws]
    assert len({tuple(one) for one in found}) == 19
    assert own not in found
    for one in found:
        assert [re.sub(r"\[.*", "", unit) for unit in one] == [
            "blocks.1.mlp.neurons",
            "blocks.2.mlp.neurons",
        ]
    again = matched_edits(net, edits, token_ids(net, [TEXT])[0].tolist(), seed=3)
    other = matched_edits(net, edits, TEXT, seed=4)
    assert [units(draw) for draw in again] == found != [units(draw) for draw in other]
    single = matched_edits(net, [edit(UNIT)], TEXT)
    assert UNIT not in [unit for draw in single for unit in units(draw)]


def test_heads_and_layers_are_drawn_among_the_others(net: Network) -> None:
    head = ablate("blocks.0.attn.z[head 1]")
    draws = matched_edits(net, [head], TEXT)
    assert sorted(units(draw)[0] for draw in draws) == [
        f"blocks.0.attn.z[head {h}]" for h in (0, 2, 3)
    ]
    layer = scale("blocks.1", by=0.5)
    draws = matched_edits(net, [layer], TEXT)
    assert sorted(units(draw)[0] for draw in draws) == ["blocks.0", "blocks.2"]
    assert matched_by(net, [head, layer]) == "other heads of the same layer; other layers"


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
        draws = matched_edits(net, [edit], TEXT, n=5)
        assert len(draws) == 5
        assert matched_by(net, [edit]) == "random directions of equal norm"
        x = net.run(TEXT, sites=site)[site]
        for (draw,) in draws:
            with net.edit(draw):
                moved = (net.run(TEXT, sites=site)[site] - x)[0, 3]
            assert float(moved.norm()) == pytest.approx(times * float(by.norm()), rel=1e-4)
            assert abs(float(moved @ by.to(moved)) / float(moved.norm() * by.norm())) < 0.9
    (first,), *_ = matched_edits(net, [with_strength(project(by, sites=site), 0.5)], TEXT)
    with net.edit(first):
        assert not net.run(TEXT, sites=site)[site].equal(x)


def test_what_has_no_match_is_said(net: Network) -> None:
    site, width = "blocks.1.resid_post", net.find("blocks.1.resid_post")[0].width
    for edit in (
        LearnedEdit(LowRank(width, 1), sites=site),
        patch({site: torch.zeros(1, 8, width)}),
    ):
        with pytest.raises(NisslError, match="no random edit"):
            matched_edits(net, [edit], TEXT)
    heads = [ablate(f"blocks.0.attn.z[head {h}]") for h in range(3)]
    with pytest.raises(NisslError, match="too few"):
        matched_edits(net, heads, TEXT)


def test_a_planted_unit_stands_out_and_the_others_do_nothing() -> None:
    model = tiny("llama", max_position_embeddings=256)
    down = model.model.layers[1].mlp.down_proj.weight.data
    with torch.no_grad():  # of this layer one unit writes into what is said, the rest nothing
        down[:] = 0
        down[:, 5] = 3.0
    net = nissl.load(model, tokenizer=None)
    prompt, new = [5, 9, 7, 11, 8], [6, 4, 9]
    draws = matched_edits(net, [ablate(UNIT)], prompt)
    moved = edit_divergences(net, [ablate(UNIT), *draws], prompt, new)
    assert moved[0].min() > 1e-3
    assert moved[1:].max() < 1e-6
