"""Retrieval after a Procrustes rotation: right where geometry is shared, at chance where not."""

import runpy
from pathlib import Path

import numpy as np
import pytest

NAME = "language_models_and_brain_geometry.py"
SCRIPT = Path(__file__).parents[3] / "replications" / "alignment" / NAME


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_retrieval_of_a_rotated_copy_and_of_nothing(script):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((script["N_SENTENCES"], 15)) * np.linspace(3, 1, 15)
    turned = x @ np.linalg.qr(rng.standard_normal((15, 15)))[0]
    assert script["retrieval"](x, turned) == 1
    noisy = turned + 2 * rng.standard_normal(turned.shape)
    assert 0.1 < script["retrieval"](x, noisy) < 1
    assert script["retrieval"](x, rng.permutation(turned)) < 0.12
