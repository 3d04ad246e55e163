"""Rules are conditions on figures, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nissl.errors import NisslError, UnknownName
from nissl.rules import holds

numbers = st.floats(-10, 10)


@given(a=numbers, b=numbers, n=numbers)
def test_a_rule_says_what_python_says(a: float, b: float, n: float) -> None:
    rule = "a > 2 * null.a - b / 4 and not abs(b) >= max(a, 3) or min(a, b) == -a"
    expected = (a > 2 * n - b / 4 and not abs(b) >= max(a, 3)) or min(a, b) == -a
    assert holds(rule, {"a": a, "b": b}, {"a": n}) is expected


def test_comparisons_chain() -> None:
    assert holds("0 < a <= 1", {"a": 1}, {})
    assert not holds("0 < a < 1", {"a": 1}, {})


@pytest.mark.parametrize(
    "rule",
    [
        "__import__('os')",
        "a.real > 0",
        "[1] > 0",
        "a ** 9 > 0",
        "(lambda: 1)()",
        "a in 1",
        "a >",
        "",
        "a",
        "a > 'x'",
        "a / 0 > 1",
        "open('x') > 1",
        "f'{a}' > 1",
        "abs(a, key=1) > 0",
    ],
)
def test_anything_else_is_refused(rule: str) -> None:
    with pytest.raises(NisslError):
        holds(rule, {"a": 1.0}, {})


def test_a_misspelt_figure_is_found_even_behind_a_decided_part() -> None:
    with pytest.raises(UnknownName) as caught:
        holds("accuracy > 2 and acuracy > 0", {"accuracy": 1}, {})
    assert caught.value.nearest == ["accuracy"]


def test_a_missing_null_is_named_as_such() -> None:
    with pytest.raises(UnknownName, match=r"null\.gain"):
        holds("gain > null.gain", {"gain": 1}, {"gian": 0})
