"""Rotations are orthogonal and favour no direction."""

import numpy as np

from nissl.statistics.rotated import rotation


def test_rotations_are_orthogonal_and_even():
    turns = np.stack([rotation(4, (0, draw)) for draw in range(3000)])
    np.testing.assert_allclose(
        turns @ turns.transpose(0, 2, 1), np.eye(4)[None].repeat(3000, 0), atol=1e-5
    )
    # Of an even draw every entry has mean 0, variance 1/4 and fourth moment 3/24.
    np.testing.assert_allclose(turns.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose((turns**2).mean(axis=0), 0.25, atol=0.025)
    np.testing.assert_allclose((turns**4).mean(axis=0), 3 / 24, atol=0.025)
    assert np.array_equal(rotation(4, (0, 1)), turns[1])
