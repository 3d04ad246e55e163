"""SNMF: the feature of a concept is found, and each direction is taken at one divergence."""

import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "replications" / "features" / "snmf.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_the_feature_of_a_concept_is_found_whatever_its_size(script):
    rng = np.random.default_rng(0)
    code, there = rng.exponential(size=(500, 30)) * 10.0 ** rng.integers(-2, 3, 30), np.arange(500)
    there = there < 20
    code[there, 7] += 3 * code[:, 7].std()
    assert script["most_different"](code, there) == 7


def test_directions_are_compared_at_one_divergence(script):
    steep = np.array([0.01, 1.0, 30.0])  # divergence is quadratic, the effect is linear
    measure = lambda s: (steep * s**2, 2 * s)  # noqa: E731
    divergence, effect = script["at_divergence"](measure, 3, 1.0, target=0.25, steps=12)
    assert divergence == pytest.approx(0.25, rel=0.02)
    assert effect == pytest.approx(2 * np.sqrt(0.25 / steep), rel=0.01)
