"""Effective features: those that toy models are made to represent are counted, in order."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from nissl.features import Schedule

SCRIPT = Path(__file__).parents[3] / "replications" / "features" / "effective_features.py"


@pytest.fixture(scope="module")
def script():
    found = runpy.run_path(str(SCRIPT))
    how = Schedule(samples=200 * 256, batch_size=256, learning_rate=3e-3, cache=False)
    found["HOW"]["schedule"] = how
    return found


def test_more_are_counted_where_more_are_represented(script):
    rng, counted = np.random.default_rng(0), []
    for n in (4, 10, 20):  # of 40, in 10 dimensions: at right angles, or in opposite pairs
        w = np.zeros((40, 10))
        axes = np.linalg.qr(rng.standard_normal((10, 10)))[0]
        w[:n] = np.concatenate([axes, -axes])[:n]
        x = rng.random((5000, 40)) * (rng.random((5000, 40)) < 0.1)
        counted.append(script["counted"](x @ w, script["K"]))
    assert counted[0] < 0.7 * counted[1] < 0.5 * counted[2]


def test_noise_counts_as_other_noise(script):
    rng = np.random.default_rng(0)
    counted = [script["counted"](rng.standard_normal((5000, 10)), script["K"]) for _ in range(2)]
    assert counted[0] == pytest.approx(counted[1], rel=0.1)


def test_toys_are_what_the_paper_says_and_features_come_with_their_density(script):
    toy, x = script["Toy"](0), script["batch"](0, seed=0, size=4000)
    densities = script["DENSITIES"]
    assert (x > 0).float().mean((1, 2)).numpy() == pytest.approx(densities, rel=0.1)
    assert torch.equal(x, script["batch"](0, seed=0, size=4000))
    assert not torch.equal(x, script["batch"](1, seed=0, size=4000))
    out = toy(x[:, :3])
    for model in range(len(densities)):
        for row in range(3):
            hidden = toy.w[model] @ x[model, row]
            again = torch.relu(toy.w[model].T @ hidden + toy.b[model, 0])
            assert torch.allclose(out[model, row], again, atol=1e-6)
