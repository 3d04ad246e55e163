"""A filter is read as it is written."""

import numpy as np
import pandas as pd
import pytest

from nissl.errors import NisslError
from nissl.web.condition import Condition, conditions, meets, written

WORDS = [
    "Paris",
    " Paris",
    "paris",
    'a "b"',
    "bread and butter",
    "",
    " ",
    "x = 1",
    "\n",
    "and",
    "ü",
]


@pytest.mark.parametrize("word", WORDS)
def test_what_is_written_is_read_and_meets_itself(word: str) -> None:
    where = f"density < 0.5 and {written('token', '=', word)} and {written('kind', '~', 'a')}"
    first, token, last = conditions(where)
    assert (first.column, first.operator, first.value) == ("density", "<", "0.5")
    assert last == Condition("kind", "~", "a")
    held = pd.Series(WORDS, name="token")
    found = set(held[meets(held, token)])
    assert word in found
    assert {w.strip() for w in found} == {word.strip()}


def test_values_may_hold_and() -> None:
    found = conditions("pair ~ bread and butter and layer >= 3")
    assert [c.value for c in found] == ["bread and butter", "3"]


def test_quotation_marks_make_spaces_count() -> None:
    held = pd.Series([" Paris", "Paris", None], name="token")
    assert meets(held, conditions('token = " Paris"')[0]).tolist() == [True, False, False]
    assert meets(held, conditions("token = Paris")[0]).tolist() == [True, True, False]
    assert meets(held, conditions("token != Paris")[0]).tolist() == [False, False, True]


def test_numbers_are_compared_as_numpy_does_and_degrees_may_be_written() -> None:
    rng = np.random.default_rng(0)
    held = pd.Series([*rng.uniform(0, 360, 50), np.nan], name="angle")
    both = [meets(held, c) for c in conditions("angle >= 90° and angle < 180°")]
    assert np.array_equal(both[0] & both[1], ((held >= 90) & (held < 180)).to_numpy())


@pytest.mark.parametrize("where", ["x" * 3000, "density", "= 3", "density <", "and"])
def test_what_is_no_filter_is_refused(where: str) -> None:
    with pytest.raises(NisslError):
        conditions(where)


def test_a_long_filter_of_spaces_is_read_at_once() -> None:
    assert conditions("a ~ x" + " " * 1900) == [Condition("a", "~", "x")]
    with pytest.raises(NisslError):
        conditions(" and" * 400)
