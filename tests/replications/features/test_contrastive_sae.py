"""Contrastive SAE: directions of one kind of play are told by differing features, noise by none."""

import runpy
from functools import reduce
from operator import xor
from pathlib import Path

import numpy as np
import pytest
import torch

from nissl.features import ReLU, TrainedDictionary

SCRIPT = Path(__file__).parents[3] / "replications" / "features" / "contrastive_sae.py"


@pytest.fixture(scope="module")
def script():
    found = runpy.run_path(str(SCRIPT))
    found["told"].__globals__.update(FEATURES=64, STEPS=300, BOARDS=small(found["BOARDS"]))
    return found


def small(boards):
    return [board for board in boards if max(board) < 4]


def sides(n=1500, d=24):
    """Activity of a few features that both of a pair have, and of some that are their own."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((16, d)) / d**0.5
    shared = rng.random((n, 8)) < 0.2
    both = [np.hstack([shared, rng.random((n, 8)) < 0.2]) @ rows for _ in range(2)]
    halves = [torch.tensor(x, dtype=torch.float32).chunk(2) for x in both]
    return [list(pair) for pair in zip(*halves, strict=True)]


def test_differing_features_tell_what_is_planted_and_nothing_where_there_is_nothing(script):
    learn, test = sides()
    common, own = script["told"](learn, test, 0).values()
    assert [common, own] == pytest.approx([0.5, 0.5], abs=0.06)
    common, own = script["told"](script["planted"](learn), script["planted"](test), 0).values()
    assert own > 0.75
    assert own > common + 0.1


def test_the_loss_equals_the_slow_obvious_form(script):
    torch.manual_seed(0)
    model = TrainedDictionary(ReLU(l1=0.0), 6, 4)
    one, other = torch.randn(2, 5, 4)
    slow = 0.0
    for a, b in zip(one, other, strict=True):
        f, g = model.encode(a), model.encode(b)
        apart = sum(abs(f[i] - g[i]) for i in range(3)) + sum(f[i] * g[i] for i in range(3, 6))
        off = sum((x - model.decode(h)).square().mean() for x, h in ((a, f), (b, g))) / 2
        slow += (off + apart / 4**0.5).item() / 5
    assert script["contrast_loss"](model, (one, other)).item() == pytest.approx(slow, rel=1e-5)


def test_optimal_play_wins_and_the_other_makes_a_mistake(script):
    every, best = script["moves"]((1, 2, 0, 0))
    assert sorted(every) == [(0, 2, 0, 0), (1, 0, 0, 0), (1, 1, 0, 0)]
    assert best == [(1, 1, 0, 0)]
    assert len(script["moves"]((1, 1, 0, 0))[1]) == 2  # lost whatever is done
    parts = script["pairs_of_play"](np.random.default_rng(0))
    boards = [[small(script["BOARDS"])[i] for i in part[:, 0]] for part in parts]
    assert all(reduce(xor, board) == 0 for part in boards for board in part)  # the other has lost
    assert not set(parts[0].flatten().tolist()) & set(parts[1].flatten().tolist())
    assert min(len(part) for part in parts) > 20
