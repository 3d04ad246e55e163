"""Rosetta neurons: units planted in three networks are found, in a rotated basis they are not."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from nissl.statistics.rotated import rotation

SCRIPT = Path(__file__).parents[3] / "replications" / "alignment" / "rosetta_neurons.py"
N_SHARED = 5


@pytest.fixture(scope="module")
def shared():
    return runpy.run_path(str(SCRIPT))["shared"]


def networks(n_shared, n=800):
    """Three networks of other widths, whose first units hear the same sources under noise."""
    rng = np.random.default_rng(0)
    sources = rng.standard_normal((n, n_shared))
    layers = {str(width): rng.standard_normal((n, width)) for width in (20, 30, 40)}
    for x in layers.values():
        x[:, :n_shared] = 0.5 * x[:, :n_shared] + sources
    return layers


def test_planted_units_are_found_in_all_networks(shared):
    found = shared(networks(N_SHARED))[:N_SHARED]
    assert found[:, 0].min() > 0.6
    assert sorted(found[:, 1]) == list(range(N_SHARED))
    assert (found[:, 1:] == found[:, 1:2]).all()


def test_a_rotated_basis_and_networks_that_share_nothing_have_none(shared):
    for layers in (
        {key: x @ rotation(x.shape[1], (i,)) for i, (key, x) in enumerate(networks(5).items())},
        networks(0),
    ):
        assert shared(layers)[:, 0].max(initial=0) < 0.5


def test_pairs_of_opposite_sign_are_not_shared(shared):
    layers = networks(N_SHARED)
    layers["30"][:, :N_SHARED] *= -1
    assert shared(layers)[:, 0].max(initial=0) < 0.3
