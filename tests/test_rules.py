"""Rules are conditions on figures, and nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nissl.errors import NisslError, UnknownName
from nissl.rules import holds, primary_figure

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
        "'a' * 2000000000 == 'b'",
        "several * 2000000000 == several",
        "-" * 100_000 + "a > 0",
        "-" * 490 + "a > 0",
        "(" * 240 + "a" + ")" * 240 + " > 0",
    ],
)
def test_anything_else_is_refused(rule: str) -> None:
    with pytest.raises(NisslError):
        holds(rule, {"a": 1.0, "several": [1.0]}, {})


@pytest.mark.parametrize(
    "rule",
    [
        "gain > 0",
        "gain > other - 0.1 and gain > null.gain and p <= 0.05",
        "0.01 <= gain <= 0.05 and null.gain < 0.01",
        "abs(gain) > gain_elsewhere and gain_p < 0.01 and not gain_broken",
        "gain",
    ],
)
def test_the_primary_figure_is_the_first(rule: str) -> None:
    assert primary_figure(rule) == "gain"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("1 > 0", "names no figure"),
        ("null.gain > 0", "names no figure"),
        ("0 < gain < 1 and gain > null.gain and p < 0.05", "has 4 comparisons"),
        ("(gain > 0) + (gain > 1) + (gain > 2) >= 2", "has 4 comparisons"),
        ("a and a_b and a_c and a_d", "has 4 comparisons"),
        ("gain > 0 and loss < 1", "'loss < 1' is not about 'gain'"),
        ("gain > 0 and not loss", "'loss' is not about 'gain'"),
        ("gain > 0 and null.loss < 1", "not about 'gain'"),
        ("gain > 0 and gains_p < 1", "not about 'gain'"),
    ],
)
def test_a_rule_has_one_primary_figure_and_three_comparisons(rule: str, said: str) -> None:
    with pytest.raises(NisslError, match=re.escape(said)):
        primary_figure(rule)


def test_a_misspelt_figure_is_found_even_behind_a_decided_part() -> None:
    with pytest.raises(UnknownName) as caught:
        holds("accuracy > 2 and acuracy > 0", {"accuracy": 1}, {})
    assert caught.value.nearest == ["accuracy"]


def test_a_missing_null_is_named_as_such() -> None:
    with pytest.raises(UnknownName, match=r"null\.gain"):
        holds("gain > null.gain", {"gain": 1}, {"gian": 0})
