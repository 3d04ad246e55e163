"""Tails against a slow search, and what a random choice would keep."""

import numpy as np
import pytest

from nissl.behaviour.tail_error import Tails


def slow_error(activity, write, threshold):
    errors = []
    for row in activity:
        terms = [a * w for a, w in zip(row, write, strict=True)]
        tail = sum(t for t in terms if np.linalg.norm(t) <= threshold) + np.zeros(write.shape[1])
        errors.append(np.linalg.norm(tail) / np.linalg.norm(sum(terms)))
    return np.mean(errors)


def test_tails_are_those_of_a_slow_search():
    rng = np.random.default_rng(1)
    activity, write = rng.standard_normal((6, 20)) ** 3, rng.standard_normal((20, 8))
    tails = Tails(activity, write)
    sizes = np.sort(np.abs(activity).ravel() * np.tile(np.linalg.norm(write, axis=1), 6))
    for error in (0.05, 0.2, 0.5):
        level = tails.threshold(error)
        assert tails.error(level) == pytest.approx(slow_error(activity, write, level), rel=1e-5)
        assert tails.error(level) <= error
        longer = sizes[np.searchsorted(sizes, level) + 1] * (1 + 1e-6)
        assert slow_error(activity, write, longer) > error * 0.9  # it could hardly be longer
        assert tails.ratio(level) == np.mean(
            np.abs(activity) * np.linalg.norm(write, axis=1) > level
        )
    assert tails.threshold(0.0) == -1
    assert tails.ratio(tails.threshold(1.0)) == 0


def test_chance_is_that_of_random_choices():
    rng = np.random.default_rng(2)
    activity, write = rng.standard_normal((40, 300)), rng.standard_normal((300, 32))
    tails = Tails(activity, write)
    kept = tails.chance(0.6)
    dropped = rng.random((30, *activity.shape)) >= kept
    out = np.linalg.norm(activity @ write, axis=1)
    errors = np.linalg.norm((activity * dropped) @ write, axis=2) / out
    assert errors.mean() == pytest.approx(0.6, abs=0.01)
