"""Best partners against sorting the whole matrix of correlations."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from nissl.errors import NisslError
from nissl.statistics import partners as module
from nissl.statistics.partners import best_partners, mutual_partners, paired_units


def activity(n, m, seed):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, 8)) @ rng.standard_normal((8, m)) + 3).astype(np.float32)


@pytest.mark.parametrize("tile", [7, 64, 1000])
def test_they_are_those_of_the_whole_matrix(tile):
    x = activity(500, 150, 0)
    partners, r = best_partners(x, k=4, tile=tile)
    whole = np.corrcoef(x.T.astype(float))
    np.fill_diagonal(whole, 0)
    order = np.argsort(-np.abs(whole), axis=1)[:, :4]
    assert (partners == order).mean() > 0.999
    np.testing.assert_allclose(r, np.take_along_axis(whole, order, axis=1), atol=2e-6)


def test_a_planted_copy_is_found_in_another_array():
    x, y = activity(9000, 40, 0), activity(9000, 60, 1)
    y[:, 33] = -x[:, 5]
    partners, r = best_partners(x, y, k=2, tile=16)
    assert (partners[5, 0], round(float(r[5, 0]), 5)) == (33, -1.0)


def test_constant_units_and_units_that_are_not_finite_stay_alone():
    x = activity(100, 6, 0)
    x[:, 1] = 4.0
    x[3, 2] = np.nan
    partners, r = best_partners(x, k=5)
    assert (partners[[1, 2]] == -1).all()
    assert np.isnan(r[[1, 2]]).all()
    assert not np.isin(partners, [1, 2]).any()
    assert (partners[0] >= 0).sum() == 3


def test_samples_must_match():
    with pytest.raises(NisslError, match="samples"):
        best_partners(np.zeros((4, 2)), np.zeros((5, 2)))


def test_mutual_and_paired_units_are_those_of_the_whole_matrix(monkeypatch):
    x, y = activity(60, 9, 0), activity(60, 12, 1)
    x[:, 2] = 1.0
    with np.errstate(invalid="ignore"):
        whole = np.nan_to_num(np.corrcoef(x.T.astype(float), y.T.astype(float))[:9, 9:])
    size = np.abs(whole)
    alive = np.arange(9) != 2
    partner, r, mutual = mutual_partners(x, y)
    assert np.array_equal(partner[alive], size.argmax(1)[alive])
    back = size.argmax(0)[size.argmax(1)]
    assert np.array_equal(mutual, alive & (back == np.arange(9)))
    np.testing.assert_allclose(r[alive], whole[np.arange(9), size.argmax(1)][alive], atol=1e-5)
    partner, r, mutual = paired_units(x, y)
    rows, columns = linear_sum_assignment(-size)
    np.testing.assert_allclose(np.abs(r).sum(), size[rows, columns].sum(), atol=1e-4)
    assert len(set(partner[alive])) == 8
    assert (partner[2], r[2], mutual[2]) == (-1, 0, False)
    monkeypatch.setattr(module, "PAIRS", 100)
    with pytest.raises(NisslError, match="too many pairs"):
        paired_units(x, y)
