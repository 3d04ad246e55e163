"""Predictions against predictions moved: planted ones are found, others at the level."""

import numpy as np
import pytest

from nissl.statistics import NotExchangeable, Test
from nissl.statistics.predictions import against_moved, prediction_correlation

FOLD = np.repeat(np.arange(4), 20)


def test_correlation_is_that_of_what_is_left_of_each_folds_mean():
    rng = np.random.default_rng(0)
    y, made = rng.standard_normal((2, 80, 3)) + FOLD[:, None] * 5
    left = [
        np.concatenate([z[f == FOLD] - z[f == FOLD].mean(axis=0) for f in range(4)])
        for z in (y, made)
    ]
    slow = [np.corrcoef(a, b)[0, 1] for a, b in zip(left[0].T, left[1].T, strict=True)]
    np.testing.assert_allclose(prediction_correlation(y, made, FOLD), slow, atol=1e-12)
    assert prediction_correlation(y * 0, made, FOLD).tolist() == [0, 0, 0]


def test_planted_predictions_are_found_and_none_at_the_level():
    p = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y, made = rng.standard_normal((2, 80, 2))
        made[:, 0] += y[:, 0]
        how = {"units": ["planted", "none"], "method": "encode", "progress": False}
        test = Test(19, correction=None, seed=seed)
        table = against_moved(y, made, FOLD, made, test=test, **how).table
        assert table["p"][0] == 0.05
        p.append(table["p"][1])
    assert np.mean(np.array(p) <= 0.05) <= 0.15
    with pytest.raises(NotExchangeable):
        against_moved(y.cumsum(0), made.cumsum(0), FOLD, made.cumsum(0), test=test, **how)
