"""Communities: the factors of a product, their number, their strength against a loop."""

import numpy as np
import pytest

from nissl.statistics.communities import communities, community_strength, errors_by_number


def test_factors_of_a_product_are_found():
    rng = np.random.default_rng(0)
    u = np.kron(np.eye(3), np.ones((5, 1)))
    t = rng.random((8, 3)) * [1, 2, 3]
    a = (t[:, None] * u) @ u.T
    course, membership = communities(a, 3)
    order = membership.argmax(axis=0) // 5
    np.testing.assert_allclose(membership, u[:, order], atol=0.01)
    np.testing.assert_allclose(course, t[:, order], atol=0.01)
    assert all((part >= 0).all() for part in communities(a - 0.5, 3))


def test_the_number_is_that_which_predicts_pairs_left_out():
    rng = np.random.default_rng(1)
    u = np.kron(np.eye(2), np.ones((6, 1)))
    a = (rng.random((10, 2))[:, None] * u) @ u.T + 0.1 * rng.standard_normal((10, 12, 12))
    errors, least = errors_by_number((a + a.swapaxes(1, 2)) / 2, [1, 2, 3], progress=False)
    assert least == 2
    assert errors[2] < 0.5 * errors[1]


def test_strength_is_the_mean_square_over_pairs_and_matrices():
    rng = np.random.default_rng(2)
    course, member = rng.random((4, 2)), rng.random((5, 2))
    for k, found in enumerate(community_strength(course, member)):
        added = [
            course[t, k] * member[a, k] * member[b, k]
            for t in range(4) for a in range(5) for b in range(5) if a != b
        ]  # fmt: skip
        assert found == pytest.approx(np.sqrt(np.mean(np.square(added))))
