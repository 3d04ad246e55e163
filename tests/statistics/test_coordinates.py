"""Coordinates: the distances of patterns, in as few dimensions as there are."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from nissl import NisslError
from nissl.statistics.coordinates import coordinates, finite


@pytest.mark.parametrize("width", [3, 9, 10, 400])
def test_distances_are_kept_and_the_mean_is_zero(width):
    x = np.random.default_rng(0).standard_normal((10, width)) + 5
    found = coordinates(x)
    assert found.shape == (10, min(width, 9))
    np.testing.assert_allclose(pdist(found), pdist(x), rtol=1e-9)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)


def test_what_is_no_activity_is_refused():
    with pytest.raises(NisslError, match="give four or more"):
        coordinates(np.ones((3, 2)))
    for bad in (np.nan, np.inf):
        with pytest.raises(NisslError, match="not finite"):
            finite([[1.0, bad]])
        with pytest.raises(NisslError):
            coordinates(np.full((5, 9), bad))
    assert finite(np.array([[1, 2]], dtype=np.int8)).dtype == np.float64
