"""RAVEL: how features of an attribute are chosen, on a planted attribute."""

import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "replications" / "testbeds" / "ravel.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_a_planted_attribute_is_found_by_probe_and_features_and_not_by_size(script):
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 3, 300)
    x = rng.standard_normal((300, 12)).astype(np.float32)
    x[:, 5:7] += 3 * np.eye(3, 2)[answers]
    x[:, :2] *= 20
    assert set(script["important_features"](x, answers, 2)) == {5, 6}
    found = script["probe_directions"](x, answers, 5).numpy()
    assert found.shape == (2, 12)  # three answers differ in two directions
    assert np.linalg.svd(found[:, 5:7])[1].min() > 0.9
    largest = script["components"](x, 2).numpy()
    assert np.linalg.svd(largest[:, :2])[1].min() > 0.99
