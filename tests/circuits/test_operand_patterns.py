"""Operand patterns: planted ones are named, and noise is named nothing at the nominal level."""

import numpy as np
import pandas as pd
import pytest

from nissl import NisslError
from nissl.circuits import operand_patterns
from nissl.recording import as_recording
from nissl.statistics import Test

VARIABLES = ["first", "second", "result"]
FIRST, SECOND = np.asarray([(a, b) for a in range(10) for b in range(10 - a)]).T
NUMBERS = {"first": FIRST, "second": SECOND, "result": FIRST + SECOND}
PLANTED = {
    "2 <= first <= 4": (FIRST >= 2) & (FIRST <= 4),
    "second == 3": SECOND == 3,
    "result % 3 == 1": (FIRST + SECOND) % 3 == 1,
    "first == second": FIRST == SECOND,
    "first % 2 == result % 2": SECOND % 2 == 0,  # comes under the name that is simpler
}


def named(values, times=1, **options):
    samples = {name: np.tile(x, times) for name, x in NUMBERS.items()}
    rec = as_recording(values, samples=samples)
    return operand_patterns(rec, VARIABLES, progress=False, **options)


def test_planted_patterns_are_named_and_noise_is_not():
    rng = np.random.default_rng(0)
    truth = np.stack(list(PLANTED.values()), 1)
    values = np.hstack([truth + 0.25 * rng.standard_normal(truth.shape), rng.random((55, 20))])
    found = named(values)
    table = found.table.set_index("unit")["pattern"]
    expected = [*list(PLANTED)[:-1], "second % 2 == 0"]
    assert [table[f"unit[{i}]"] for i in range(5)] == expected
    assert set(found.significant(q=0.01).units) == {f"unit[{i}]" for i in range(5)}
    for i, pattern in enumerate(expected):  # the expression says which problems have it
        assert (pd.DataFrame(NUMBERS).eval(pattern) == truth[:, i]).all()


def test_noise_is_below_five_per_cent_as_often_as_stated():
    """Of heavy tails too, though one sum decides there: what is dealt is the activity itself."""
    values = np.random.default_rng(1).standard_t(2, (55, 600))
    p = named(values, test=Test(n_permutations=199)).table["p"]
    assert 0.028 < (p <= 0.05).mean() < 0.076  # 99% of 600 tests at 0.05


def test_the_match_is_the_largest_correlation_and_repeats_are_averaged():
    rng = np.random.default_rng(2)
    values = rng.random((110, 3)) + np.tile(SECOND == 3, 2)[:, None]
    table = named(values, times=2, test=None).table
    mean = values.reshape(2, 55, 3).mean(0)
    assert table["pattern"].eq("second == 3").all()
    for row in table.itertuples():
        x = mean[:, int(row.unit[5:-1])]
        assert row.match == pytest.approx(np.corrcoef(x, SECOND == 3)[0, 1])
        ranges = [(low <= FIRST) & (high >= FIRST) for low in range(9) for high in range(low, 7)]
        others = [np.corrcoef(x, has)[0, 1] for has in ranges if 2 < has.sum() < 53]
        assert max(others) < row.match


def test_numbers_must_be_whole_and_many():
    rec = as_recording(np.eye(4), samples={"x": [0.5, 1.5, 2.5, 3.5], "y": [1, 2, 3, 4]})
    for name in ("x", "y"):
        with pytest.raises(NisslError, match="whole numbers"):
            operand_patterns(rec, [name], progress=False)
