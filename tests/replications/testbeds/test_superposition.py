"""Toy models: two features in one dimension are a pair of opposites where rare, one where dense."""

import runpy
from pathlib import Path

import numpy as np

TOY = runpy.run_path(str(Path(__file__).parents[3] / "replications/testbeds/superposition.py"))


def test_pairs_of_opposites_where_features_are_rare():
    # Several of each, since some end in a worse optimum.
    w = TOY["trained"](np.repeat([0.05, 1.0], 8), features=2, dimensions=1, steps=1500)[:, 0]
    opposite = (w.min(1) < -0.8) & (w.max(1) > 0.8)
    assert opposite[:8].any()
    assert not opposite[8:].any()
    for pair in w[opposite]:
        assert np.allclose(TOY["dimensions_of"](pair[None]), 0.5, atol=0.02)
        assert TOY["near"](TOY["dimensions_of"](pair[None])).all()


def test_a_pentagon_has_two_fifths_and_random_directions_have_not():
    angle = 2 * np.pi * np.arange(5) / 5
    pentagon = np.array([np.cos(angle), np.sin(angle)])
    assert np.allclose(TOY["dimensions_of"](pentagon), 0.4)
    assert np.allclose(TOY["dimensions_of"](np.eye(3)), 1.0)
    random = np.random.default_rng(0).standard_normal((20, 60))
    assert TOY["near"](TOY["dimensions_of"](random)).mean() < 0.4
