"""PCA and LDA under a mask: planted columns, and that the mask sees training samples only."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.feature_selection import f_classif
from sklearn.model_selection import cross_val_score

from nissl.errors import NisslError
from nissl.statistics import masked_lda


def noise(n=80, n_units=200, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, n_units)), np.arange(n) % 2


def test_few_planted_units_are_found_and_the_mask_helps():
    x, y = noise()
    x[:, [3, 50, 120]] += 1.5 * y[:, None]
    masked = cross_val_score(masked_lda(5), x, y, cv=5).mean()
    assert masked > 0.8
    assert masked > cross_val_score(masked_lda(None), x, y, cv=5).mean() + 0.1
    assert {3, 50, 120} <= set(np.flatnonzero(masked_lda(5).fit(x, y)[1].get_support()))


def test_nothing_in_noise_though_the_mask_picks_what_differs():
    scores = [cross_val_score(masked_lda(5), *noise(seed=s), cv=5).mean() for s in range(10)]
    assert abs(np.mean(scores) - 0.5) < 0.06


def test_the_order_of_units_is_that_of_f():
    x, y = noise()
    for labels in (y, np.arange(80) % 3, np.array(["a", "b"])[y]):
        kept = masked_lda(20).fit(x, labels)[1].get_support()
        assert set(np.flatnonzero(kept)) == set(np.argsort(-f_classif(x, labels)[0])[:20])


def test_a_unit_is_kept_in_all_its_features_and_constant_columns_are_last():
    x, y = noise(n_units=40)
    x[:, 7] += 3 * y
    x[:, 31] = 0
    x[:, 11] = 5
    kept = np.flatnonzero(masked_lda(1, n_features=2).fit(x, y)[1].get_support())
    assert kept.tolist() == [7, 27]
    kept = np.flatnonzero(clone(masked_lda(19, n_features=2)).fit(x, y)[1].get_support())
    assert set(range(40)) - set(kept) == {11, 31}


def test_numbers_out_of_range():
    for wrong in ({"n_units": 0}, {"n_features": 0}, {"variance": 1.0}, {"variance": 0}):
        with pytest.raises(NisslError, match="n_units"):
            masked_lda(**wrong)
    with pytest.raises(NisslError, match="blocks"):
        masked_lda(3, n_features=3).fit(*noise())
