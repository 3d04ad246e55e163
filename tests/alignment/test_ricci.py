"""Ricci geometry: what two representations share is found, and what they do not is not."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from nissl import NisslError, Test
from nissl.alignment import RicciCommunities, RicciCurvature, compare
from nissl.statistics import neighbour_graph, ollivier_ricci, ricci_flow

RNG = np.random.default_rng(0)


def responses(n=48, width=40, noise=0.3, seed=0):
    """Clusters of unequal width, seen through random weights: one latent, many networks."""
    rng, latent = np.random.default_rng(seed), np.random.default_rng(9)
    centres = 3 * latent.standard_normal((4, 6))[np.arange(n) % 4]
    x = centres + latent.uniform(0.2, 2, (4, 1))[np.arange(n) % 4] * latent.standard_normal((n, 6))
    return x @ rng.standard_normal((6, width)) + noise * rng.standard_normal((n, width))


def test_what_is_shared_is_found_and_what_is_not_is_not():
    a, b = responses(), responses(seed=1)
    for by in (RicciCurvature(), RicciCommunities(n_steps=4)):
        one, two = (by.normalise(by.prepare(x)) for x in (a, b))
        assert by.score(one, one) == pytest.approx(1)
        orders = [RNG.permutation(len(one)) for _ in range(39)]
        chance = [by.score(one, two[np.ix_(order, order)]) for order in orders]
        assert by(a, b) > max(0.2, *chance)
        assert abs(np.mean(chance)) < 0.1
    quick = Test(n_permutations=19)
    near = RicciCurvature(n_neighbours=3)
    found = compare(a[:30], b[:30], measure=near, test=quick, progress=False)
    assert found.value == pytest.approx(near(b[:30], a[:30]))
    label = [ricci_flow(neighbour_graph(by.prepare(x)), n_steps=4)[1] for x in (a, b)]
    assert by(a, b) == pytest.approx(adjusted_rand_score(*label))


def test_of_stimuli_that_are_curved_alike_nothing_is_said():
    ring = np.roll(np.eye(6, dtype=bool), 1, axis=1)
    curved = ollivier_ricci(ring | ring.T)
    with pytest.raises(NisslError, match="alike"):
        RicciCurvature().score(curved, curved)
