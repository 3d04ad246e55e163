"""A paired test finds what falls, and nothing in changes without a sign."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test as permuted

from nissl.statistics import Test, paired_test, rate


def test_changes_without_a_sign_are_noise():
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(12), 2)  # the two facts of a block change together
    level, change = rng.standard_normal((2, 24, 2000))
    change = 0.3 * change + np.repeat(rng.standard_normal((12, 2000)), 2, axis=0)
    units = pd.DataFrame({"unit": [f"n[{i}]" for i in range(2000)]})
    found = paired_test(
        level,
        level - change,
        units=units,
        exchange=block,
        test=Test(correction=None),
        progress=False,
    )
    assert rate(found.table["p"], level=0.999).holds
    assert found.table["fall"].to_numpy() == pytest.approx(change.mean(axis=0))


def test_against_scipy():
    rng = np.random.default_rng(1)
    before = rng.standard_normal((14, 3)) + np.array([0.0, 0.4, 1.0])
    after = rng.standard_normal((14, 3))
    units = pd.DataFrame({"unit": list("abc")})
    table = paired_test(
        before, after, units=units, test=Test(n_permutations=4999, correction=None), progress=False
    ).table
    for unit, row in table.iterrows():
        pair = before[:, unit], after[:, unit]
        expected = permuted(
            pair,
            lambda a, b: (a - b).mean(),
            permutation_type="samples",
            alternative="greater",
            n_resamples=9999,
        )
        assert row["fall"] == pytest.approx(expected.statistic)
        assert row["p"] == pytest.approx(expected.pvalue, abs=0.03)


def test_what_does_not_change_is_marked():
    before = np.random.default_rng(2).standard_normal((12, 2))
    table = paired_test(
        before, before - [0.0, 1.0], units=pd.DataFrame({"unit": ["a", "b"]}), progress=False
    ).table.set_index("unit")
    assert (table.loc["a", "p"], table.loc["b", "p"]) == (1, 0.001)
    assert table.loc["a", "note"] != ""
