"""Known terms are found in embeddings that hold them, and not in random ones."""

import runpy
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).parents[3] / "replications/features/neurons_to_neutrons.py"
RUN = runpy.run_path(str(SCRIPT))


def test_a_helix_holds_the_terms_and_noise_does_not():
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.standard_normal((48, 48)))[0][:3]
    helix = 3 * RUN["terms"](72) @ turned + 0.1 * rng.standard_normal((72, 48))
    shares, scores = RUN["held"](helix)
    assert (shares > 0.9).all()
    assert scores.shape == (72, 6)
    assert RUN["held"](rng.standard_normal((72, 48)))[0].max() < 0.4


def test_the_function_has_its_terms():
    pairs, y = RUN["table"](24)
    grid = y.reshape(24, 24)
    assert pairs.shape == (576, 2)
    assert np.allclose(grid[0, 12] - grid[0, 0], y[12] - y[0])
    shell = grid - np.roll(grid, 12, axis=0)  # the periodic term is gone
    assert np.abs(np.diff(shell[12:, 0], 2)).max() < 1e-9
