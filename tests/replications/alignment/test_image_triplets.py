"""Image triplets: similarities that go together are taken apart, as many triplets in each cell."""

import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "replications" / "alignment" / "image_triplets.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def drawn(n=60, n_drawn=80_000):
    """Low- and high-level similarities that share half of their variance, and triplets."""
    rng = np.random.default_rng(0)
    common, *own = rng.standard_normal((3, n, n))
    triplets = rng.integers(0, n, (n_drawn, 3))
    return [common + x for x in own], triplets[[len(set(row)) == 3 for row in triplets.tolist()]]


def test_chosen_triplets_are_uncorrelated_and_observers_told_apart(script):
    pair, triplets = drawn()
    chosen, fewest = script["balanced"](pair, triplets)
    assert fewest == script["N_KEPT"]
    assert len(chosen) == fewest * script["N_CELLS"] ** 2
    assert script["correlation"](pair, triplets) > 0.4
    assert abs(script["correlation"](pair, chosen)) < 0.1
    assert script["agreement"](pair, triplets) > 0.6
    assert abs(script["agreement"](pair, chosen) - 0.5) < 0.05
