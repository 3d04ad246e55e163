"""Comparisons inside strata against pairs written out; labels that stay in their stratum."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from nissl.statistics import stratified_auroc
from nissl.statistics.stratified import permuted_inside


def test_it_is_that_of_pairs_of_a_kind():
    rng = np.random.default_rng(0)
    kind, wrong = rng.integers(0, 3, 50), rng.random(50) < 0.4
    values = rng.integers(0, 6, (50, 4)).astype(float)
    for unit in range(4):
        above = pairs = 0.0
        for i in np.flatnonzero(wrong):
            for j in np.flatnonzero(~wrong & (kind == kind[i])):
                above += (values[i, unit] > values[j, unit]) + 0.5 * (
                    values[i, unit] == values[j, unit]
                )
                pairs += 1
        assert stratified_auroc(values, wrong, kind)[unit] == pytest.approx(above / pairs)
    one = stratified_auroc(values, wrong, np.zeros(50))
    assert one[0] == pytest.approx(roc_auc_score(wrong, values[:, 0]))


def test_blocks_trade_all_their_labels():
    rng = np.random.default_rng(0)
    subject, kind = np.repeat(np.arange(40), 2), np.tile(["easy", "hard"], 40)
    wrong = rng.random(80) < np.where(kind == "easy", 0.3, 0.7)
    draws = permuted_inside(wrong, subject, kind, 30)
    pairs = {tuple(row) for row in wrong.reshape(-1, 2).tolist()}
    for draw in draws:
        assert {tuple(row) for row in draw.reshape(-1, 2).tolist()} == pairs
        for one in ("easy", "hard"):
            assert draw[kind == one].sum() == wrong[kind == one].sum()
    assert len(np.unique(draws, axis=0)) > 25
