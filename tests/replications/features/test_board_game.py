"""Board game: features that write a logit are found, heads that tell, and games end in a row."""

import runpy
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

import nissl
from nissl.network import LinearDictionary
from nissl.training import small_language_model

FOLDER = Path(__file__).parents[3] / "replications" / "features"


@pytest.fixture(scope="module", params=["board_game", "board_game_heads"])
def script(request):
    return runpy.run_path(str(FOLDER / f"{request.param}.py"))


@pytest.fixture(scope="module")
def circuits():
    return runpy.run_path(str(FOLDER / "board_game.py"))


def test_games_end_as_they_are_known_to(script):
    after_five = [p for p in permutations(range(9), 5) if script["won"](p)]
    assert len(after_five) == 1440  # of 15,120, as is known
    assert not any(script["won"](p[:4]) for p in after_five)
    games = [script["game"](np.random.default_rng(seed)) for seed in range(300)]
    assert not any(script["won"](x[:n]) for x in games for n in range(len(x)))
    assert all(script["won"](x) or len(x) == 9 for x in games)
    assert all(len(set(x)) == len(x) for x in games)


@pytest.fixture(scope="module")
def planted(circuits):
    """A network, and dictionaries of what its blocks wrote, one feature of which says 'over'."""
    model = small_language_model(tie_word_embeddings=False, **circuits["SIZES"])
    turn = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(0)))[0]
    with torch.no_grad():
        model.lm_head.weight[circuits["OVER"]] = 3 * turn[17]
    none = torch.zeros(64)
    made = [LinearDictionary(s, turn.T, none, turn, none) for s in circuits["SITES"]]
    return nissl.load(model, progress=False), made


def test_the_feature_that_writes_the_logit_is_found_and_matters(circuits, planted):
    net, made = planted
    for seed in range(6):
        ids = [circuits["OVER"], *circuits["game"](np.random.default_rng(seed))]
        table = circuits["traced"](net, ids, made)
        each = circuits["lost"](net, ids, made, table, torch.eye(len(table)))
        last = table["position"] == len(ids) - 1
        wrote = table["unit"].str.endswith(".sae[17]") & last  # those that are active
        assert wrote[0]
        assert wrote[np.argmax(each)]
        assert each[wrote].max() > 2 * np.abs(each[~wrote]).max()


def test_what_is_lost_is_what_ablation_of_a_feature_loses(circuits, planted):
    net, made = planted
    ids = [circuits["OVER"], 4, 0, 2, 6, 8]
    table = circuits["traced"](net, ids, made)
    rows = table.index[::40]
    each = circuits["lost"](net, ids, made, table, torch.eye(len(table))[rows])
    seen, way = net, circuits["WAY"]
    for one in made:
        seen = seen.with_dictionary(one)
    before = seen.run([ids], sites="logits")["logits"][0, -1] @ way
    for row, value in zip(rows, each, strict=True):
        edit = nissl.ablate([table["unit"][row]], positions=int(table["position"][row]))
        with seen.edit(edit):
            after = seen.run([ids], sites="logits")["logits"][0, -1] @ way
        assert value == pytest.approx(float(before - after), abs=2e-4)


def test_heads_that_write_into_some_games_are_told(planted, monkeypatch):
    monkeypatch.setattr(sys.modules["nissl.features.head_codes"], "SEEN", 40_000)  # quick
    heads = runpy.run_path(str(FOLDER / "board_game_heads.py"))
    games = [[heads["OVER"], *heads["game"](np.random.default_rng(seed))[:5]] for seed in range(48)]
    chosen = np.isin(np.arange(24), [3, 13, 22])
    units = [str(x) for x in nissl.network.nodes_of(planted[0], "attn.z")]
    with planted[0].edit(heads["Planted"](np.array(units)[chosen], games[:24])):
        found = heads["told"](heads["scores"](planted[0], games[:24], games[24:]), chosen)
    nothing = heads["told"](heads["scores"](planted[0], games[:24], games[24:]), chosen)
    assert found["auroc"] > 0.9
    assert found["p"] < 0.05
    assert abs(nothing["auroc"] - 0.5) < 0.4
